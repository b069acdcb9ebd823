// AttachStream: one Attach call. Commands go up, and each gets its answer;
// batches of events come down, for any number of subscriptions.
//
// It does not reconnect: EventStream does. It is for programs that send many
// commands, or that follow many sessions on one stream.
//
// Batches are handed over as they come, whole, and their memory is used again:
// reading an event costs its parsing and no more.
//
// Threads: every method may be called from any thread. The observer and the
// callbacks are called on gRPC's threads, one at a time, never under a lock;
// they must not block, and must not destroy the stream. The destructor cancels
// the call and waits for the end of the last callback.

#ifndef UNDERSTUDY_CLIENT_CPP_ATTACH_H_
#define UNDERSTUDY_CLIENT_CPP_ATTACH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/batch_buffer.h"
#include "grpcpp/impl/channel_interface.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {

class AttachStream {
 public:
  enum class Flow { kContinue, kPause };

  // What comes down.
  class Observer {
   public:
    virtual ~Observer() = default;

    virtual void OnSubscribed(const v1::Subscribed& subscribed) = 0;
    // The batch is the observer's until it returns. To keep it, move it out and
    // leave another buffer in its place, to be filled next, or nothing. kPause:
    // read no more until Resume(), so that the server waits.
    virtual Flow OnBatch(std::unique_ptr<BatchBuffer>& buffer) = 0;
    virtual void OnProgress(const v1::Progress& progress) = 0;
    virtual void OnClosed(const v1::Closed& closed) = 0;
    // The server refused a message that was not sent by Send: a `subscribe`
    // that is malformed.
    virtual void OnRefused(const absl::Status& status) = 0;
    // The call has ended; nothing follows.
    virtual void OnDone(const absl::Status& status) = 0;
  };

  // Gets the `result` of a command if it succeeded, else its error. UNAVAILABLE
  // without a reason: the stream ended first, and whether the command takes
  // effect is not known; send it again under its `request_id`.
  using ResultCallback =
      std::function<void(const absl::StatusOr<v1::Result>& result)>;

  // Opens the stream. The observer must outlive it.
  AttachStream(std::shared_ptr<grpc::ChannelInterface> channel,
               Observer& observer);
  ~AttachStream();

  AttachStream(const AttachStream&) = delete;
  AttachStream& operator=(const AttachStream&) = delete;

  void Subscribe(v1::Subscribe subscribe);
  void Unsubscribe(uint64_t subscription_id);

  // Sends any other command, giving it a `request_id` if it has none, and
  // returns that id. `done` is called exactly once; before Send returns, if the
  // stream has ended. A `request_id` must not be in flight already.
  std::string Send(v1::AttachRequest command, ResultCallback done);

  // Goes on reading after kPause. Without a pause, it does nothing.
  void Resume();

  // Sends what was queued and then no more; the server answers it and ends the
  // stream.
  void Close();

  // Ends the stream now.
  void Cancel();

 private:
  class Reactor;

  std::unique_ptr<Reactor> reactor_;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_ATTACH_H_
