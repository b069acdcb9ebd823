#include "client/cpp/event_stream.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/error.h"

namespace understudy::client {
namespace {

// Any but 0: it is the only one of its stream.
constexpr uint64_t kSubscriptionId = 1;

// True for what another try cannot cure.
bool IsFinal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace

EventStream::EventStream(std::shared_ptr<grpc::ChannelInterface> channel,
                         EventStreamOptions options)
    : channel_(std::move(channel)),
      options_(std::move(options)),
      backoff_(options_.backoff),
      last_sequence_(options_.after_sequence) {
  Open();
}

// Before the inbox, which its stream writes to.
EventStream::~EventStream() { stream_.reset(); }

absl::StatusOr<const v1::Event*> EventStream::Next(absl::Time deadline) {
  if (next_ == events_.size()) {
    const auto batch = NextBatch(deadline);
    if (!batch.ok()) return batch.status();
    next_ = 0;
  }
  return events_[next_++];
}

absl::StatusOr<absl::Span<const v1::Event* const>> EventStream::NextBatch(
    absl::Time deadline) {
  if (next_ < events_.size()) {  // what Next has left
    return absl::MakeConstSpan(events_).subspan(
        std::exchange(next_, events_.size()));
  }
  events_.clear();
  next_ = 0;
  while (events_.empty()) {
    if (absl::Status status = Step(deadline); !status.ok()) return status;
  }
  next_ = events_.size();
  return absl::MakeConstSpan(events_);
}

absl::Status EventStream::AwaitOpen(absl::Time deadline) {
  while (!open_) {
    if (absl::Status status = Step(deadline); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Takes the next that comes, or does what is due.
absl::Status EventStream::Step(absl::Time deadline) {
  if (!end_.ok()) return end_;
  if (inbox_.cancelled()) {
    return end_ = absl::CancelledError("the event stream was cancelled");
  }
  if (stream_ == nullptr && !WaitToReopen(deadline)) {
    if (inbox_.cancelled()) return absl::OkStatus();
    return absl::DeadlineExceededError("no event before the deadline");
  }
  const absl::Time silent = heard_ + options_.silence;
  auto item = inbox_.Take(std::min(deadline, silent), stream_.get());
  if (item.has_value()) {
    heard_ = absl::Now();
    Handle(*std::move(item));
  } else if (!inbox_.cancelled()) {
    if (silent > deadline) {
      return absl::DeadlineExceededError("no event before the deadline");
    }
    Interrupt(absl::UnavailableError(
        absl::StrCat("nothing from the server for ",
                     absl::FormatDuration(options_.silence))));
  }
  return absl::OkStatus();
}

absl::Status EventStream::ForEach(
    absl::FunctionRef<bool(absl::Span<const v1::Event* const>)> on_events,
    absl::Time deadline) {
  while (true) {
    const auto events = NextBatch(deadline);
    if (!events.ok()) return events.status();
    if (!on_events(*events)) return absl::OkStatus();
  }
}

void EventStream::Open() {
  heard_ = absl::Now();
  stream_ = std::make_unique<AttachStream>(channel_, inbox_);
  v1::Subscribe subscribe;
  subscribe.set_subscription_id(kSubscriptionId);
  subscribe.set_session_id(options_.session_id);
  if (last_sequence_.has_value()) {
    subscribe.set_after_sequence(*last_sequence_);
  }
  subscribe.set_include_deltas(options_.include_deltas);
  subscribe.set_include_raw(options_.include_raw);
  stream_->Subscribe(std::move(subscribe));
}

void EventStream::Interrupt(const absl::Status& why) {
  stream_.reset();
  open_ = false;
  inbox_.Clear();
  wait_ = backoff_.Next(RetryAfterOf(why));
  if (options_.on_interruption) options_.on_interruption(why, wait_);
}

// Waits for what is left of the backoff, and then opens the stream. False: the
// deadline came first, or Cancel.
bool EventStream::WaitToReopen(absl::Time deadline) {
  const absl::Time start = absl::Now();
  const absl::Duration wait = std::min(wait_, deadline - start);
  if (wait > absl::ZeroDuration()) {
    if (options_.sleep) {
      options_.sleep(wait);
    } else {
      inbox_.Take(start + wait, nullptr);
    }
    wait_ -= wait;
  }
  if (inbox_.cancelled() || wait_ > absl::ZeroDuration()) return false;
  Open();
  return true;
}

void EventStream::Handle(Inbox::Item item) {
  if (auto* buffer = std::get_if<std::unique_ptr<BatchBuffer>>(&item)) {
    HandleBatch(std::move(*buffer));
  } else if (auto* subscribed = std::get_if<v1::Subscribed>(&item)) {
    // "From now on" means after this, also if the stream is cut before the
    // first event.
    open_ = true;
    if (!last_sequence_.has_value()) {
      last_sequence_ = subscribed->newest_sequence();
    }
  } else if (auto* progress = std::get_if<v1::Progress>(&item)) {
    backoff_.Reset();
    if (last_sequence_.has_value() && progress->sequence() > *last_sequence_) {
      HandleHole(progress->sequence());
    }
  } else if (auto* closed = std::get_if<v1::Closed>(&item)) {
    HandleClosed(*closed);
  } else {
    const absl::Status& status = std::get<Inbox::Done>(item).status;
    if (IsFinal(status)) {
      end_ = status;
    } else {
      Interrupt(status.ok()
                    ? absl::UnavailableError("the server ended the stream")
                    : status);
    }
  }
}

void EventStream::HandleBatch(std::unique_ptr<BatchBuffer> buffer) {
  if (buffer_ != nullptr) inbox_.Recycle(std::move(buffer_));
  buffer_ = std::move(buffer);
  if (buffer_->batch.subscription_id() != kSubscriptionId) return;
  for (const v1::Event& event : buffer_->batch.events()) {
    // The event that this one comes right after, or at least after.
    const uint64_t previous =
        event.sequence() > 0 ? event.sequence() - 1 : event.after_sequence();
    if (!event.has_gap() && last_sequence_.has_value() &&
        previous > *last_sequence_) {
      HandleHole(previous);  // What precedes it is delivered.
      break;
    }
    if (IsNew(event)) events_.push_back(&event);
  }
  if (!events_.empty()) backoff_.Reset();
}

bool EventStream::IsNew(const v1::Event& event) {
  if (event.has_permission_requested()) {
    // A new stream shows those that wait once more.
    const bool is_new =
        asked_.insert(event.permission_requested().permission_id()).second;
    if (event.sequence() == 0) return is_new;
  } else if (event.has_permission_resolved()) {
    asked_.erase(event.permission_resolved().permission_id());
  } else if (event.has_gap()) {
    asked_.clear();  // what settled them may be missing
  }
  const uint64_t sequence =
      event.has_gap() ? event.gap().missing_to() : event.sequence();
  if (sequence == 0) return true;
  if (last_sequence_.has_value() && sequence <= *last_sequence_) return false;
  last_sequence_ = sequence;
  return true;
}

// The events up to `missing_to` should have come and have not.
void EventStream::HandleHole(uint64_t missing_to) {
  const std::string what = absl::StrCat(
      "events ", *last_sequence_ + 1, " to ", missing_to, " of session ",
      options_.session_id, " are missing, and no gap says so");
  if (hole_after_ == last_sequence_) {
    end_ = absl::InternalError(what);
    return;
  }
  hole_after_ = last_sequence_;
  Interrupt(absl::UnavailableError(what));
}

void EventStream::HandleClosed(const v1::Closed& closed) {
  const auto what = [&](const std::string& why) {
    return absl::StrCat("events of session ", options_.session_id, ": ",
                        closed.message().empty() ? why : closed.message());
  };
  switch (closed.reason()) {
    case v1::CLOSED_REASON_NOT_FOUND:
      end_ = MakeError(Reason::kSessionNotFound, what("no such session"));
      return;
    case v1::CLOSED_REASON_SESSION_DELETED:
      end_ = MakeError(Reason::kSessionNotFound, what("it was deleted"));
      return;
    case v1::CLOSED_REASON_OUT_OF_RANGE:
      end_ =
          MakeError(Reason::kSequenceOutOfRange,
                    what(absl::StrCat("sequence ", last_sequence_.value_or(0),
                                      " does not exist yet")));
      return;
    case v1::CLOSED_REASON_UNSUBSCRIBED:
      end_ = absl::CancelledError(what("unsubscribed"));
      return;
    case v1::CLOSED_REASON_OWNER_CHANGED:
      Interrupt(MakeError(Reason::kSessionFenced, what("another node has it")));
      return;
    case v1::CLOSED_REASON_SLOW_CONSUMER:
      Interrupt(MakeError(Reason::kSlowConsumer, what("read too slowly")));
      return;
    case v1::CLOSED_REASON_DRAINING:
      Interrupt(MakeError(Reason::kDraining, what("the server stops")));
      return;
    default:  // newer than this schema
      Interrupt(
          absl::UnavailableError(what(v1::ClosedReason_Name(closed.reason()))));
      return;
  }
}

}  // namespace understudy::client
