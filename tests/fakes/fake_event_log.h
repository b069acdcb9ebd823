// FakeEventLog: a session's events, and a script of how each stream that shows
// them goes wrong. What FakeAttach streams read from.
//
// Threads: any.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_EVENT_LOG_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_EVENT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/status.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy {

// How one subscription goes. As it stands: everything, for as long as the
// client likes.
struct FakeConnection {
  // Ends when everything up to this sequence has been shown.
  std::optional<uint64_t> cut_after = {};
  // How it ends: by `closed`, or, if there is no reason, by the end of the
  // stream with `status`.
  v1::ClosedReason closed = v1::CLOSED_REASON_UNSPECIFIED;
  grpc::Status status =
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "the connection is cut");

  // Begins this many events too early: they come twice.
  uint64_t repeat = 0;
  // Events that are left out.
  std::set<uint64_t> omit = {};
  // Events before this one are no longer retained: they are replaced by `gap`.
  uint64_t oldest = 1;
  // Permission requests that wait: a copy of each comes first.
  std::vector<std::string> asked = {};
  size_t batch_size = 16;
  // Shows nothing, not even `subscribed`.
  bool silent = false;
};

class FakeEventLog {
 public:
  using Wake = std::function<void()>;

  // Adds an event and wakes the streams. A durable one gets the next sequence,
  // an ephemeral one the last as `after_sequence`. Returns the last sequence.
  uint64_t Append(v1::Event event);
  // The session is deleted: `session_deleted`, and then the end.
  void Delete();

  // What the next subscription does that has no script yet.
  void Script(FakeConnection connection);
  FakeConnection NextConnection();
  // The `after_sequence` of each subscription so far.
  std::vector<std::optional<uint64_t>> subscriptions() const;
  void CountSubscription(const v1::Subscribe& subscribe);
  // Waits for that many subscriptions, or streams still open.
  void AwaitSubscriptions(size_t count) const;
  void AwaitStreams(size_t count) const;

  uint64_t newest_sequence() const;
  size_t size() const;
  v1::Event At(size_t index) const;
  // The index of the first durable event after `sequence`.
  size_t IndexAfter(uint64_t sequence) const;
  bool deleted() const;

  // Streams that want to be woken. RemoveStream waits for a wake in progress.
  void AddStream(void* stream, Wake wake);
  void RemoveStream(void* stream);

 private:
  void WakeStreams();

  mutable absl::Mutex mutex_;
  std::deque<v1::Event> events_ ABSL_GUARDED_BY(mutex_);
  uint64_t newest_ ABSL_GUARDED_BY(mutex_) = 0;
  bool deleted_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<FakeConnection> script_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::optional<uint64_t>> subscriptions_ ABSL_GUARDED_BY(mutex_);

  // Held while streams are woken; taken before `mutex_`.
  mutable absl::Mutex streams_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::map<void*, Wake> streams_ ABSL_GUARDED_BY(streams_mutex_);
};

}  // namespace understudy

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_EVENT_LOG_H_
