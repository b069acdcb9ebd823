// SlotPool: the right to run agent processes, and their start.
//
// A Slot is the right to one running agent together with that agent. Live
// slots never exceed the bound; who asks when all are taken waits in line, and
// the pool asks for an idle session to give way.
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
  Slot(SlotPool& pool, const Profile& profile)
      : pool_(pool), profile_(profile) {}

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
  const Profile& profile_;
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

  // Starts an agent, its handshake included. `ready` is never called from
  // inside the call. NO_SLOT when none became free within `profile`'s
  // start_timeout; CIRCUIT_OPEN; else what the agent or the launcher says.
  [[nodiscard]] std::unique_ptr<Request> Start(const AgentKind& kind,
                                               const Profile& profile,
                                               Opening opening, Ready ready);

  // Whether somebody waits for a slot who could have one of this profile's.
  bool Wants(const Profile& profile) const;
  int live() const { return live_; }

  // CIRCUIT_OPEN if no agent of `profile` may be started now.
  absl::Status Circuit(const Profile& profile) const;

 private:
  friend class Slot;
  struct Starting;

  bool ProfileFull(const Profile& profile) const;
  void Serve();
  void Launch(Starting& starting);
  void Answer(Starting& starting, absl::Status status);
  void AnswerLater(Starting& starting, absl::Status status);
  void NoteEnd(Starting& starting, ProfileBreaker::Outcome outcome);
  void Release(const Profile& profile);
  void Discard(std::unique_ptr<Slot> slot);

  EventLoop& loop_;
  Launcher& launcher_;
  const int max_slots_;
  GiveWay give_way_;
  int live_ = 0;
  std::map<std::string, int> live_of_profile_;
  std::map<std::string, ProfileBreaker> breakers_;  // by profile
  std::list<Starting*> line_;                       // who waits for a slot
  // Slots whose agent failed to start: destroyed when the stack is empty.
  std::vector<std::unique_ptr<Slot>> discarded_;
  std::unique_ptr<EventLoop::Handle> sweep_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_SLOT_POOL_H_
