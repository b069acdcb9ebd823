// GuardReaper: waits for every guard, so that none becomes a zombie, and does
// what a guard that was itself killed could not: kills what is left of its
// agent.
//
// Waits for each by its own pidfd; other children of this process are none of
// its business.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_PROCESS_GUARD_REAPER_H_
#define UNDERSTUDY_SESSION_PROCESS_GUARD_REAPER_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "session/base/event_loop.h"
#include "session/base/unique_fd.h"

namespace understudy::session {

class GuardReaper {
 public:
  // The guard has been reaped and no descendant of its agent is left.
  using Gone = absl::AnyInvocable<void() &&>;

  GuardReaper(EventLoop& loop, std::string marker_name);
  // Every guard must have been abandoned: they are ending. Waits for them, at
  // most two seconds.
  ~GuardReaper();

  // Names a guard; a pid could be another's by the time its rest is swept.
  using Id = uint64_t;

  // `mark` is the value by which the agent's descendants are known.
  Id Add(UniqueFd pidfd, std::string mark, Gone gone);
  void SetAgent(Id id, pid_t agent);

  // The guard is killing its tree. If it has not ended within the patience for
  // that, it is killed.
  void ExpectEnd(Id id);

  // As ExpectEnd; nobody is told any more.
  void Abandon(Id id);

 private:
  struct Entry {
    UniqueFd pidfd;
    std::string mark;
    pid_t agent = 0;
    Gone gone;
    int sweeps = 0;
    std::unique_ptr<EventLoop::Handle> watch;
    std::unique_ptr<EventLoop::Handle> timer;
  };

  void OnEnded(Id id);
  void Sweep(Id id);
  void Finish(Id id);

  EventLoop& loop_;
  const std::string marker_name_;
  std::map<Id, Entry> entries_;
  Id last_id_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_GUARD_REAPER_H_
