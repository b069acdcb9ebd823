// WatchReactor: one WatchEvents stream. Each event is a message of its own.
//
// Invariants: one write at a time and one Finish, by two booleans; Finish only
// while nothing is being written. `writing_` also covers the time in which the
// next event is fetched, so that one thread at a time pulls. The reactor lives
// until gRPC is done with it and no callback of the feed is under way.
//
// Threads: any; `mu_` guards the state. Under it nothing is called that locks,
// writes or calls back, but gRPC's Finish: who finds `finished_` may rely on it
// having been called.

#ifndef UNDERSTUDY_SERVICE_WATCH_REACTOR_H_
#define UNDERSTUDY_SERVICE_WATCH_REACTOR_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "service/call_log.h"
#include "service/check.h"
#include "service/feed.h"
#include "service/stream_set.h"
#include "service/wire.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

class WatchReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public Stream,
                           public std::enable_shared_from_this<WatchReactor> {
 public:
  // `streams` outlives the reactor.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(
      const StreamGround& ground, StreamSet& streams, const Rules& rules,
      const grpc::ByteBuffer& request);

  void Drain() override;

 private:
  explicit WatchReactor(StreamSet& streams);

  void MakeFeed(const StreamGround& ground,
                const v1::WatchEventsRequest& request);
  void OnReady();
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Write();
  bool NextMessage();
  void End(absl::Status status);

  StreamSet& streams_;
  CallLog log_;
  std::shared_ptr<Feed> feed_;          // null if the request is refused
  std::shared_ptr<WatchReactor> self_;  // until OnDone

  // Of the thread that has set `writing_`.
  EventMessages events_;
  grpc::ByteBuffer message_;

  absl::Mutex mu_;
  bool ready_ ABSL_GUARDED_BY(mu_) = false;  // there may be something to pull
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  // Not OK: how the stream ends, once nothing is being written.
  absl::Status end_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_WATCH_REACTOR_H_
