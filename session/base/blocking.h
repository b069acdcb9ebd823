// Blocking: work that may block (reading the store) runs elsewhere, and what
// follows runs on the loop.
//
// Threads: Run may be called from any thread.

#ifndef UNDERSTUDY_SESSION_BASE_BLOCKING_H_
#define UNDERSTUDY_SESSION_BASE_BLOCKING_H_

#include <memory>

#include "session/base/event_loop.h"

namespace understudy::session {

class Blocking {
 public:
  // Waits for the work in progress; queued work is destroyed without running.
  virtual ~Blocking() = default;

  // Runs `work` on one of a few threads, in no particular order with other
  // work. A caller that wants to continue on the loop posts there itself.
  virtual void Run(Task work) = 0;
};

std::unique_ptr<Blocking> NewBlocking(int threads);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_BLOCKING_H_
