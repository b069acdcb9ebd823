#include "service/feed.h"

#include <utility>

#include "absl/time/clock.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "service/wire.h"
#include "session/event_codec.h"
#include "understudy/v1/event.pb.h"

namespace understudy::service {

using session::EventLog;

namespace {

// What is taken from the log, or read from the store, at a time: the more, the
// fewer messages. One event may go beyond it.
constexpr size_t kBatchBytes = 1 << 20;

// No message on the wire exceeds 3 MiB; this leaves room for its frame.
constexpr size_t kMaxBatchBytes = (3 << 20) - 64;

// The reader's own event: the session is gone.
EventLog::Batch DeletedEvent(const std::string& session_id,
                             uint64_t after_sequence) {
  v1::Event event;
  event.set_session_id(session_id);
  event.set_after_sequence(after_sequence);
  *event.mutable_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::GetCurrentTimeNanos());
  event.set_synthetic(true);
  event.mutable_session_deleted();
  auto frame = std::make_shared<std::string>();
  session::AppendFrame(*frame, event.SerializeAsString());
  return {.slices = {{frame, *frame}}, .events = 1, .bytes = frame->size()};
}

}  // namespace

std::shared_ptr<Feed> Feed::Make(const StreamGround& ground,
                                 EventLog::ReaderOptions options,
                                 absl::AnyInvocable<void() const> ready) {
  return std::shared_ptr<Feed>(new Feed(ground, options, std::move(ready)));
}

Feed::Feed(const StreamGround& ground, EventLog::ReaderOptions options,
           absl::AnyInvocable<void() const> ready)
    : ground_(ground), options_(options), ready_(std::move(ready)) {}

void Feed::Open(std::string session_id) {
  ground_.manager.OpenLog({}, std::move(session_id),
                          [feed = shared_from_this()](
                              absl::StatusOr<std::shared_ptr<EventLog>> log) {
                            feed->Opened(std::move(log));
                          });
}

// On the loop.
void Feed::Opened(absl::StatusOr<std::shared_ptr<EventLog>> log) {
  absl::Status status = log.status();
  if (status.ok()) {
    log_ = *std::move(log);
    // The log calls this where the cursor must not be touched; what follows
    // runs on the loop, after whatever the loop is doing.
    auto wake = [feed = weak_from_this(), &loop = ground_.loop] {
      loop.Post([feed] {
        if (const auto self = feed.lock(); self != nullptr) self->ready_();
      });
    };
    auto cursor = log_->Subscribe(options_, std::move(wake));
    status = cursor.status();
    if (status.ok()) {
      cursor_ = *std::move(cursor);
      oldest_sequence_ = log_->oldest_sequence();
      newest_sequence_ = options_.after.has_value() ? log_->newest_sequence()
                                                    : cursor_->position();
    }
  }
  {
    absl::MutexLock lock(&mu_);
    state_ = status.ok() ? State::kLive : State::kEnded;
    end_ = std::move(status);
  }
  ready_();
}

Feed::Result Feed::Pull(EventLog::Batch& out) {
  State state;
  {
    absl::MutexLock lock(&mu_);
    state = state_;
    if (stored_.bytes > 0) rest_ = std::exchange(stored_, {});
  }
  if (state == State::kOpening) return Result::kBusy;
  if (cursor_ != nullptr && !std::exchange(told_opened_, true)) {
    position_ = cursor_->position();
    return Result::kOpened;
  }
  if (rest_.bytes == 0) {
    if (state == State::kReadingStore) return Result::kBusy;
    if (state == State::kEnded) return Result::kEnded;
    switch (cursor_->Next(kBatchBytes, rest_)) {
      case EventLog::Cursor::Result::kEvents:
        break;
      case EventLog::Cursor::Result::kEmpty:
        return Result::kEmpty;
      case EventLog::Cursor::Result::kBehind:
        ReadStore();
        return Result::kBusy;
      case EventLog::Cursor::Result::kClosed:
        End(cursor_->end());
        if (ReasonOf(cursor_->end()) != Reason::kSessionNotFound) {
          return Result::kEnded;
        }
        rest_ = DeletedEvent(log_->session_id(), cursor_->position());
        break;
    }
  }
  out = TakeFront(rest_, kMaxBatchBytes);
  if (rest_.bytes == 0) position_ = cursor_->position();
  return Result::kEvents;
}

void Feed::ReadStore() {
  {
    absl::MutexLock lock(&mu_);
    state_ = State::kReadingStore;
  }
  ground_.reading.Run([feed = shared_from_this()] {
    EventLog::Batch batch;
    absl::Status status = feed->cursor_->ReadStored(kBatchBytes, batch);
    {
      absl::MutexLock lock(&feed->mu_);
      feed->stored_ = std::move(batch);
      feed->state_ = status.ok() ? State::kLive : State::kEnded;
      feed->end_ = std::move(status);
    }
    feed->ready_();
  });
}

void Feed::End(absl::Status why) {
  absl::MutexLock lock(&mu_);
  state_ = State::kEnded;
  end_ = std::move(why);
}

absl::Status Feed::end() const {
  absl::MutexLock lock(&mu_);
  return end_;
}

uint64_t Feed::oldest_retained() const {
  return log_ == nullptr ? 0 : log_->oldest_sequence();
}

}  // namespace understudy::service
