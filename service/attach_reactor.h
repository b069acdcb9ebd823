// AttachReactor: one Attach stream: commands up, results and events of any
// number of subscriptions down.
//
// Invariants:
//  - one read and one write at a time and one Finish, by three booleans.
//    Finish only while nothing is being written; a read that is under way ends
//    with it. `writing_` also covers the time in which the next batch is
//    fetched, so that one thread at a time pulls.
//  - what is to be sent and is no batch waits in `outbox_`, in order, and goes
//    before batches; a subscription's batches are pulled in turn with those of
//    the others. While a write is under way events gather, and the next batch
//    has them all: no timer, no wait.
//  - a subscription opens with one `subscribed` or not at all, ends with one
//    `closed`, and nothing of it follows.
//  - commands are given to the engine in the order read. Reading stops while
//    kMaxOutstanding of them, or of their answers, are outstanding.
//  - when the client has closed its side, or the server drains, the stream ends
//    once every command is answered and every subscription has got what there
//    is and is closed.
//
// The reactor lives until gRPC is done with it and no answer, feed or timer
// holds it any more; what comes after the end finds `finished_`.
//
// Threads: any; `mu_` guards the state. Under it nothing is called that locks,
// writes or calls back, but gRPC's StartRead and Finish: who finds `finished_`
// may rely on Finish having been called.

#ifndef UNDERSTUDY_SERVICE_ATTACH_REACTOR_H_
#define UNDERSTUDY_SERVICE_ATTACH_REACTOR_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "service/call_log.h"
#include "service/commands.h"
#include "service/feed.h"
#include "service/stream_set.h"
#include "session/base/event_loop.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

class AttachReactor final
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
      public Stream,
      public std::enable_shared_from_this<AttachReactor> {
 public:
  static constexpr size_t kMaxOutstanding = 256;
  static constexpr size_t kMaxSubscriptions = 1000;

  // `commands` and `streams` outlive the reactor.
  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      const StreamGround& ground, StreamSet& streams, Commands& commands,
      absl::Duration progress_interval);

  void Drain() override;

 private:
  // `id` and `feed` never change; `mu_` guards the rest.
  struct Subscription {
    uint64_t id = 0;
    std::shared_ptr<Feed> feed;
    bool opened = false;        // `subscribed` has been sent
    bool queued = false;        // it is in pulls_
    bool closed = false;        // nothing of it may follow
    uint64_t position = 0;      // everything up to here has been sent
    int quiet_ticks = 0;        // since something was sent
    bool progress_due = false;  // unless there are events
  };

  AttachReactor(const StreamGround& ground, StreamSet& streams,
                Commands& commands, absl::Duration progress_interval);

  // ---- From gRPC ----
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // ---- Up: commands ----
  void Handle(const v1::AttachRequest& request);
  void Subscribe(const std::string& request_id, const v1::Subscribe& request);
  void Unsubscribe(uint64_t subscription_id);
  template <typename Request, typename Response>
  void Run(std::string_view method, const std::string& request_id,
           Request request,
           session::CallId (Commands::*run)(const Request&, Answer<Response>),
           Response* (v1::Result::*place)());
  void Answered(grpc::ByteBuffer result);
  void Send(grpc::ByteBuffer message);

  // ---- Down: what is written next ----
  void OnReady(const std::shared_ptr<Subscription>& subscription);
  void Write();
  bool Pull(const std::shared_ptr<Subscription>& subscription);
  bool Close(const std::shared_ptr<Subscription>& subscription,
             Feed::Result result);
  bool TakeProgress(const std::shared_ptr<Subscription>& subscription);

  void QueueLocked(const std::shared_ptr<Subscription>& subscription)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // No more commands: what is open is on its way to the end.
  bool ClosingLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How the stream ends, if that is now.
  std::optional<absl::Status> EndLocked() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishLocked(const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AfterFinish(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- Signs of life: on the loop ----
  void StartTicking();
  void Tick();

  const StreamGround ground_;
  StreamSet& streams_;
  Commands& commands_;
  const absl::Duration progress_interval_;
  const CallLog log_;
  std::shared_ptr<AttachReactor> self_;  // until OnDone

  // Of the loop.
  std::unique_ptr<session::EventLoop::Handle> tick_;
  absl::BitGen random_;

  grpc::ByteBuffer incoming_;  // of the read that is under way
  grpc::ByteBuffer outgoing_;  // of the thread that has set `writing_`

  absl::Mutex mu_;
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;  // nothing arrives any more
  bool input_ended_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;  // ClosingLocked() was acted on
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;    // commands without an answer
  std::deque<grpc::ByteBuffer> outbox_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, std::shared_ptr<Subscription>> subscriptions_
      ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Subscription>> pulls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_ATTACH_REACTOR_H_
