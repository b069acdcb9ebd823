// EventLog: the numbered history of one session, written by one, read by many.
//
// The writer (the session, on the loop) adds events. A durable one gets the
// next sequence and is encoded once; the same bytes go to the store, the
// window and every reader. It becomes visible only when the store has it
// (Publish), and whatever was added behind it, deltas too, only after it:
// persist, then publish, in the order of adding.
//
// The window holds the newest published events in memory, as chunks of bytes
// that are already framed the way a stream sends them. Readers hold a Cursor
// and pull; publishing only wakes them. A reader that falls behind the window
// reads from the store until it has caught up, and loses deltas, never durable
// events; it slows down neither the writer nor another reader.
//
// Permission requests that wait for an answer are kept aside, however old: who
// begins behind one, or has a gap where it was, is shown a copy.
//
// Threads: writer methods on the loop only. Cursors on any thread, each on one
// at a time. `mu_` guards what both see.

#ifndef UNDERSTUDY_SESSION_EVENT_LOG_H_
#define UNDERSTUDY_SESSION_EVENT_LOG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/store/store.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

class EventLog : public std::enable_shared_from_this<EventLog> {
 public:
  struct Options {
    std::string session_id;
    uint64_t epoch = 0;
    uint64_t oldest_sequence = 1;
    uint64_t newest_sequence = 0;
    size_t max_window_bytes = 8 << 20;
  };

  // What the envelope of an event says beside its number.
  struct Stamp {
    std::string turn_id;
    std::string agent_session_id;
    uint64_t incarnation = 0;
    absl::Time time;
    bool synthetic = false;
  };

  // A run of framed events, each as field 2 of a message: tag, length, Event;
  // tag, length, Event; ... A stream sends them unchanged.
  struct Slice {
    std::shared_ptr<const void> hold;
    std::string_view bytes;
  };
  struct Batch {
    std::vector<Slice> slices;
    size_t events = 0;
    size_t bytes = 0;
  };

  class Cursor;
  struct ReaderOptions {
    std::optional<uint64_t> after;  // unset: from now on
    bool include_deltas = false;
    bool include_raw = false;
  };

  // `store` outlives the log.
  EventLog(Options options, Store& store);
  ~EventLog();

  // ---- The writer ----

  // Numbers and encodes; not visible yet. Returns the sequence. Messages,
  // thoughts and tool results above the wire's bound become several events;
  // the sequence is that of the last.
  uint64_t Add(v1::Event event, const Stamp& stamp, std::string_view raw = {});

  // Adds a delta behind what has been added so far.
  void AddDelta(DeltaKind kind, std::string_view turn_id,
                std::string_view tool_call_id, std::string_view text,
                std::string_view raw);

  // The durable events added since the last call, as part of an Append (its
  // base_sequence, events and hold). False if there are none.
  bool Take(Append& append);

  // The store has everything up to `sequence`.
  void Publish(uint64_t sequence);

  // Takes back the events after `sequence`, and gives their numbers out again:
  // the store has refused them. None of them has been published, and all
  // before them has been taken.
  void Revoke(uint64_t sequence);

  // Makes deltas visible that wait for no durable event.
  void Flush();

  uint64_t added() const { return added_; }  // newest sequence given out
  uint64_t taken() const { return taken_; }  // newest given to an Append
  size_t unpublished_bytes() const;

  // Events before `oldest` are no longer retained.
  void Trim(uint64_t oldest);

  // Nothing is added afterwards. Readers get what is published, then `why`:
  // SESSION_NOT_FOUND (deleted), SESSION_FENCED, DRAINING.
  void Close(absl::Status why);

  // Lets go of the window; readers go on from the store.
  void ReleaseWindow();

  // ---- Readers: any thread ----

  const std::string& session_id() const { return options_.session_id; }
  uint64_t oldest_sequence() const;
  uint64_t newest_sequence() const;  // published

  // `wake` is called when Next would return something after it has returned
  // kEmpty: once for each kEmpty, on the loop, never under a lock of the log's.
  // It may still come while the cursor is being destroyed elsewhere: let it
  // hold nothing but a weak reference.
  // SEQUENCE_OUT_OF_RANGE: `after` does not exist yet.
  absl::StatusOr<std::unique_ptr<Cursor>> Subscribe(
      const ReaderOptions& options, absl::AnyInvocable<void()> wake);

 private:
  struct Entry;
  struct Chunk;
  struct Reader;
  struct Asked;

  char* Reserve(size_t size, std::shared_ptr<Chunk>* chunk);
  void Account(const Entry& entry);
  void PublishStaged(size_t count);
  void DropFirstChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static std::unique_ptr<Asked> AskedOf(const v1::Event& event);
  void NoteAsked(Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  Store& store_;

  // The writer's own: what was added and is not visible yet.
  uint64_t added_;
  uint64_t taken_;
  std::deque<Entry> staged_;
  size_t staged_bytes_ = 0;
  std::shared_ptr<Chunk> tail_;
  std::string delta_prefix_;  // session, turn and after_sequence, encoded
  std::string delta_turn_;
  uint64_t delta_after_ = 0;

  // Raw lines of deltas are kept only while somebody wants them.
  std::atomic<int> raw_readers_{0};

  mutable absl::Mutex mu_;
  std::deque<std::shared_ptr<Chunk>> window_ ABSL_GUARDED_BY(mu_);
  uint64_t first_chunk_ ABSL_GUARDED_BY(mu_) = 0;  // number of window_[0]
  size_t window_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // Every durable event in the window is above this.
  uint64_t window_after_ ABSL_GUARDED_BY(mu_);
  uint64_t oldest_ ABSL_GUARDED_BY(mu_);
  uint64_t published_ ABSL_GUARDED_BY(mu_);
  // Permission requests among what is published that wait for an answer.
  std::vector<Asked> asked_ ABSL_GUARDED_BY(mu_);
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<Reader>> waiting_ ABSL_GUARDED_BY(mu_);
};

// A reader's place. Sees every durable event after its start, in order, once;
// a `gap` first where some are no longer retained; and before them, once, the
// permission requests up to there that still wait for an answer, as events of
// its own.
class EventLog::Cursor {
 public:
  enum class Result {
    kEvents,  // `out` has some; there may be more
    kEmpty,   // nothing now; the wake will come
    kBehind,  // the window has moved on: call ReadStored, off the loop
    kClosed,  // end() says why
  };

  ~Cursor();

  // Never blocks. Adds to `out` up to about `max_bytes`.
  Result Next(size_t max_bytes, Batch& out);

  // Reads from the store what the window no longer has. Blocks.
  absl::Status ReadStored(size_t max_bytes, Batch& out);

  // The newest durable event given out, or the start.
  uint64_t position() const { return position_; }
  const absl::Status& end() const { return end_; }

 private:
  friend class EventLog;
  Cursor(std::shared_ptr<EventLog> log, const ReaderOptions& options,
         absl::AnyInvocable<void()> wake);

  bool ShowAsked(Batch& out) ABSL_EXCLUSIVE_LOCKS_REQUIRED(log_->mu_);
  bool Place() ABSL_EXCLUSIVE_LOCKS_REQUIRED(log_->mu_);
  void TakeFrom(const std::shared_ptr<Chunk>& chunk, size_t max_bytes,
                Batch& out) ABSL_EXCLUSIVE_LOCKS_REQUIRED(log_->mu_);

  const std::shared_ptr<EventLog> log_;
  const bool include_deltas_;
  const bool include_raw_;
  const std::shared_ptr<Reader> reader_;
  uint64_t position_ = 0;
  uint64_t gap_to_ = 0;  // a gap (position_, gap_to_] is to be told first
  // Requests in (jumped_from_, position_] have not come by the log.
  std::optional<uint64_t> jumped_from_ = 0;
  // The place in the window: valid while the chunk is still there.
  uint64_t chunk_ = 0;
  size_t entry_ = 0;
  bool placed_ = false;
  absl::Status end_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_EVENT_LOG_H_
