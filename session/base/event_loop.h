// EventLoop: the one thread on which everything in session/ runs.
//
// Sessions, slots, transitions and agents are written as if nothing else ran
// beside them, because nothing does: their methods are called on the loop and
// call back on the loop. A test drives the same code with a fake loop and a
// fake clock.
//
// Threads: Post may be called from any thread; everything else only on the
// loop (OnLoop() is true).

#ifndef UNDERSTUDY_SESSION_BASE_EVENT_LOOP_H_
#define UNDERSTUDY_SESSION_BASE_EVENT_LOOP_H_

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace understudy::session {

using Task = absl::AnyInvocable<void() &&>;

class EventLoop {
 public:
  // What keeps a timer or a watch alive: destroying it cancels, after which
  // the callback is never called, even if it was already due. It may be
  // destroyed from inside its own callback. Must not outlive the loop.
  class Handle {
   public:
    virtual ~Handle() = default;
  };

  static constexpr uint32_t kReadable = 1;
  static constexpr uint32_t kWritable = 2;

  virtual ~EventLoop() = default;

  // Runs `task` on the loop, after everything posted before it. Any thread.
  // Tasks that are still queued when the loop is destroyed are destroyed
  // without being run.
  virtual void Post(Task task) = 0;

  // The wall clock, for time stamps.
  virtual absl::Time Now() const = 0;

  // Runs `task` once, `delay` from now by the monotonic clock.
  [[nodiscard]] virtual std::unique_ptr<Handle> RunAfter(absl::Duration delay,
                                                         Task task) = 0;

  // Calls `ready` with kReadable and/or kWritable for as long as `fd` is so
  // (level-triggered; end of file and errors count as both). `fd` must be
  // non-blocking, stays the caller's, and must stay open while the handle
  // lives.
  [[nodiscard]] virtual std::unique_ptr<Handle> WatchFd(
      int fd, uint32_t events, absl::AnyInvocable<void(uint32_t)> ready) = 0;

  virtual bool OnLoop() const = 0;
};

// A loop of this process's own: Run() on the thread that is to be the loop,
// Stop() from anywhere makes Run() return after the task in progress.
class RunnableLoop : public EventLoop {
 public:
  virtual void Run() = 0;
  virtual void Stop() = 0;
};

// The loop on Boost.Asio.
std::unique_ptr<RunnableLoop> NewAsioLoop();

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_EVENT_LOOP_H_
