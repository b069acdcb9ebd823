// EventStream: the events of one session, each once and in order, however often
// the connection is lost.
//
// It subscribes over Attach, and after every interruption again, after the last
// sequence that it delivered. What comes twice is dropped. A hole in the
// sequence that the server does not announce by `gap` is an interruption, too;
// if it is still there afterwards, the stream ends with INTERNAL. `gap` is
// delivered like any event. Ephemeral events are delivered once or, around an
// interruption, not at all; the `message` that follows has their text.
//
// The stream ends when the session is deleted, does not exist or cannot be read
// (NOT_FOUND `SESSION_NOT_FOUND`), for an `after_sequence` from the future
// (OUT_OF_RANGE `SEQUENCE_OUT_OF_RANGE`), for an error that no repetition
// cures, or by Cancel (CANCELLED). Everything else is waited out, with a
// backoff, for as long as the reader asks for events.
//
// A reader that is too slow makes the server wait, and is then closed and
// resumed: memory is bounded by a few batches.
//
// Threads: one reader; Cancel from any thread.

#ifndef UNDERSTUDY_CLIENT_CPP_EVENT_STREAM_H_
#define UNDERSTUDY_CLIENT_CPP_EVENT_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cpp/attach.h"
#include "client/cpp/backoff.h"
#include "client/cpp/inbox.h"
#include "grpcpp/impl/channel_interface.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {

struct EventStreamOptions {
  std::string session_id = {};
  // The last sequence already seen; unset: from now on; 0: from the oldest.
  std::optional<uint64_t> after_sequence = {};
  bool include_deltas = false;
  bool include_raw = false;

  BackoffOptions backoff = {};
  // A stream that says nothing for this long, not even `progress`, is taken for
  // dead: four times the server's `progress_interval`.
  absl::Duration silence = absl::Seconds(60);
  // How to wait before the stream is opened again; null: until the wait is over
  // or the stream is cancelled.
  SleepFunction sleep = {};
  // Called by the reader's thread at each interruption: why, and how long the
  // stream waits.
  std::function<void(const absl::Status&, absl::Duration)> on_interruption = {};
};

class EventStream {
 public:
  // Opens the stream; does not wait for it.
  EventStream(std::shared_ptr<grpc::ChannelInterface> channel,
              EventStreamOptions options);
  ~EventStream();

  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // Waits until the server follows the session: no delta from then on is
  // missed, as long as the stream is not interrupted. DEADLINE_EXCEEDED: not
  // yet. Any other error is the end of the stream.
  absl::Status AwaitOpen(absl::Time deadline = absl::InfiniteFuture());

  // Waits for the next event, which is valid until the next call.
  // DEADLINE_EXCEEDED: there was none; ask again. Any other error is the end of
  // the stream, and every later call returns it, too.
  absl::StatusOr<const v1::Event*> Next(
      absl::Time deadline = absl::InfiniteFuture());

  // The same for all events that came together: one or more.
  absl::StatusOr<absl::Span<const v1::Event* const>> NextBatch(
      absl::Time deadline = absl::InfiniteFuture());

  // Calls `on_events` with all that comes, until it returns false (OK), the
  // deadline, or the end of the stream.
  absl::Status ForEach(
      absl::FunctionRef<bool(absl::Span<const v1::Event* const>)> on_events,
      absl::Time deadline = absl::InfiniteFuture());

  // Ends the stream: a call that waits returns CANCELLED.
  void Cancel() { inbox_.Cancel(); }

  // The last sequence that was delivered, or that `after_sequence` named.
  // Unset: none yet.
  std::optional<uint64_t> last_sequence() const { return last_sequence_; }

 private:
  absl::Status Step(absl::Time deadline);
  void Open();
  void Interrupt(const absl::Status& why);
  void Handle(Inbox::Item item);
  void HandleBatch(std::unique_ptr<BatchBuffer> buffer);
  void HandleClosed(const v1::Closed& closed);
  void HandleHole(uint64_t missing_to);
  bool IsNew(const v1::Event& event);
  bool WaitToReopen(absl::Time deadline);

  const std::shared_ptr<grpc::ChannelInterface> channel_;
  const EventStreamOptions options_;

  Inbox inbox_;
  // Null between an interruption and the end of its wait.
  std::unique_ptr<AttachStream> stream_;
  bool open_ = false;  // the server has said that it follows the session
  absl::Duration wait_;
  Backoff backoff_;
  absl::Time heard_;
  // How it ended; OK: it has not.
  absl::Status end_;

  std::optional<uint64_t> last_sequence_;
  // Where a hole was last found, to tell one that stays.
  std::optional<uint64_t> hole_after_;
  // Permission requests that were given out and are not settled.
  std::set<std::string> asked_;

  // The batch being read, its new events, and the next of them to deliver.
  std::unique_ptr<BatchBuffer> buffer_;
  std::vector<const v1::Event*> events_;
  size_t next_ = 0;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_EVENT_STREAM_H_
