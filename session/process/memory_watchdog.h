// MemoryWatchdog: how much memory agents have, with all they have started, and
// what to do when that is too much.
//
// Without it, memory that one agent takes is missed by all: where a container
// runs out of it, Kubernetes ends the whole container, the server included.
//
// Threads: the loop; it measures on another.

#ifndef UNDERSTUDY_SESSION_PROCESS_MEMORY_WATCHDOG_H_
#define UNDERSTUDY_SESSION_PROCESS_MEMORY_WATCHDOG_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"

namespace understudy::session {

// The descendants of `root`, without itself, and what they may have together.
struct MemoryBound {
  pid_t root = 0;
  uint64_t bytes = 0;
};

// What each of `trees` has, in bytes of resident memory. Any thread; it blocks
// for some milliseconds.
//
// By one look at all processes, whose resident sets are added up: cheap, but a
// page that is shared counts for each who has it. So what seems to be too much
// is measured again by proportional set sizes (PSS), which count it once and
// cost the kernel a walk over all pages.
std::vector<uint64_t> MeasureMemory(const std::vector<MemoryBound>& trees);

class MemoryWatchdog {
 public:
  struct Options {
    absl::Duration interval = absl::Seconds(1);
    std::function<std::vector<uint64_t>(const std::vector<MemoryBound>&)>
        measure = &MeasureMemory;
    // Where it measures. Null: a thread of its own, made for the first tree.
    Blocking* blocking = nullptr;
  };
  // What the tree has.
  using Over = absl::AnyInvocable<void(uint64_t bytes) &&>;

  MemoryWatchdog(EventLoop& loop, Options options);
  ~MemoryWatchdog();

  // Calls `over`, once, when the tree is found to have more than its bound.
  // Destroying the handle cancels; it may outlive the watchdog.
  [[nodiscard]] std::unique_ptr<EventLoop::Handle> Watch(MemoryBound bound,
                                                         Over over);

 private:
  class Watched;
  using Id = uint64_t;
  struct Tree {
    MemoryBound bound;
    Over over;
  };

  void Schedule();
  void Measure();
  void Measured(const std::vector<Id>& ids, const std::vector<uint64_t>& bytes);

  EventLoop& loop_;
  const Options options_;
  std::map<Id, Tree> trees_;
  Id last_id_ = 0;
  bool measuring_ = false;
  std::unique_ptr<EventLoop::Handle> timer_;
  // Null once the watchdog is gone: late answers find nobody.
  const std::shared_ptr<MemoryWatchdog*> self_ =
      std::make_shared<MemoryWatchdog*>(this);
  std::unique_ptr<Blocking> own_;  // the first to go: waits for its work
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_MEMORY_WATCHDOG_H_
