#include "tests/fakes/fake_attach.h"

#include <algorithm>
#include <utility>

namespace understudy {

FakeAttach::FakeAttach(FindLog find_log, Execute execute)
    : find_log_(std::move(find_log)), execute_(std::move(execute)) {
  StartRead(&request_);
}

void FakeAttach::OnReadDone(bool ok) {
  if (!ok) {
    absl::MutexLock lock(&mutex_);
    read_all_ = true;
    PumpLocked();
    return;
  }
  if (request_.has_subscribe()) {
    Subscribe(request_.subscribe());
  } else if (request_.has_unsubscribe()) {
    absl::MutexLock lock(&mutex_);
    Close(v1::CLOSED_REASON_UNSUBSCRIBED);
  } else if (auto result = execute_(request_); result.has_value()) {
    absl::MutexLock lock(&mutex_);
    *outgoing_.emplace_back().mutable_result() = *std::move(result);
  }
  absl::MutexLock lock(&mutex_);
  PumpLocked();
  if (!finished_) StartRead(&request_);
}

void FakeAttach::Subscribe(const v1::Subscribe& subscribe) {
  FakeEventLog* const log = find_log_(subscribe.session_id());
  if (log == nullptr) {
    absl::MutexLock lock(&mutex_);
    subscribe_ = subscribe;
    Close(v1::CLOSED_REASON_NOT_FOUND);
    return;
  }
  const FakeConnection connection = log->NextConnection();
  {
    absl::MutexLock lock(&mutex_);
    subscribe_ = subscribe;
    connection_ = connection;
    const uint64_t newest = log->newest_sequence();
    uint64_t after =
        subscribe.has_after_sequence() ? subscribe.after_sequence() : newest;
    if (after > newest) {
      Close(v1::CLOSED_REASON_OUT_OF_RANGE);
      return;
    }
    if (!connection.silent) {
      auto& subscribed = *outgoing_.emplace_back().mutable_subscribed();
      subscribed.set_subscription_id(subscribe.subscription_id());
      subscribed.set_oldest_sequence(connection.oldest);
      subscribed.set_newest_sequence(newest);
      if (after + 1 < connection.oldest) {
        auto& batch = *outgoing_.emplace_back().mutable_batch();
        batch.set_subscription_id(subscribe.subscription_id());
        auto& gap = *batch.add_events()->mutable_gap();
        gap.set_missing_from(after + 1);
        gap.set_missing_to(connection.oldest - 1);
        after = connection.oldest - 1;
      }
      for (const std::string& id : connection.asked) {
        auto& batch = *outgoing_.emplace_back().mutable_batch();
        batch.set_subscription_id(subscribe.subscription_id());
        v1::Event& event = *batch.add_events();
        event.set_after_sequence(after);
        event.mutable_permission_requested()->set_permission_id(id);
      }
      log_ = log;
    }
    shown_ = after;
    next_ = log->IndexAfter(after - std::min(after, connection.repeat));
    live_from_ = log->size();
  }
  if (joined_ == nullptr) {
    joined_ = log;
    log->AddStream(this, [this] { Pump(); });
  }
  // Last, for who has awaited it may rely on being woken.
  log->CountSubscription(subscribe);
}

void FakeAttach::Pump() {
  absl::MutexLock lock(&mutex_);
  PumpLocked();
}

void FakeAttach::PumpLocked() {
  if (writing_ || finished_) return;
  if (outgoing_.empty() && log_ != nullptr && !AddBatch()) End();
  if (finished_) return;
  if (!outgoing_.empty()) {
    writing_ = true;
    StartWrite(&outgoing_.front());
  } else if (read_all_) {
    FinishOnce(grpc::Status::OK);
  }
}

// False: there is nothing more to show.
bool FakeAttach::AddBatch() {
  v1::Batch batch;
  while (next_ < log_->size() &&
         static_cast<size_t>(batch.events_size()) < connection_.batch_size) {
    v1::Event event = log_->At(next_);
    if (connection_.cut_after.has_value() &&
        event.sequence() > *connection_.cut_after) {
      break;
    }
    const bool ephemeral = event.sequence() == 0;
    const bool hidden = ephemeral
                            ? !subscribe_.include_deltas() || next_ < live_from_
                            : connection_.omit.count(event.sequence()) > 0;
    ++next_;
    if (!ephemeral) shown_ = std::max(shown_, event.sequence());
    if (!subscribe_.include_raw()) event.clear_raw();
    if (!hidden) *batch.add_events() = std::move(event);
  }
  if (batch.events_size() == 0) return false;
  batch.set_subscription_id(subscribe_.subscription_id());
  *outgoing_.emplace_back().mutable_batch() = std::move(batch);
  return true;
}

// Everything there is has been shown: ends the subscription if it is time.
void FakeAttach::End() {
  if (log_->deleted() && next_ == log_->size()) {
    v1::Batch& batch = *outgoing_.emplace_back().mutable_batch();
    batch.set_subscription_id(subscribe_.subscription_id());
    v1::Event& event = *batch.add_events();
    event.set_after_sequence(shown_);
    event.mutable_session_deleted();
    Close(v1::CLOSED_REASON_SESSION_DELETED);
    return;
  }
  if (!connection_.cut_after.has_value() || shown_ < *connection_.cut_after) {
    return;
  }
  if (connection_.closed != v1::CLOSED_REASON_UNSPECIFIED) {
    Close(connection_.closed);
  } else {
    FinishOnce(connection_.status);
  }
}

void FakeAttach::Close(v1::ClosedReason reason) {
  auto& closed = *outgoing_.emplace_back().mutable_closed();
  closed.set_subscription_id(subscribe_.subscription_id());
  closed.set_reason(reason);
  log_ = nullptr;
}

void FakeAttach::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  outgoing_.pop_front();
  writing_ = false;
  if (ok) PumpLocked();
}

void FakeAttach::OnCancel() {
  absl::MutexLock lock(&mutex_);
  FinishOnce(grpc::Status::CANCELLED);
}

void FakeAttach::OnDone() {
  if (joined_ != nullptr) joined_->RemoveStream(this);
  delete this;
}

void FakeAttach::FinishOnce(const grpc::Status& status) {
  if (std::exchange(finished_, true)) return;
  Finish(status);
}

}  // namespace understudy
