#include "tests/fakes/fake_event_log.h"

#include <utility>

namespace understudy {

uint64_t FakeEventLog::Append(v1::Event event) {
  uint64_t newest;
  {
    absl::MutexLock lock(&mutex_);
    const bool ephemeral = event.has_text_delta() ||
                           event.has_thought_delta() ||
                           event.has_tool_output_delta();
    if (ephemeral) {
      event.set_after_sequence(newest_);
    } else {
      event.set_sequence(++newest_);
    }
    events_.push_back(std::move(event));
    newest = newest_;
  }
  WakeStreams();
  return newest;
}

void FakeEventLog::Delete() {
  {
    absl::MutexLock lock(&mutex_);
    deleted_ = true;
  }
  WakeStreams();
}

void FakeEventLog::Script(FakeConnection connection) {
  absl::MutexLock lock(&mutex_);
  script_.push_back(std::move(connection));
}

FakeConnection FakeEventLog::NextConnection() {
  absl::MutexLock lock(&mutex_);
  if (script_.empty()) return {};
  FakeConnection next = std::move(script_.front());
  script_.pop_front();
  return next;
}

std::vector<std::optional<uint64_t>> FakeEventLog::subscriptions() const {
  absl::MutexLock lock(&mutex_);
  return subscriptions_;
}

void FakeEventLog::CountSubscription(const v1::Subscribe& subscribe) {
  absl::MutexLock lock(&mutex_);
  subscriptions_.push_back(subscribe.has_after_sequence()
                               ? std::optional(subscribe.after_sequence())
                               : std::nullopt);
}

void FakeEventLog::AwaitSubscriptions(size_t count) const {
  const auto reached = [this, count] {
    mutex_.AssertReaderHeld();
    return subscriptions_.size() >= count;
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&reached));
}

void FakeEventLog::AwaitStreams(size_t count) const {
  const auto reached = [this, count] {
    streams_mutex_.AssertReaderHeld();
    return streams_.size() == count;
  };
  absl::MutexLock lock(&streams_mutex_);
  streams_mutex_.Await(absl::Condition(&reached));
}

uint64_t FakeEventLog::newest_sequence() const {
  absl::MutexLock lock(&mutex_);
  return newest_;
}

size_t FakeEventLog::size() const {
  absl::MutexLock lock(&mutex_);
  return events_.size();
}

v1::Event FakeEventLog::At(size_t index) const {
  absl::MutexLock lock(&mutex_);
  return events_[index];
}

size_t FakeEventLog::IndexAfter(uint64_t sequence) const {
  absl::MutexLock lock(&mutex_);
  size_t index = 0;
  while (index < events_.size() && events_[index].sequence() <= sequence) {
    ++index;
  }
  return index;
}

bool FakeEventLog::deleted() const {
  absl::MutexLock lock(&mutex_);
  return deleted_;
}

void FakeEventLog::AddStream(void* stream, Wake wake) {
  absl::MutexLock lock(&streams_mutex_);
  streams_[stream] = std::move(wake);
}

void FakeEventLog::RemoveStream(void* stream) {
  absl::MutexLock lock(&streams_mutex_);
  streams_.erase(stream);
}

void FakeEventLog::WakeStreams() {
  absl::MutexLock lock(&streams_mutex_);
  for (auto& [stream, wake] : streams_) wake();
}

}  // namespace understudy
