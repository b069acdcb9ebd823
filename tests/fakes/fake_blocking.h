// FakeBlocking: work that may block, run as tasks of the loop: one after
// another, in the order given. A test may hold work back and let it go piece
// by piece, or have each piece take a time of its own.
//
// Threads: the loop.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_BLOCKING_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_BLOCKING_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class FakeBlocking final : public Blocking {
 public:
  explicit FakeBlocking(EventLoop& loop) : loop_(loop) {}

  void Run(Task work) override {
    if (delay) {
      RunLater(std::move(work), delay());
      return;
    }
    queue_->push_back(std::move(work));
    if (!held_) PostNext();
  }

  // From now on work waits.
  void Hold() { held_ = true; }
  // What waits is run by the loop, and what comes is no longer held.
  void Release() {
    held_ = false;
    for (size_t i = 0; i < queue_->size(); ++i) PostNext();
  }
  // The first that waits is run by the loop. False: nothing waits.
  bool ReleaseOne() {
    if (queue_->empty()) return false;
    PostNext();
    return true;
  }

  // What has not begun never does: its process was killed.
  void Drop() {
    queue_->clear();
    timers_.clear();
  }

  // How long the work to come takes; unset: no time.
  std::function<absl::Duration()> delay;

  // Work that has not begun.
  size_t waiting() const { return queue_->size(); }

 private:
  using Queue = std::deque<Task>;

  void RunLater(Task work, absl::Duration time) {
    auto shared = std::make_shared<Task>(std::move(work));
    const uint64_t number = next_++;
    timers_[number] = loop_.RunAfter(time, [this, shared, number] {
      const std::unique_ptr<EventLoop::Handle> fired =
          std::move(timers_[number]);
      timers_.erase(number);
      std::move (*shared)();
    });
  }

  void PostNext() {
    loop_.Post([weak = std::weak_ptr<Queue>(queue_)] {
      const std::shared_ptr<Queue> queue = weak.lock();
      if (queue == nullptr || queue->empty()) return;
      Task work = std::move(queue->front());
      queue->pop_front();
      std::move(work)();
    });
  }

  EventLoop& loop_;
  bool held_ = false;
  uint64_t next_ = 0;
  std::map<uint64_t, std::unique_ptr<EventLoop::Handle>> timers_;
  // Goes with this, and queued work with it, unrun.
  const std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_BLOCKING_H_
