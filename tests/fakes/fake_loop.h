// FakeLoop: an EventLoop that a test drives by hand, with a clock that moves
// only when the test says so. Deterministic: one thread, and timers due at the
// same time run in the order they were set.
//
// Threads: Post from any; the rest on the thread that made it.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_LOOP_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_LOOP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class FakeLoop final : public EventLoop {
 public:
  // Handles must be destroyed before the loop; it aborts otherwise.
  ~FakeLoop() override;

  void Post(Task task) override;
  absl::Time Now() const override { return now_; }
  std::unique_ptr<Handle> RunAfter(absl::Duration delay, Task task) override;
  // Aborts: code that watches descriptors is tested on a real loop.
  std::unique_ptr<Handle> WatchFd(
      int fd, uint32_t events,
      absl::AnyInvocable<void(uint32_t)> ready) override;
  bool OnLoop() const override { return std::this_thread::get_id() == thread_; }

  // Runs posted tasks until none is left; time stands still, though a timer
  // set with no delay runs. Aborts after a million tasks: an endless loop.
  void RunUntilIdle();

  // Runs one posted task or one timer that is due now. False: idle.
  bool RunOne();

  // Moves the clock on, running every timer on the way at its own time.
  void Advance(absl::Duration by);

  // Moves the clock to the next timer and runs until idle. False: no timer.
  bool AdvanceToNextTimer();

  // Runs what other threads post until `done` holds. False after ten seconds
  // of real time. The fake clock stands still.
  [[nodiscard]] bool RunUntil(const std::function<bool()>& done);

  size_t timers() const { return timers_.size(); }

 private:
  class Timer;
  using TimerKey = std::pair<absl::Time, uint64_t>;  // due, then order

  bool RunPosted();
  bool RunTimerDueBy(absl::Time limit);

  const std::thread::id thread_ = std::this_thread::get_id();
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  uint64_t next_timer_ = 0;
  size_t handles_ = 0;
  std::map<TimerKey, Task> timers_;

  absl::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_LOOP_H_
