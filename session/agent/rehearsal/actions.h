// What a turn does next: small actions that the loop runs one at a time. An
// action may append further ones, which come before the rest, and may make the
// rest wait: for so long, or until somebody says GoOn().
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACTIONS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACTIONS_H_

#include <deque>
#include <functional>
#include <vector>

#include "session/agent/rehearsal/loop.h"

namespace understudy::session {

class Actions {
 public:
  using Action = std::function<void()>;

  explicit Actions(Loop& loop) : loop_(loop) {}
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  ~Actions() { loop_.Cancel(timer_); }

  void Then(Action action) { added_.push_back(std::move(action)); }
  // Runs the next action. False: waits, or has none.
  bool Step();
  void Wait() { waiting_ = true; }
  // Instead of what was waited for.
  void WaitFor(Loop::Milliseconds duration);
  void GoOn();
  void Clear();
  bool waiting() const { return waiting_; }

 private:
  void Splice();

  Loop& loop_;
  std::deque<Action> actions_;
  std::vector<Action> added_;
  bool waiting_ = false;
  Loop::TimerId timer_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACTIONS_H_
