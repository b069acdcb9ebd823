// The event loop on Boost.Asio.
//
// Posted tasks go through a queue of our own rather than through Asio's, for
// two reasons: Asio lets a task posted by another thread overtake one that the
// loop's thread posted before it, and one wake-up serves a whole batch.
//
// A timer and a watch live in a state that the handle and the pending Asio
// operation share. The handle's destruction marks it cancelled, which a
// completion that is already queued then finds.

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <utility>  // before Asio, which forgets to include it

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "session/base/check.h"
#include "session/base/event_loop.h"

namespace understudy::session {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class Timer final : public EventLoop::Handle {
 public:
  Timer(asio::io_context& io, absl::Duration delay, Task task)
      : state_(std::make_shared<State>(io)) {
    state_->task = std::move(task);
    // Beyond a century is never, and safe from overflow.
    state_->timer.expires_after(absl::ToChronoNanoseconds(
        std::clamp(delay, absl::ZeroDuration(), absl::Hours(24 * 36500))));
    state_->timer.async_wait([state = state_](error_code) {
      if (!state->task) return;
      Task due = std::exchange(state->task, nullptr);
      std::move(due)();
    });
  }
  ~Timer() override {
    state_->task = nullptr;
    state_->timer.cancel();
  }

 private:
  struct State {
    explicit State(asio::io_context& io) : timer(io) {}
    asio::steady_timer timer;
    Task task;  // null once it has run or is cancelled
  };
  std::shared_ptr<State> state_;
};

class Watch final : public EventLoop::Handle {
 public:
  Watch(asio::io_context& io, int fd, uint32_t events,
        absl::AnyInvocable<void(uint32_t)> ready)
      : state_(std::make_shared<State>(io)) {
    error_code error;
    state_->descriptor.assign(fd, error);
    UNDERSTUDY_CHECK(!error, "WatchFd: not a descriptor that can be watched");
    state_->ready = std::move(ready);
    if (events & EventLoop::kReadable) Wait(state_, EventLoop::kReadable);
    if (events & EventLoop::kWritable) Wait(state_, EventLoop::kWritable);
  }
  ~Watch() override {
    state_->cancelled = true;
    if (!state_->running) state_->ready = nullptr;
    state_->descriptor.release();  // the descriptor stays the caller's
  }

 private:
  struct State {
    explicit State(asio::io_context& io) : descriptor(io) {}
    asio::posix::stream_descriptor descriptor;
    absl::AnyInvocable<void(uint32_t)> ready;
    bool cancelled = false;
    bool running = false;
  };

  // Asio registers a descriptor edge-triggered and arms it anew for each wait,
  // which reports at once what is still ready: level-triggered, seen from here.
  static void Wait(const std::shared_ptr<State>& state, uint32_t event) {
    state->descriptor.async_wait(
        event == EventLoop::kReadable
            ? asio::posix::stream_descriptor::wait_read
            : asio::posix::stream_descriptor::wait_write,
        [state, event](error_code) {
          if (state->cancelled) return;
          state->running = true;
          state->ready(event);
          state->running = false;
          if (state->cancelled) {
            state->ready = nullptr;
          } else {
            Wait(state, event);
          }
        });
  }

  std::shared_ptr<State> state_;
};

class AsioLoop final : public RunnableLoop {
 public:
  // What a queued task owns may post again while it is destroyed.
  ~AsioLoop() override {
    for (bool empty = false; !empty;) {
      std::deque<Task> dropped;
      {
        absl::MutexLock lock(&mutex_);
        dropped.swap(tasks_);
      }
      empty = dropped.empty();
    }
  }

  void Post(Task task) override {
    bool wake;
    {
      absl::MutexLock lock(&mutex_);
      wake = tasks_.empty() && !draining_;
      tasks_.push_back(std::move(task));
    }
    if (wake) PostDrain();
  }

  absl::Time Now() const override { return absl::Now(); }

  std::unique_ptr<Handle> RunAfter(absl::Duration delay, Task task) override {
    return std::make_unique<Timer>(io_, delay, std::move(task));
  }

  std::unique_ptr<Handle> WatchFd(
      int fd, uint32_t events,
      absl::AnyInvocable<void(uint32_t)> ready) override {
    return std::make_unique<Watch>(io_, fd, events, std::move(ready));
  }

  bool OnLoop() const override {
    return thread_.load(std::memory_order_relaxed) ==
           std::this_thread::get_id();
  }

  void Run() override {
    thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    // Stop() before Run() must not be lost, so the context is made ready for
    // another run at the end of this one.
    io_.run();
    io_.restart();
    stopping_.store(false, std::memory_order_relaxed);
    thread_.store(std::thread::id(), std::memory_order_relaxed);
  }

  void Stop() override {
    stopping_.store(true, std::memory_order_relaxed);
    io_.stop();
  }

 private:
  void PostDrain() {
    asio::post(io_, [this] { Drain(); });
  }

  // Runs what was posted until now; what these tasks post waits for the next
  // round, so that descriptors and timers get their turn.
  void Drain() {
    std::deque<Task> batch;
    {
      absl::MutexLock lock(&mutex_);
      draining_ = true;
      batch.swap(tasks_);
    }
    while (!batch.empty() && !stopping_.load(std::memory_order_relaxed)) {
      Task task = std::move(batch.front());
      batch.pop_front();
      std::move(task)();
    }
    bool more;
    {
      absl::MutexLock lock(&mutex_);
      draining_ = false;
      while (!batch.empty()) {
        tasks_.push_front(std::move(batch.back()));
        batch.pop_back();
      }
      more = !tasks_.empty();
    }
    if (more) PostDrain();
  }

  asio::io_context io_{1};
  // It waits for work rather than ending when there is none.
  asio::executor_work_guard<asio::io_context::executor_type> waits_{
      io_.get_executor()};
  std::atomic<std::thread::id> thread_{};
  std::atomic<bool> stopping_{false};

  absl::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  // True while Drain runs: it looks for more itself.
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::unique_ptr<RunnableLoop> NewAsioLoop() {
  return std::make_unique<AsioLoop>();
}

}  // namespace understudy::session
