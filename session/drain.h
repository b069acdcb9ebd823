// Drain: the end of the engine in an orderly server stop. Running turns may
// end, then they are interrupted, then every agent is stopped, then every log
// is closed; each step has a bound.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_DRAIN_H_
#define UNDERSTUDY_SESSION_DRAIN_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/base/event_loop.h"
#include "session/session_table.h"

namespace understudy::session {

class Drain {
 public:
  // Begins at once; `done` is called once, when all is over. Destroying it
  // ends it where it is.
  Drain(SessionTable& table, absl::Duration turn_grace, Task done);

 private:
  enum class Step { kTurns, kInterrupted, kStopping };

  void Tick();

  SessionTable& table_;
  EventLoop& loop_;
  const absl::Status why_;
  Step step_ = Step::kTurns;
  absl::Time deadline_;
  Task done_;
  std::unique_ptr<EventLoop::Handle> timer_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_DRAIN_H_
