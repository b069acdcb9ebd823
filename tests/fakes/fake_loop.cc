#include "tests/fakes/fake_loop.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "session/base/check.h"

namespace understudy::session {

class FakeLoop::Timer final : public EventLoop::Handle {
 public:
  Timer(FakeLoop& loop, TimerKey key) : loop_(loop), key_(key) {
    ++loop_.handles_;
  }
  ~Timer() override {
    --loop_.handles_;
    // Destroying what the task holds may set or cancel other timers.
    auto cancelled = loop_.timers_.extract(key_);
  }

 private:
  FakeLoop& loop_;
  const TimerKey key_;
};

FakeLoop::~FakeLoop() {
  std::deque<Task> dropped;
  {
    absl::MutexLock lock(&mutex_);
    dropped.swap(tasks_);
  }
  dropped.clear();
  while (!timers_.empty()) timers_.extract(timers_.begin());
  UNDERSTUDY_CHECK(handles_ == 0, "a timer's handle outlives its loop");
}

void FakeLoop::Post(Task task) {
  absl::MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
}

std::unique_ptr<EventLoop::Handle> FakeLoop::RunAfter(absl::Duration delay,
                                                      Task task) {
  const TimerKey key(now_ + std::max(delay, absl::ZeroDuration()),
                     next_timer_++);
  timers_.emplace(key, std::move(task));
  return std::make_unique<Timer>(*this, key);
}

std::unique_ptr<EventLoop::Handle> FakeLoop::WatchFd(
    int, uint32_t, absl::AnyInvocable<void(uint32_t)>) {
  UNDERSTUDY_CHECK(false, "FakeLoop watches no descriptors");
}

bool FakeLoop::RunPosted() {
  Task task;
  {
    absl::MutexLock lock(&mutex_);
    if (tasks_.empty()) return false;
    task = std::move(tasks_.front());
    tasks_.pop_front();
  }
  std::move(task)();
  return true;
}

bool FakeLoop::RunTimerDueBy(absl::Time limit) {
  if (timers_.empty() || timers_.begin()->first.first > limit) return false;
  auto due = timers_.extract(timers_.begin());
  now_ = std::max(now_, due.key().first);
  std::move(due.mapped())();
  return true;
}

bool FakeLoop::RunOne() {
  UNDERSTUDY_CHECK(OnLoop(), "driven from the thread that made it");
  return RunPosted() || RunTimerDueBy(now_);
}

void FakeLoop::RunUntilIdle() {
  for (int tasks = 0; RunOne(); ++tasks) {
    UNDERSTUDY_CHECK(tasks < 1'000'000, "the loop never becomes idle");
  }
}

void FakeLoop::Advance(absl::Duration by) {
  const absl::Time until = now_ + by;
  do {
    RunUntilIdle();
  } while (RunTimerDueBy(until));
  now_ = until;
}

bool FakeLoop::AdvanceToNextTimer() {
  RunUntilIdle();
  if (!RunTimerDueBy(absl::InfiniteFuture())) return false;
  RunUntilIdle();
  return true;
}

bool FakeLoop::RunUntil(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  for (;;) {
    RunUntilIdle();
    if (done()) return true;
    absl::MutexLock lock(&mutex_);
    const auto posted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !tasks_.empty();
    };
    // What other threads do need not be told by a Post.
    mutex_.AwaitWithTimeout(absl::Condition(&posted), absl::Milliseconds(1));
    if (absl::Now() > deadline) return false;
  }
}

}  // namespace understudy::session
