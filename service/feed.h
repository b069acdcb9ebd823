// Feed: what one stream gets of one session: the log's events from a place on,
// whether they come from the window or from the store.
//
// The stream pulls. When there is nothing to pull, `ready` tells it that there
// may be something again, at least once after each kEmpty or kBusy, and never
// from inside a call of the stream to the feed.
//
//   kOpening --log found--> kLive <--> kReadingStore
//      |                      |            |
//      +----------------------+------------+--> kEnded   end() says why
//
// Threads: Pull is called by one thread at a time. The engine's loop and the
// threads that read the store do the rest; `mu_` guards what they share, and
// the cursor belongs to Pull except while the state is kReadingStore.

#ifndef UNDERSTUDY_SERVICE_FEED_H_
#define UNDERSTUDY_SERVICE_FEED_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/event_log.h"
#include "session/session_manager.h"

namespace understudy::service {

// What streams stand on; all of it outlives them.
struct StreamGround {
  session::SessionManager& manager;
  session::EventLoop& loop;
  session::Blocking& reading;
};

class Feed final : public std::enable_shared_from_this<Feed> {
 public:
  enum class Result {
    kOpened,  // it has begun: oldest_sequence() and newest_sequence() hold
    kEvents,  // `out` has some; there may be more
    kEmpty,   // everything that is there has been given out
    kBusy,    // being opened, or reading the store
    kEnded,   // nothing follows; end() says why
  };

  // `ready` is called on any thread, also on several at a time. It must not
  // keep the feed alive.
  static std::shared_ptr<Feed> Make(const StreamGround& ground,
                                    session::EventLog::ReaderOptions options,
                                    absl::AnyInvocable<void() const> ready);

  // Begins. Once, before anything else.
  void Open(std::string session_id);

  // Sets `out` to as many events as one message should carry. Never blocks.
  Result Pull(session::EventLog::Batch& out);

  // As of kOpened.
  uint64_t oldest_sequence() const { return oldest_sequence_; }
  uint64_t newest_sequence() const { return newest_sequence_; }

  // The newest durable event given out, or the start. To be asked by who pulls.
  uint64_t position() const { return position_; }

  // After kEnded.
  absl::Status end() const;
  // The oldest sequence of the session that is retained; 0 if not known.
  uint64_t oldest_retained() const;

 private:
  enum class State { kOpening, kLive, kReadingStore, kEnded };

  Feed(const StreamGround& ground, session::EventLog::ReaderOptions options,
       absl::AnyInvocable<void() const> ready);

  void Opened(absl::StatusOr<std::shared_ptr<session::EventLog>> log);
  void ReadStore();
  void End(absl::Status why);

  const StreamGround ground_;
  const session::EventLog::ReaderOptions options_;
  const absl::AnyInvocable<void() const> ready_;

  // Set before the state leaves kOpening.
  std::shared_ptr<session::EventLog> log_;
  std::unique_ptr<session::EventLog::Cursor> cursor_;
  uint64_t oldest_sequence_ = 0;
  uint64_t newest_sequence_ = 0;

  // Who pulls: what was read and not given out yet.
  bool told_opened_ = false;
  session::EventLog::Batch rest_;
  uint64_t position_ = 0;

  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kOpening;
  session::EventLog::Batch stored_ ABSL_GUARDED_BY(mu_);
  absl::Status end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_FEED_H_
