#include "client/cpp/inbox.h"

#include <utility>

namespace understudy::client {

std::optional<Inbox::Item> Inbox::Take(absl::Time deadline,
                                       AttachStream* stream) {
  std::optional<Item> item;
  {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(this, &Inbox::Ready), deadline);
    if (cancelled_ || items_.empty()) return std::nullopt;
    item = std::move(items_.front());
    items_.pop_front();
    if (auto* buffer = std::get_if<std::unique_ptr<BatchBuffer>>(&*item)) {
      --batches_;
      bytes_ -= (*buffer)->bytes;
    }
    if (!paused_ || bytes_ > kMaxBytes / 2 || batches_ > kMaxBatches / 2) {
      return item;
    }
    paused_ = false;
  }
  if (stream != nullptr) stream->Resume();
  return item;
}

void Inbox::Recycle(std::unique_ptr<BatchBuffer> buffer) {
  absl::MutexLock lock(&mutex_);
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(buffer));
}

void Inbox::Clear() {
  absl::MutexLock lock(&mutex_);
  items_.clear();
  batches_ = 0;
  bytes_ = 0;
  paused_ = false;
}

void Inbox::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
}

bool Inbox::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

void Inbox::OnSubscribed(const v1::Subscribed& subscribed) { Push(subscribed); }

AttachStream::Flow Inbox::OnBatch(std::unique_ptr<BatchBuffer>& buffer) {
  absl::MutexLock lock(&mutex_);
  ++batches_;
  bytes_ += buffer->bytes;
  paused_ = batches_ >= kMaxBatches || bytes_ >= kMaxBytes;
  items_.emplace_back(std::move(buffer));
  if (!spare_.empty()) {
    buffer = std::move(spare_.back());
    spare_.pop_back();
  }
  return paused_ ? AttachStream::Flow::kPause : AttachStream::Flow::kContinue;
}

void Inbox::OnProgress(const v1::Progress& progress) {
  absl::MutexLock lock(&mutex_);
  // A reader that stays away finds one, not thousands.
  if (!items_.empty() && std::holds_alternative<v1::Progress>(items_.back())) {
    items_.pop_back();
  }
  items_.emplace_back(progress);
}

void Inbox::OnClosed(const v1::Closed& closed) { Push(closed); }
void Inbox::OnRefused(const absl::Status& status) { Push(Done{status}); }
void Inbox::OnDone(const absl::Status& status) { Push(Done{status}); }

void Inbox::Push(Item item) {
  absl::MutexLock lock(&mutex_);
  items_.push_back(std::move(item));
}

}  // namespace understudy::client
