// Transition: one move of a session to a target, up to the point of no return.
//
// It tries the routes of the plan in order: the running agent's own command
// (native), then a new process (restart), and ends with the agent that is to
// serve from now on, or with why there is none. It touches neither record nor
// log: committing is the session's, and rolling back, until then, is letting
// go of the new slot. It is the same for a switch, a clear, a resume, a first
// start and a recovery.
//
//   prepare --native--> ok -----------------------> Finished(native)
//              | refused for good (no such model) -> Finished(error)
//              | refused, or its outcome unknown (then the agent is suspect)
//              v
//           restart [end the old agent first, if there is no room for two]
//              | ok ------------------------------> Finished(slot)
//              | not started ----------------------> Finished(error)
//
// Threads: the loop. Destroying it cancels; `finished` is then not called.

#ifndef UNDERSTUDY_SESSION_TRANSITION_H_
#define UNDERSTUDY_SESSION_TRANSITION_H_

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "session/plan.h"
#include "session/slot_pool.h"

namespace understudy::session {

class Transition {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // The agent that runs now; null if none does.
    virtual Slot* slot() = 0;
    // Ends it; `gone` is called when it is.
    virtual void EndAgent(Task gone) = 0;
  };

  struct Request {
    Target wanted;
    Opening opening;  // of a new process that is at the target
    Plan plan;
  };

  struct Outcome {
    absl::Status status;
    // The new process; null if the running agent made the change.
    std::unique_ptr<Slot> slot;
    // The running agent may or may not have changed: it must not be used any
    // more.
    bool suspect = false;
  };
  using Finished = absl::AnyInvocable<void(Outcome) &&>;

  // All outlive the transition. `finished` is never called from inside the
  // constructor, and may destroy the transition.
  Transition(EventLoop& loop, Host& host, SlotPool& pool, const AgentKind& kind,
             const Profile& profile, Request request, Finished finished);
  ~Transition();

 private:
  void Next();
  void Native();
  void NativeDone(absl::Status status);
  void Restart();
  void Finish(Outcome outcome);

  EventLoop& loop_;
  Host& host_;
  SlotPool& pool_;
  const AgentKind& kind_;
  const Profile& profile_;
  const Request request_;
  Finished finished_;
  size_t route_ = 0;
  bool suspect_ = false;
  absl::Status last_error_;
  std::unique_ptr<EventLoop::Handle> step_;
  std::unique_ptr<SlotPool::Request> starting_;
  // Null once the transition is gone: late answers find nobody.
  std::shared_ptr<Transition*> self_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_TRANSITION_H_
