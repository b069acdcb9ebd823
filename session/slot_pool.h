// SlotPool: the right to run agent processes, and their start.
//
// A Slot is the right to one running agent together with that agent. Live
// slots never exceed the bound; who asks when all are taken waits in line, and
// the pool asks for an idle session to give way.
//
// Where a profile allows several sessions in one process, an agent gets a place
// in one that runs, of the same tenant and working directory, if there is room:
// in the one that has had its conversation open before, else in any. The right
// is the process's, and goes with the last agent in it.
//
// A profile whose agents do not start has an open circuit for a while: then
// nothing is started, and who asks is told (start_breaker.h).
//
// Invariants: live slots <= max_slots; a Slot gives its right back only when
// its process is gone or being killed; every request is answered once or
// cancelled by destroying its Request.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_SLOT_POOL_H_
#define UNDERSTUDY_SESSION_SLOT_POOL_H_

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/base/event_loop.h"
#include "session/process/subprocess.h"
#include "session/start_breaker.h"

namespace understudy::session {

class SlotPool;
class SharedProcess;

class Slot final : private Agent::Observer {
 public:
  ~Slot() override;
  Slot(const Slot&) = delete;

  Agent& agent() { return *agent_; }
  const Agent& agent() const { return *agent_; }

  // From now on `owner` hears what the agent says.
  void Adopt(Agent::Observer* owner);

 private:
  friend class SlotPool;
  struct Right;
  Slot(SlotPool& pool, std::shared_ptr<Right> right)
      : pool_(pool), right_(std::move(right)) {}

  void OnDelta(DeltaKind, std::string_view, std::string_view,
               std::string_view) override {}
  void OnEvent(v1::Event, std::string_view) override {}
  void OnTurnStarted(std::string_view, std::string_view) override {}
  void OnTurnEnded(TurnEnd, std::string_view) override {}
  void OnPermissionWithdrawn(std::string_view) override {}
  void OnStateChanged() override {}
  void OnQuiet() override {}
  void OnLost(const Loss&) override {}

  SlotPool& pool_;
  std::shared_ptr<Right> right_;
  std::unique_ptr<Agent> agent_;
};

class SlotPool {
 public:
  using Ready =
      absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Slot>>) &&>;

  // Destroying it cancels: an agent that is being started is killed.
  class Request {
   public:
    virtual ~Request() = default;
  };

  // Asks somebody who needs no agent at the moment to let go of one: of that
  // profile, or of any (null).
  using GiveWay = absl::AnyInvocable<void(const Profile*)>;

  // All outlive the pool, and the pool every Slot and Request.
  SlotPool(EventLoop& loop, Launcher& launcher, int max_slots,
           GiveWay give_way);
  ~SlotPool();

  // Whether an agent of `profile` could not be started at once.
  bool Full(const Profile& profile) const;

  // Starts an agent, its handshake included; not in the process of `beside`,
  // which may be null. `ready` is never called from
  // inside the call. NO_SLOT when none became free within `profile`'s
  // start_timeout; CIRCUIT_OPEN; else what the agent or the launcher says.
  [[nodiscard]] std::unique_ptr<Request> Start(const AgentKind& kind,
                                               const Profile& profile,
                                               Opening opening,
                                               const Slot* beside, Ready ready);

  // Whether somebody waits for a slot who could have one of this profile's.
  bool Wants(const Profile& profile) const;
  int live() const { return live_; }

  // CIRCUIT_OPEN if no agent of `profile` may be started now.
  absl::Status Circuit(const Profile& profile) const;

 private:
  friend class Slot;
  struct Starting;

  bool ProfileFull(const Profile& profile) const;
  bool MayShare(const Starting& starting) const;
  std::shared_ptr<Slot::Right> FindShared(const Starting& starting);
  void Serve();
  void Launch(Starting& starting);
  void Answer(Starting& starting, absl::Status status);
  void AnswerLater(Starting& starting, absl::Status status);
  void NoteEnd(Starting& starting, ProfileBreaker::Outcome outcome);
  std::shared_ptr<Slot::Right> NewRight(const Starting& starting);
  void Release(Slot::Right& right);
  void Left();
  void Discard(std::unique_ptr<Slot> slot);

  EventLoop& loop_;
  Launcher& launcher_;
  const int max_slots_;
  GiveWay give_way_;
  int live_ = 0;
  std::map<std::string, int> live_of_profile_;
  std::map<std::string, ProfileBreaker> breakers_;  // by profile
  std::list<Starting*> line_;                       // who waits for a slot
  std::vector<std::weak_ptr<Slot::Right>> shared_;  // that may be shared
  std::unique_ptr<EventLoop::Handle> giving_way_;
  // Slots whose agent failed to start: destroyed when the stack is empty.
  std::vector<std::unique_ptr<Slot>> discarded_;
  std::unique_ptr<EventLoop::Handle> sweep_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_SLOT_POOL_H_
