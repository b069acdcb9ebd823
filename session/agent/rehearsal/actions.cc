#include "session/agent/rehearsal/actions.h"

#include <iterator>
#include <utility>

namespace understudy::session {

bool Actions::Step() {
  Splice();
  if (waiting_ || actions_.empty()) return false;
  Action action = std::move(actions_.front());
  actions_.pop_front();
  action();
  Splice();
  return true;
}

void Actions::WaitFor(Loop::Milliseconds duration) {
  Wait();
  loop_.Cancel(timer_);
  timer_ = loop_.RunAfter(duration, [this] { waiting_ = false; });
}

void Actions::GoOn() {
  loop_.Cancel(timer_);
  waiting_ = false;
}

void Actions::Clear() {
  actions_.clear();
  added_.clear();
}

void Actions::Splice() {
  actions_.insert(actions_.begin(), std::make_move_iterator(added_.begin()),
                  std::make_move_iterator(added_.end()));
  added_.clear();
}

}  // namespace understudy::session
