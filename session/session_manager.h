// SessionManager: the front door of the engine, and the only class of it that
// service/ calls (beside EventLog, which it hands out).
//
// It finds or opens the session that a call names, hops to the loop, and keeps
// what concerns all sessions: the profiles, the limits, the order in which a
// server starts and stops.
//
// Threads: public methods may be called from any thread. Replies are called on
// the loop, exactly once, and must not block. Calls of one session take effect
// in the order in which they were made.

#ifndef UNDERSTUDY_SESSION_SESSION_MANAGER_H_
#define UNDERSTUDY_SESSION_SESSION_MANAGER_H_

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/agent/profile.h"
#include "session/calls.h"
#include "session/engine_options.h"
#include "session/event_log.h"

namespace understudy::session {

class Drain;
class SessionTable;

class SessionManager {
 public:
  using Options = EngineOptions;
  using Ground = EngineGround;

  SessionManager(Ground ground, Options options);
  ~SessionManager();

  // Puts in order what an earlier server left: completes open turns. Before
  // any other call. May block.
  absl::Status Start();

  void CreateSession(Caller caller, CreateParams params,
                     Reply<SessionInfo> reply);
  void GetSession(Caller caller, std::string session_id, bool prewarm,
                  Reply<SessionInfo> reply);
  void ListSessions(Caller caller, ListParams params, Reply<SessionPage> reply);
  void DeleteSession(Caller caller, std::string session_id, Reply<bool> reply);

  // A call that Withdraw names is taken back if it still waits for a turn to
  // end, and is answered kCancelled; one that has begun goes on.
  CallId SendMessage(Caller caller, SendParams params, Reply<SendResult> reply);
  CallId Move(Caller caller, MoveParams params, Reply<MoveResult> reply);
  void Withdraw(CallId call);

  void Interrupt(Caller caller, std::string session_id, std::string turn_id,
                 Reply<InterruptResult> reply);
  void ResolvePermission(Caller caller, PermissionParams params,
                         Reply<bool> reply);

  // Never start an agent. The mode in effect is the answer of the second.
  void UpdateSession(Caller caller, UpdateParams params,
                     Reply<SessionInfo> reply);
  void SetPermissionMode(Caller caller, ModeParams params,
                         Reply<std::string> reply);

  // Never start an agent. `session_id` or `agent` (a profile) names what.
  std::vector<AgentInfo> ListAgents() const;
  void ListModels(Caller caller, std::string session_id, std::string agent,
                  Reply<std::vector<ModelRow>> reply);
  void ListConversations(Caller caller, std::string session_id,
                         Reply<std::vector<ConversationRow>> reply);

  // The log of a session, for its readers.
  void OpenLog(Caller caller, std::string session_id,
               Reply<std::shared_ptr<EventLog>> reply);

  // Null if there is none; a profile never changes.
  const Profile* FindProfile(std::string_view name) const;
  const std::vector<Profile>& profiles() const;

  // Refuses what is new, interrupts running turns after `turn_grace`, stops
  // every agent, closes every log with DRAINING, then calls `done` on the
  // loop. All within a bound of its own.
  void Drain(absl::Duration turn_grace, absl::AnyInvocable<void() &&> done);

 private:
  // Runs on the loop, with the session or to answer that there is none.
  template <typename Result, typename Run>
  void WithSession(std::string session_id, Reply<Result> reply, Run run);
  // The same for a call that may be withdrawn.
  template <typename Result, typename Run>
  CallId RunWaiting(std::string session_id, Reply<Result> reply, Run run);

  std::atomic<CallId> next_call_{1};
  const std::unique_ptr<SessionTable> table_;
  std::unique_ptr<session::Drain> drain_;  // the loop; once it has begun
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_SESSION_MANAGER_H_
