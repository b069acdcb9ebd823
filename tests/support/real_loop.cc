#include "tests/support/real_loop.h"

#include <utility>

namespace understudy::session {

bool RealLoop::RunUntil(std::function<bool()> done, absl::Duration limit) {
  const absl::Time deadline = loop_->Now() + limit;
  bool held = false;
  std::unique_ptr<EventLoop::Handle> timer;
  std::function<void()> look = [&] {
    held = done();
    if (held || loop_->Now() >= deadline) {
      loop_->Stop();
    } else {
      timer = loop_->RunAfter(absl::Milliseconds(1), [&] { look(); });
    }
  };
  loop_->Post([&] { look(); });
  loop_->Run();
  return held;
}

}  // namespace understudy::session
