// SessionTable: the sessions of this server. Finds them, opens those that are
// in the store only, creates, lists and deletes them, and says which gives its
// agent back when slots run out.
//
// Threads: the loop, but for Start, OnLoop, and what is const and the catalog.

#ifndef UNDERSTUDY_SESSION_SESSION_TABLE_H_
#define UNDERSTUDY_SESSION_SESSION_TABLE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "session/agent_catalog.h"
#include "session/calls.h"
#include "session/committer.h"
#include "session/conversation_claims.h"
#include "session/engine_options.h"
#include "session/request_ledger.h"
#include "session/retention.h"
#include "session/session.h"
#include "session/slot_pool.h"

namespace understudy::session {

class SessionTable {
 public:
  using Opened = absl::AnyInvocable<void(absl::StatusOr<Session*>) &&>;
  using Sessions = std::map<std::string, std::unique_ptr<Session>, std::less<>>;

  SessionTable(EngineGround ground, EngineOptions options);
  ~SessionTable();

  // Completes what an earlier server left open. May block; any thread.
  absl::Status Start();

  // The session, opened if need be; or why there is none.
  void With(const std::string& session_id, Opened opened);

  void Create(Caller caller, CreateParams params, Reply<SessionInfo> reply);
  void Get(std::string session_id, Reply<SessionInfo> reply);
  void List(ListParams params, Reply<SessionPage> reply);
  void Delete(Caller caller, std::string session_id, Reply<bool> reply);

  // A call on its way to a session or in it, as long as it may be withdrawn.
  void NoteWaiting(CallId call, const std::string& session_id);
  void ForgetWaiting(CallId call) { waiting_.erase(call); }
  bool IsWaiting(CallId call) const { return waiting_.contains(call); }
  void Withdraw(CallId call);

  // Takes nothing new from here on: `why` is the answer.
  void Refuse(const absl::Status& why);
  // Those that are open.
  const Sessions& sessions() const { return sessions_; }

  // Empty once the table is gone: late answers find nobody. The loop.
  const std::shared_ptr<SessionTable*>& self() const { return self_; }

  // Runs `task` on the loop unless the table is gone by then. Any thread.
  void OnLoop(absl::AnyInvocable<void(SessionTable&) &&> task);

  // Null if there is none.
  const Profile* FindProfile(std::string_view name) const;
  const EngineGround& ground() const { return ground_; }
  const EngineOptions& options() const { return options_; }
  const AgentCatalog& catalog() const { return catalog_; }

 private:
  // A session that is not in the table yet.
  struct Opening {
    std::vector<Opened> line;
    std::unique_ptr<Session> created;  // while its creation is being stored
  };

  std::unique_ptr<Session> Make(StoredSession stored,
                                std::vector<std::string> request_ids);
  Session* Adopt(std::unique_ptr<Session> session);
  void Open(const std::string& session_id);
  void ServeLine(const std::string& session_id,
                 const absl::StatusOr<Session*>& session);
  void Store(const std::shared_ptr<Call>& call, SessionRecord record);
  void GiveWay(const Profile* profile);
  void KeepHouse();
  void RetireEvents();
  void LookForOldEvents(std::string page_token);
  void Trim(Overdue overdue);
  void ListMore(ListParams params, SessionPage page, int looked_at,
                Reply<SessionPage> reply);

  const EngineGround ground_;
  const EngineOptions options_;
  // Of sessions whose profile is no longer configured.
  std::map<std::string, Profile> missing_;
  AgentCatalog catalog_;
  ConversationClaims claims_;
  Committer committer_;
  SlotPool pool_;
  RequestLedger ledger_;  // of requests that create or delete
  Sessions sessions_;
  absl::flat_hash_map<std::string, Opening> opening_;
  absl::flat_hash_map<CallId, std::string> waiting_;  // call -> session
  absl::Status refuse_;                               // not OK: draining
  std::unique_ptr<EventLoop::Handle> housekeeping_;
  absl::Time forgotten_ = absl::InfinitePast();  // requests, the last time
  absl::Time retired_ = absl::InfinitePast();    // events, the last time
  bool retiring_events_ = false;
  // Null once the table is gone: late answers find nobody.
  const std::shared_ptr<SessionTable*> self_ =
      std::make_shared<SessionTable*>(this);
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_SESSION_TABLE_H_
