#include "session/event_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "session/base/status_macros.h"
#include "session/base/utf8.h"
#include "session/event_codec.h"

namespace understudy::session {
namespace {

constexpr size_t kMinChunk = 4 << 10;
constexpr size_t kMaxChunk = 256 << 10;

// Events read from the store in one go.
constexpr size_t kStoredEvents = 4096;

v1::Event GapEvent(const std::string& session_id, uint64_t from, uint64_t to) {
  v1::Event event;
  event.set_session_id(session_id);
  event.set_after_sequence(from > 0 ? from - 1 : 0);
  event.set_synthetic(true);
  event.mutable_gap()->set_missing_from(from);
  event.mutable_gap()->set_missing_to(to);
  return event;
}

void AddOwned(std::string bytes, size_t events, EventLog::Batch& out) {
  auto hold = std::make_shared<const std::string>(std::move(bytes));
  out.events += events;
  out.bytes += hold->size();
  out.slices.push_back({hold, *hold});
}

}  // namespace

// A permission request, from its event on; or, in an entry, its end.
struct EventLog::Asked {
  std::string permission_id;
  uint64_t sequence = 0;  // of the request
  // The event, encoded, without sequence and after_sequence; "": it is settled.
  std::string event;
};

// One event in a chunk.
struct EventLog::Entry {
  std::shared_ptr<Chunk> chunk;  // while staged
  uint32_t offset = 0;
  uint32_t size = 0;      // with its frame
  uint64_t sequence = 0;  // 0: a delta
  uint64_t after = 0;     // the newest durable event up to and with this one
  std::string raw;        // as EncodeRaw makes it, or empty
  std::unique_ptr<Asked> asked;  // while staged: what it says of a permission
};

// What an event that is about to get its number says of a permission; null:
// nothing.
std::unique_ptr<EventLog::Asked> EventLog::AskedOf(const v1::Event& event) {
  auto asked = std::make_unique<Asked>();
  if (event.has_permission_requested()) {
    asked->permission_id = event.permission_requested().permission_id();
    asked->event = event.SerializeAsString();
  } else if (event.has_permission_resolved()) {
    asked->permission_id = event.permission_resolved().permission_id();
  } else {
    return nullptr;
  }
  return asked;
}

// Bytes are written by the writer behind `written`, and never change once
// published; `entries` and `published` are guarded by the log's mutex.
struct EventLog::Chunk {
  explicit Chunk(size_t size) : bytes(new char[size]), capacity(size) {}
  const std::unique_ptr<char[]> bytes;
  const size_t capacity;
  size_t written = 0;    // the writer's
  size_t raw_bytes = 0;  // of its entries; the writer's
  bool listed = false;   // in the window, or has been
  std::vector<Entry> entries;
};

// What a log keeps of a cursor that waits.
struct EventLog::Reader {
  absl::AnyInvocable<void()> wake;
  const bool deltas;  // wants them
};

EventLog::EventLog(Options options, Store& store)
    : options_(std::move(options)),
      store_(store),
      added_(options_.newest_sequence),
      taken_(options_.newest_sequence),
      window_after_(options_.newest_sequence),
      oldest_(options_.oldest_sequence),
      published_(options_.newest_sequence) {}

EventLog::~EventLog() = default;

char* EventLog::Reserve(size_t size, std::shared_ptr<Chunk>* chunk) {
  if (tail_ == nullptr || tail_->capacity - tail_->written < size ||
      tail_->raw_bytes > kMaxChunk) {
    const size_t next =
        tail_ == nullptr ? kMinChunk
                         : std::clamp(tail_->written * 4, kMinChunk, kMaxChunk);
    tail_ = std::make_shared<Chunk>(std::max(size, next));
  }
  char* at = tail_->bytes.get() + tail_->written;
  tail_->written += size;
  *chunk = tail_;
  return at;
}

uint64_t EventLog::Add(v1::Event event, const Stamp& stamp,
                       std::string_view raw) {
  if (event.has_unknown()) {
    // What the schema does not know is of no use without its line.
    event.set_raw(std::string(raw.substr(0, kMaxFieldBytes)));
    if (raw.size() > kMaxFieldBytes) {
      event.set_truncated_bytes(raw.size() - kMaxFieldBytes);
    }
    raw = {};
  }
  event.set_session_id(options_.session_id);
  event.set_epoch(options_.epoch);
  event.set_incarnation(stamp.incarnation);
  event.set_turn_id(stamp.turn_id);
  event.set_agent_session_id(stamp.agent_session_id);
  event.set_synthetic(stamp.synthetic);
  *event.mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(stamp.time));

  for (v1::Event& part : SplitEvent(std::move(event))) {
    std::unique_ptr<Asked> asked = AskedOf(part);
    part.set_sequence(++added_);
    const std::string bytes = part.SerializeAsString();
    std::string frame;
    frame.reserve(bytes.size() + 8);
    AppendFrame(frame, bytes);
    Entry& entry = staged_.emplace_back();
    char* at = Reserve(frame.size(), &entry.chunk);
    std::memcpy(at, frame.data(), frame.size());
    entry.offset = at - entry.chunk->bytes.get();
    entry.size = frame.size();
    entry.sequence = entry.after = added_;
    if (asked != nullptr) asked->sequence = added_;
    entry.asked = std::move(asked);
    if (!raw.empty()) entry.raw = EncodeRaw(raw);
    Account(entry);
    raw = {};
  }
  return added_;
}

void EventLog::AddDelta(DeltaKind kind, std::string_view turn_id,
                        std::string_view tool_call_id, std::string_view text,
                        std::string_view raw) {
  if (delta_after_ != added_ || delta_turn_ != turn_id ||
      delta_prefix_.empty()) {
    delta_after_ = added_;
    delta_turn_ = std::string(turn_id);
    delta_prefix_ = EncodeDeltaPrefix(options_.session_id, added_, delta_turn_);
  }
  while (text.size() > kMaxFieldBytes) {
    const std::string_view piece = Utf8Prefix(text, kMaxFieldBytes);
    AddDelta(kind, turn_id, tool_call_id, piece, raw);
    text.remove_prefix(piece.size());
    raw = {};
  }
  Entry& entry = staged_.emplace_back();
  const size_t size = DeltaFrameSize(delta_prefix_, kind, tool_call_id, text);
  char* at = Reserve(size, &entry.chunk);
  WriteDeltaFrame(at, delta_prefix_, kind, tool_call_id, text);
  entry.offset = at - entry.chunk->bytes.get();
  entry.size = size;
  entry.after = added_;
  if (!raw.empty() && raw_readers_.load(std::memory_order_relaxed) > 0) {
    entry.raw = EncodeRaw(raw);
  }
  Account(entry);
}

void EventLog::Account(const Entry& entry) {
  staged_bytes_ += entry.size + entry.raw.size();
  tail_->raw_bytes += entry.raw.size();
}

bool EventLog::Take(Append& append) {
  append.base_sequence = taken_;
  if (taken_ == added_) return false;
  // Staged entries do not move until they are published, which is after the
  // append has been written, and live as long as the log.
  append.hold = shared_from_this();
  for (const Entry& entry : staged_) {
    if (entry.sequence <= taken_) continue;
    std::string_view frame(entry.chunk->bytes.get() + entry.offset, entry.size);
    append.events.push_back({NextFrame(frame), entry.raw});
  }
  taken_ = added_;
  return true;
}

void EventLog::Publish(uint64_t sequence) {
  size_t count = 0;
  while (count < staged_.size() && staged_[count].after <= sequence) ++count;
  PublishStaged(count);
}

void EventLog::Revoke(uint64_t sequence) {
  while (!staged_.empty() && staged_.back().after > sequence) {
    staged_bytes_ -= staged_.back().size + staged_.back().raw.size();
    staged_.pop_back();
  }
  added_ = taken_ = sequence;
  delta_prefix_.clear();  // it may name one of them
  tail_ = nullptr;        // a chunk has no bytes between its entries
}

void EventLog::Flush() {
  size_t count = 0;
  while (count < staged_.size() && staged_[count].sequence == 0) ++count;
  PublishStaged(count);
}

void EventLog::PublishStaged(size_t count) {
  if (count == 0) return;
  std::vector<std::shared_ptr<Reader>> woken;
  {
    absl::MutexLock lock(&mu_);
    const uint64_t before = published_;
    for (size_t i = 0; i < count; ++i) {
      Entry& entry = staged_.front();
      std::shared_ptr<Chunk> chunk = std::move(entry.chunk);
      staged_bytes_ -= entry.size + entry.raw.size();
      if (entry.sequence != 0) published_ = entry.sequence;
      if (!chunk->listed) {
        chunk->listed = true;
        window_bytes_ += chunk->capacity;
        window_.push_back(chunk);
      }
      window_bytes_ += entry.raw.size();
      if (entry.asked != nullptr) NoteAsked(entry);
      chunk->entries.push_back(std::move(entry));
      staged_.pop_front();
    }
    while (window_.size() > 1 && window_bytes_ > options_.max_window_bytes) {
      DropFirstChunk();
    }
    // Not those for whom there are only deltas, which they do not want.
    const bool only_deltas = published_ == before;
    const auto woken_from = std::partition(
        waiting_.begin(), waiting_.end(), [only_deltas](const auto& reader) {
          return only_deltas && !reader->deltas;
        });
    woken.assign(woken_from, waiting_.end());
    waiting_.erase(woken_from, waiting_.end());
  }
  for (const std::shared_ptr<Reader>& reader : woken) reader->wake();
}

// A request is asked anew, or settled, from here on.
void EventLog::NoteAsked(Entry& entry) {
  const std::unique_ptr<Asked> asked = std::move(entry.asked);
  std::erase_if(asked_, [&asked](const Asked& one) {
    return one.permission_id == asked->permission_id;
  });
  if (!asked->event.empty()) asked_.push_back(std::move(*asked));
}

void EventLog::DropFirstChunk() {
  const Chunk& first = *window_.front();
  window_bytes_ -= first.capacity;
  for (const Entry& entry : first.entries) window_bytes_ -= entry.raw.size();
  if (!first.entries.empty()) window_after_ = first.entries.back().after;
  window_.pop_front();
  ++first_chunk_;
}

size_t EventLog::unpublished_bytes() const { return staged_bytes_; }

void EventLog::Trim(uint64_t oldest) {
  absl::MutexLock lock(&mu_);
  oldest_ = std::max(oldest_, oldest);
}

void EventLog::Close(absl::Status why) {
  std::vector<std::shared_ptr<Reader>> woken;
  {
    absl::MutexLock lock(&mu_);
    if (!closed_.ok()) return;
    closed_ = std::move(why);
    woken.swap(waiting_);
  }
  for (const std::shared_ptr<Reader>& reader : woken) reader->wake();
}

void EventLog::ReleaseWindow() {
  if (!staged_.empty()) return;
  tail_ = nullptr;
  delta_prefix_ = {};
  absl::MutexLock lock(&mu_);
  first_chunk_ += window_.size();
  window_.clear();
  window_bytes_ = 0;
  window_after_ = published_;
}

uint64_t EventLog::oldest_sequence() const {
  absl::MutexLock lock(&mu_);
  return oldest_;
}

uint64_t EventLog::newest_sequence() const {
  absl::MutexLock lock(&mu_);
  return published_;
}

absl::StatusOr<std::unique_ptr<EventLog::Cursor>> EventLog::Subscribe(
    const ReaderOptions& options, absl::AnyInvocable<void()> wake) {
  std::unique_ptr<Cursor> cursor(
      new Cursor(shared_from_this(), options, std::move(wake)));
  absl::MutexLock lock(&mu_);
  const uint64_t after = options.after.value_or(published_);
  if (after > published_) {
    return MakeError(
        Reason::kSequenceOutOfRange,
        absl::StrCat("subscribe to session ", options_.session_id,
                     " after sequence ", after, ": the newest is ", published_),
        {{"newest_sequence", absl::StrCat(published_)},
         {"oldest_sequence", absl::StrCat(oldest_)}});
  }
  cursor->position_ = after;
  if (after + 1 < oldest_) cursor->gap_to_ = oldest_ - 1;
  if (after == published_) {
    // From now on: behind everything that is in the window.
    cursor->placed_ = true;
    cursor->chunk_ = first_chunk_ + (window_.empty() ? 0 : window_.size() - 1);
    cursor->entry_ = window_.empty() ? 0 : window_.back()->entries.size();
  }
  return cursor;
}

EventLog::Cursor::Cursor(std::shared_ptr<EventLog> log,
                         const ReaderOptions& options,
                         absl::AnyInvocable<void()> wake)
    : log_(std::move(log)),
      include_deltas_(options.include_deltas),
      include_raw_(options.include_raw),
      reader_(std::make_shared<Reader>(
          Reader{std::move(wake), options.include_deltas})) {
  if (include_raw_) ++log_->raw_readers_;
}

EventLog::Cursor::~Cursor() {
  if (include_raw_) --log_->raw_readers_;
  absl::MutexLock lock(&log_->mu_);
  std::erase(log_->waiting_, reader_);
}

EventLog::Cursor::Result EventLog::Cursor::Next(size_t max_bytes, Batch& out) {
  absl::MutexLock lock(&log_->mu_);
  if (gap_to_ > position_) {
    std::string frame;
    AppendFrame(frame, GapEvent(log_->session_id(), position_ + 1, gap_to_)
                           .SerializeAsString());
    AddOwned(std::move(frame), 1, out);
    if (!jumped_from_.has_value()) jumped_from_ = position_;
    position_ = gap_to_;
    ShowAsked(out);
    return Result::kEvents;
  }
  if (ShowAsked(out)) return Result::kEvents;
  if (!placed_ || chunk_ < log_->first_chunk_) {
    if (!Place()) return Result::kBehind;
  }
  const size_t before = out.bytes;
  while (chunk_ < log_->first_chunk_ + log_->window_.size()) {
    const std::shared_ptr<Chunk>& chunk =
        log_->window_[chunk_ - log_->first_chunk_];
    TakeFrom(chunk, max_bytes - (out.bytes - before), out);
    if (entry_ < chunk->entries.size()) break;
    if (out.bytes - before >= max_bytes) break;
    if (chunk_ + 1 == log_->first_chunk_ + log_->window_.size()) break;
    ++chunk_;
    entry_ = 0;
  }
  if (out.bytes > before) return Result::kEvents;
  if (!log_->closed_.ok()) {
    end_ = log_->closed_;
    return Result::kClosed;
  }
  log_->waiting_.push_back(reader_);
  return Result::kEmpty;
}

// Copies of the requests that the reader has jumped over and that wait for an
// answer still, as of now: what settles them is behind position_, and comes.
bool EventLog::Cursor::ShowAsked(Batch& out) {
  if (!jumped_from_.has_value()) return false;
  const uint64_t from = *std::exchange(jumped_from_, std::nullopt);
  v1::Event place;
  place.set_after_sequence(position_);
  const std::string tail = place.SerializeAsString();
  std::string frames;
  size_t count = 0;
  for (const Asked& asked : log_->asked_) {
    if (asked.sequence <= from || asked.sequence > position_) continue;
    AppendFrame(frames, asked.event, tail);
    ++count;
  }
  if (count == 0) return false;
  AddOwned(std::move(frames), count, out);
  return true;
}

// Finds the place behind position_ in the window; false if the window does not
// reach back so far.
bool EventLog::Cursor::Place() {
  if (position_ < log_->window_after_) return false;
  placed_ = true;
  chunk_ = log_->first_chunk_;
  entry_ = 0;
  // Deltas behind `position_` in an old chunk have been missed or seen; a
  // reader that comes from elsewhere begins with the next durable event.
  for (const std::shared_ptr<Chunk>& chunk : log_->window_) {
    const auto& entries = chunk->entries;
    if (!entries.empty() && entries.back().after > position_) {
      entry_ = std::partition_point(entries.begin(), entries.end(),
                                    [this](const Entry& entry) {
                                      return entry.after <= position_;
                                    }) -
               entries.begin();
      return true;
    }
    ++chunk_;
  }
  // Nothing durable is newer: behind everything.
  if (!log_->window_.empty()) {
    --chunk_;
    entry_ = log_->window_.back()->entries.size();
  }
  return true;
}

void EventLog::Cursor::TakeFrom(const std::shared_ptr<Chunk>& chunk,
                                size_t max_bytes, Batch& out) {
  const std::vector<Entry>& entries = chunk->entries;
  if (entry_ >= entries.size()) return;
  if (include_deltas_ && !include_raw_) {
    // The common case: everything that is left of the chunk, as it stands.
    const size_t from = entries[entry_].offset;
    size_t last = entries.size() - 1;
    if (entries[last].offset + entries[last].size - from > max_bytes) {
      last = entry_;
      while (last + 1 < entries.size() &&
             entries[last + 1].offset + entries[last + 1].size - from <=
                 max_bytes) {
        ++last;
      }
    }
    const size_t size = entries[last].offset + entries[last].size - from;
    out.slices.push_back({chunk, {chunk->bytes.get() + from, size}});
    out.bytes += size;
    out.events += last + 1 - entry_;
    position_ = std::max(position_, entries[last].after);
    entry_ = last + 1;
    return;
  }
  size_t taken = 0;
  for (; entry_ < entries.size() && taken < max_bytes; ++entry_) {
    const Entry& entry = entries[entry_];
    if (entry.sequence == 0 && !include_deltas_) continue;
    std::string_view frame(chunk->bytes.get() + entry.offset, entry.size);
    if (include_raw_ && !entry.raw.empty()) {
      std::string with_raw;
      AppendFrame(with_raw, NextFrame(frame), entry.raw);
      taken += with_raw.size();
      AddOwned(std::move(with_raw), 1, out);
    } else {
      Slice* last = out.slices.empty() ? nullptr : &out.slices.back();
      if (last != nullptr && last->hold == chunk &&
          last->bytes.data() + last->bytes.size() == frame.data()) {
        last->bytes = {last->bytes.data(), last->bytes.size() + frame.size()};
      } else {
        out.slices.push_back({chunk, frame});
      }
      out.bytes += frame.size();
      ++out.events;
      taken += frame.size();
    }
    position_ = std::max(position_, entry.after);
  }
}

absl::Status EventLog::Cursor::ReadStored(size_t max_bytes, Batch& out) {
  uint64_t newest;
  {
    absl::MutexLock lock(&log_->mu_);
    newest = log_->published_;
    if (position_ + 1 < log_->oldest_) {
      gap_to_ = log_->oldest_ - 1;  // told by the next Next
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::vector<StoredEvent>> events = log_->store_.ReadEvents(
      log_->session_id(), position_, kStoredEvents, max_bytes);
  if (!events.ok()) return events.status();
  placed_ = false;
  std::string frames;
  size_t count = 0;
  for (const StoredEvent& event : *events) {
    // What is stored but not published yet comes by the window.
    if (event.sequence > newest) break;
    if (event.sequence != position_ + 1) {
      // Trimmed while we read.
      gap_to_ = event.sequence - 1;
      break;
    }
    AppendFrame(frames, event.bytes,
                include_raw_ ? event.raw : std::string_view());
    position_ = event.sequence;
    ++count;
  }
  if (count > 0) AddOwned(std::move(frames), count, out);
  if (count == 0 && gap_to_ <= position_) {
    // All of it may have been trimmed while we read.
    UNDERSTUDY_ASSIGN_OR_RETURN(const StoredSession stored,
                                log_->store_.Get(log_->session_id()));
    gap_to_ = std::min(stored.oldest_sequence - 1, newest);
    if (gap_to_ > position_) return absl::OkStatus();
    return MakeError(
        Reason::kStoreCorrupt,
        absl::StrCat("read session ", log_->session_id(), " after sequence ",
                     position_, ": the store has nothing there, though ",
                     newest, " is the newest"));
  }
  return absl::OkStatus();
}

}  // namespace understudy::session
