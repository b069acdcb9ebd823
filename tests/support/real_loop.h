// A real event loop that a test runs on its own thread until something holds.

#ifndef UNDERSTUDY_TESTS_SUPPORT_REAL_LOOP_H_
#define UNDERSTUDY_TESTS_SUPPORT_REAL_LOOP_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class RealLoop {
 public:
  EventLoop& operator*() { return *loop_; }
  EventLoop* operator->() { return loop_.get(); }

  // Runs the loop until `done` holds, which is looked at every millisecond of
  // it. False when that takes longer than `limit`.
  [[nodiscard]] bool RunUntil(std::function<bool()> done,
                              absl::Duration limit = absl::Seconds(20));

 private:
  std::unique_ptr<RunnableLoop> loop_ = NewAsioLoop();
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_REAL_LOOP_H_
