// Session: one conversation, held by at most one agent process at a time.
//
// An actor on the loop. What is asked of it stands in one line, the mailbox,
// in order of arrival: messages, and moves (SwitchModel, Clear, Resume). The
// session takes the next when it rests, that is when no turn runs and no move
// is under way:
//
//   from \ event   message         turn done  move           move done  lost
//   Dormant        Transitioning   -          Transitioning  -          -
//   Idle           Running         -          Transitioning  -          Dormant
//   Running        waits           Idle       waits          -          Dormant
//   Transitioning  waits           -          waits          Idle       goes on
//
// The record is the truth; agents are replaceable. Everything that happens is
// added to the log and committed together with the record that follows from
// it; an answer is given, and an agent is sent a message, only after that
// commit.
//
// A move that somebody asked for changes all or nothing: until the store has
// answered, the record can still be what it was, and nothing comes between
// (`undecided_`): what agents say is held, and calls wait.
//
// A session whose agents keep dying waits in Dormant before it starts another,
// and at last refuses what needs one (CIRCUIT_OPEN).
//
// Invariants: at most one turn runs; at most one transition; a turn has exactly
// one turn_completed; a process that served has exactly one agent_exited; a
// replaced agent is gone before its successor gets a message.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_SESSION_H_
#define UNDERSTUDY_SESSION_SESSION_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/agent_catalog.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/calls.h"
#include "session/committer.h"
#include "session/conversation_claims.h"
#include "session/conversation_list.h"
#include "session/cost_ledger.h"
#include "session/event_log.h"
#include "session/held_calls.h"
#include "session/permission_desk.h"
#include "session/plan.h"
#include "session/request_ledger.h"
#include "session/slot_pool.h"
#include "session/start_breaker.h"
#include "session/store/store.h"
#include "session/transition.h"

namespace understudy::session {

class Session final : private Agent::Observer, private Transition::Host {
 public:
  // What an agent may have said that the store does not have yet, before its
  // output is left where it is.
  static constexpr size_t kMaxUnpublishedBytes = 16 << 20;

  // What a session stands on; all of it outlives the session.
  struct Ground {
    EventLoop& loop;
    Blocking& reading;
    Store& store;
    Committer& committer;
    SlotPool& pool;
    AgentCatalog& catalog;
    ConversationClaims& claims;
  };
  struct Options {
    size_t max_queued_messages = 64;
    size_t max_window_bytes = 8 << 20;
    uint64_t max_events = 0;  // more are not retained; 0: no bound
  };

  // `stored` as taken over from the store. `gone` is called once, from the
  // loop's top, when the session is no more (deleted, or fenced off) and may be
  // destroyed.
  Session(Ground ground, Options options, const AgentKind& kind,
          const Profile& profile, StoredSession stored,
          std::vector<std::string> request_ids,
          absl::AnyInvocable<void() &&> gone);
  // Kills the agent, if one runs; answers nobody.
  ~Session() override;

  // Completes what an earlier server left open.
  void Recover();

  // The first event of the log, to be stored with the record.
  void Created(Append& append);

  void Send(CallId id, Caller caller, SendParams params,
            Reply<SendResult> reply);
  void Move(CallId id, Caller caller, MoveParams params,
            Reply<MoveResult> reply);
  // True if the call still waited and has been answered kCancelled.
  bool Withdraw(CallId id);
  void Interrupt(Caller caller, std::string turn_id,
                 Reply<InterruptResult> reply);
  void ResolvePermission(Caller caller, PermissionParams params,
                         Reply<bool> reply);
  // What a client changes without an agent being started for it
  // (session_settings.cc).
  void Update(Caller caller, UpdateParams params, Reply<Labels> reply);
  void SetPermissionMode(Caller caller, ModeParams params,
                         Reply<std::string> reply);
  // Asks the agent that runs (has_agent) which conversations can be resumed.
  void AskForConversations(
      absl::AnyInvocable<void(KnownConversations) &&> told);
  bool has_agent() const { return slot_ != nullptr; }
  // Starts the agent if none runs; nobody waits for it.
  void Prewarm();

  // Runs `task`, which changes the session, as soon as no commit of a move
  // is undecided: at once, or from the loop.
  void WhenDecided(Task task);

  // Ends the agent and erases the session. `row` is stored with that.
  void Delete(std::vector<StoredRequest> row, Done done);

  // Gives the agent back if the session rests. False if it does not.
  bool Park();
  // The same, for another session that wants `conversation`, which a process of
  // this one holds although the session has left it. True: it will be free.
  bool LetGo(const std::string& conversation);
  // Nothing is taken from the mailbox any more; moves that wait there, and
  // calls to come, are answered with `why`.
  void Refuse(const absl::Status& why);
  void InterruptRunning();
  // Ends the agent, whatever it does, and everything that waits for one.
  void StopAgent(const absl::Status& why);

  // Now and then: lets go of what keeps to none of its bounds, and tells who
  // waits for a store that takes nothing.
  void LookAfter(absl::Time now);

  void ExpireRequests(absl::Time before) { ledger_.Expire(before); }
  // Events before `oldest` are no longer needed.
  void Trim(uint64_t oldest);

  SessionInfo info() const;
  const SessionRecord& stored() const { return *stored_; }
  const std::shared_ptr<EventLog>& log() const { return log_; }
  SessionState state() const;
  bool has_process() const { return slot_ != nullptr || !retiring_.empty(); }
  bool settled() const { return writes_ == 0 && !busy_ && !has_process(); }
  // Nothing is lost if it is closed and opened again when it is needed.
  bool evictable() const;
  // When it last began to rest with an agent; the future while it works.
  absl::Time idle_since() const;

 private:
  struct Turn {
    std::string turn_id;
    std::string request_id;
    MessageBody body;
    bool unsolicited = false;
    bool started = false;    // turn_started is in the log
    bool sent = false;       // the agent has been given it
    bool interrupt = false;  // as soon as the agent is at it
    bool timed_out = false;  // interrupted because it ran over its time
    absl::Time timed_out_at;
    bool first = false;     // the first that its conversation hears
    int losses = 0;         // agents that died before they were given it
    uint64_t sequence = 0;  // of message_accepted
    std::optional<std::string> model;  // what its message named
    std::unique_ptr<EventLoop::Handle> timer;
    std::unique_ptr<EventLoop::Handle> receipt;  // that it is taken up
    absl::Status loss;                           // how its agent was lost
    std::vector<Reply<SendResult>> waiting;
    std::vector<std::shared_ptr<Call>> interrupting;

    // The answer to who sent its message.
    RequestResult Accepted() const;
  };

  // A message that waits, or a move.
  struct Item {
    std::shared_ptr<Turn> turn;  // a message

    // A move; `call` is null for one of the session's own.
    std::shared_ptr<Call> call;
    MoveParams move;
    v1::Operation operation = v1::OPERATION_UNSPECIFIED;
    v1::Cause cause = v1::CAUSE_CLIENT;
    // SendMessage with a model: what follows the switch.
    std::optional<MessageBody> message;
    // The message in the mailbox that named the model.
    std::shared_ptr<Turn> serves;
    bool checked = false;  // the conversation is this session's to take
    bool again = false;    // it has been tried once more
    // While a call waits for the turns before it.
    std::unique_ptr<EventLoop::Handle> timer;
  };

  // An agent that has been replaced or parked, until it is gone.
  class Retiring;

  // A move whose commit the store has not answered yet.
  struct Undecided {
    Item item;  // its `message` has been accepted as `turn`
    Target wanted;
    RequestResult result;
    std::unique_ptr<Slot> replacement;  // null: the running agent changed
    // What there was before, to go back to.
    SessionRecord before;
    uint64_t sequence_before = 0;
    std::shared_ptr<const SessionRecord> record;  // as it will be
    uint64_t sequence = 0;
    std::shared_ptr<Turn> turn;  // the message that follows the switch
    HeldCalls of_running;
    HeldCalls of_replacement;
    std::unique_ptr<EventLoop::Handle> bound;
    std::vector<Task> waiting;  // what came meanwhile
  };

  // Agent::Observer: what the agent says.
  void OnDelta(DeltaKind kind, std::string_view tool_call_id,
               std::string_view text, std::string_view raw) override;
  void OnEvent(v1::Event event, std::string_view raw) override;
  void OnTurnStarted(std::string_view turn_id, std::string_view raw) override;
  void OnTurnEnded(TurnEnd end, std::string_view raw) override;
  void OnPermissionWithdrawn(std::string_view permission_id) override;
  void OnStateChanged() override;
  void OnQuiet() override;
  void OnLost(const Loss& loss) override;

  // Transition::Host.
  Slot* slot() override { return slot_.get(); }
  void EndAgent(Task gone) override;

  // Messages and turns (session_turns.cc); the agent's side and permissions
  // (session_agent.cc).
  void Pump();
  bool Rests() const;
  bool MayPark() const;
  bool MovesWait() const;
  void ArmTurnTimer(const std::shared_ptr<Turn>& turn);
  // The turn that the agent is at.
  const std::shared_ptr<Turn>& current_turn() const {
    return unsolicited_ != nullptr ? unsolicited_ : running_;
  }
  void Accept(const std::shared_ptr<Call>& call, MessageBody body,
              const std::optional<std::string>& model, bool next);
  std::shared_ptr<Turn> AddAccepted(const Call& call, MessageBody body,
                                    const std::optional<std::string>& model);
  bool TakesImages() const;
  void Begin(const std::shared_ptr<Turn>& turn);
  void AddStarted(Turn& turn);
  void SendToAgent(const std::shared_ptr<Turn>& turn);
  void AwaitReceipt(const std::shared_ptr<Turn>& turn);
  void Complete(std::shared_ptr<Turn> turn, v1::TurnCompleted completed);
  void Fail(const std::shared_ptr<Turn>& turn, const absl::Status& why);
  void AwaitTurn(const RequestResult::Sent& sent, Reply<SendResult> reply);
  std::shared_ptr<Turn> FindTurn(std::string_view turn_id) const;
  void LoseTurns(const absl::Status& why, v1::Delivered delivered);
  void LoseUnsolicited(const absl::Status& why);
  void SettlePermission(std::string_view permission_id,
                        const std::optional<PermissionAnswer>& answer,
                        v1::ResolvedBy by);
  void WithdrawPermissions();
  bool MayTake(const std::string& conversation);

  // Whether an agent may be started (session_starts.cc).
  void NoteDeath(const absl::Status& why);
  absl::Status Circuit() const;
  bool NeedsAgent(const Item& item) const;
  bool MayStart();
  void StartOrFail();

  // Labels and the permission mode (session_settings.cc).
  std::shared_ptr<Call> AdmitChange(Caller caller, Call::Answer answer);
  void ChangeModes();
  void ModeChanged(const std::shared_ptr<Call>& call, const std::string& mode,
                   const absl::Status& status);
  void KeepMode(const std::shared_ptr<Call>& call, const std::string& mode);

  // Moves (session_moves.cc), and their ends (session_moved.cc).
  void GiveUpWaiting(const std::shared_ptr<Call>& call);
  void BeginMove(Item item);
  void StartMove(Item item, Target wanted);
  void StartAgent(v1::Operation operation);
  bool KeepsNothing() const;
  void Moved(Item item, Target wanted, absl::Time started,
             Transition::Outcome outcome);
  RequestResult Announce(const Item& item, const Target& wanted,
                         absl::Time started, const Agent& agent,
                         bool new_process);
  void FailMove(Item item, absl::Status why);
  void Unchanged(Item item);
  void ClearDormant(Item item, absl::Time started);
  void CheckConversation(Item item);
  void AwaitConversation(Item item, const std::string& holder);
  void LookedUp(const std::shared_ptr<Item>& item, absl::Status why);
  void Retire(std::unique_ptr<Slot> slot, bool mid_turn = false);
  void EndMidTurn(const absl::Status& why);
  // Whether an agent is ending that has to be gone before another starts.
  bool WaitsForAnEnd() const;
  void Retired(Retiring* retiring, const Loss& loss);
  bool SameModel(std::string_view model) const;
  std::string EffectiveModel(std::string_view model_override) const;
  void NoteConversation(std::string_view first_prompt);
  void ForgetConversation();
  void DropWaiting(const std::shared_ptr<Turn>& turn, const absl::Status& why);

  // Their commit, or what is put back (session_commit.cc).
  void CommitMove(Item item, const Target& wanted, absl::Time started,
                  std::unique_ptr<Slot> replacement);
  std::unique_ptr<Undecided> Prepare(
      Item item, const Target& wanted,
      std::unique_ptr<Slot> replacement = nullptr);
  void Propose(std::unique_ptr<Undecided> move);
  void Decide(absl::Status status);
  void Accomplish(std::unique_ptr<Undecided> move);
  void TakeBack(std::unique_ptr<Undecided> move, absl::Status why);
  void BringBack(Item item, const Target& wanted, absl::Status why);
  void Abandon();
  void Hear(Slot* slot, HeldCalls& held);
  void CountAnew();
  bool AsRecorded() const;
  void Install(std::unique_ptr<Slot> replacement, bool mid_turn = false);

  // The log, the record and the store (session.cc).
  EventLog::Stamp Stamp(bool synthetic) const;
  uint64_t Add(v1::Event event, std::string_view raw = {});
  uint64_t AddSynthetic(v1::Event event);
  void AddExited(pid_t pid, const ExitStatus& exit, const absl::Status& why,
                 bool expected);
  Append TakeAppend(std::vector<StoredRequest> rows);
  void Commit(std::vector<StoredRequest> rows = {}, Task then = {});
  void Committed(uint64_t sequence, std::shared_ptr<const SessionRecord> record,
                 absl::Status status, Task then);
  // Whether it takes calls; if not, the call has its answer.
  bool Takes(const std::shared_ptr<Call>& call);
  void AddTrim(Append& append);
  void CloseDown(absl::Status why);
  void FinishDelete();
  void ScheduleIdle();
  void SettleClaims();
  void ReplySoon(Task task);
  // Destroys `thing` from the loop's top: it may be what is calling.
  void Discard(std::shared_ptr<void> thing);

  const Ground ground_;
  const Options options_;
  const AgentKind& kind_;
  const Profile& profile_;
  absl::AnyInvocable<void() &&> gone_;

  SessionRecord record_;  // as it will be when every commit is through
  std::shared_ptr<const SessionRecord> stored_;  // as it is in the store
  bool record_changed_ = false;
  bool log_changed_ = false;
  int writes_ = 0;
  const uint64_t epoch_;
  std::shared_ptr<EventLog> log_;
  uint64_t trim_ = 0;  // events before it go, or are going
  RequestLedger ledger_;
  PermissionDesk permissions_;
  CostLedger cost_;

  std::unique_ptr<Slot> slot_;  // the agent that serves
  std::vector<std::unique_ptr<Retiring>> retiring_;
  std::vector<Task> when_retired_;
  std::deque<Item> mailbox_;
  size_t queued_messages_ = 0;
  std::shared_ptr<Turn> running_;      // a message's turn
  std::shared_ptr<Turn> unsolicited_;  // one of the agent's own: it comes first
  std::vector<std::shared_ptr<Turn>> ending_;  // over, but not stored yet
  std::unique_ptr<Transition> transition_;
  std::shared_ptr<Item> moving_item_;     // what that, or being busy, is for
  std::unique_ptr<Undecided> undecided_;  // its commit is under way
  v1::Operation moving_ = v1::OPERATION_UNSPECIFIED;
  bool busy_ = false;      // a move looks something up, or is being taken back
  absl::Time step_began_;  // of the transition, or of what it is busy with
  // Changes of the permission mode that wait, and whether the agent makes one.
  struct ModeChange {
    std::shared_ptr<Call> call;
    std::string mode;
  };
  std::deque<ModeChange> mode_changes_;
  bool changing_mode_ = false;
  // Grows with every turn of the agent: a process prepared before a turn is
  // stale after it.
  uint64_t turns_ = 0;
  uint64_t turns_at_move_ = 0;
  bool agent_died_ = false;  // the next start is a recovery
  SessionBreaker breaker_;
  absl::Status last_death_;
  std::unique_ptr<EventLoop::Handle> start_timer_;  // a start is put off

  absl::Status refuse_;  // not OK: draining, or without a profile
  absl::Status closed_;  // not OK: deleted or fenced off
  bool finishing_ = false;
  // Its deletion: what is stored with it, and who is to be told.
  std::vector<StoredRequest> deletion_rows_;
  std::shared_ptr<std::vector<Done>> deletions_;  // null: not being deleted
  absl::Time idle_since_ = absl::InfiniteFuture();
  std::unique_ptr<EventLoop::Handle> idle_timer_;
  std::vector<std::shared_ptr<void>> discarded_;
  // Null once the session is gone: late answers find nobody.
  std::shared_ptr<Session*> self_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_SESSION_H_
