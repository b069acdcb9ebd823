// What the agent says, and the permissions it asks for.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "session/grants.h"
#include "session/model_names.h"
#include "session/session.h"

namespace understudy::session {
namespace {

// Agents that may die before they are given a message, until it is given up.
constexpr int kMaxLosses = 3;

// How long an agent may take to list its conversations, until what is known
// without it is the answer.
constexpr absl::Duration kListBound = absl::Seconds(3);

v1::TurnError ToTurnError(const absl::Status& status) {
  v1::TurnError error;
  const std::optional<Reason> reason = ReasonOf(status);
  error.set_reason(std::string(ReasonName(reason.value_or(Reason::kInternal))));
  error.set_message(ValidUtf8(std::string(status.message())));
  return error;
}

void AddUsage(const v1::Usage& turn, v1::Usage* total) {
  total->set_input_tokens(total->input_tokens() + turn.input_tokens());
  total->set_output_tokens(total->output_tokens() + turn.output_tokens());
  total->set_cache_read_tokens(total->cache_read_tokens() +
                               turn.cache_read_tokens());
  total->set_cache_write_tokens(total->cache_write_tokens() +
                                turn.cache_write_tokens());
  total->set_cost_usd(total->cost_usd() + turn.cost_usd());
}

}  // namespace

void Session::OnDelta(DeltaKind kind, std::string_view tool_call_id,
                      std::string_view text, std::string_view raw) {
  const Turn* turn = current_turn().get();
  if (turn == nullptr) return;
  log_->AddDelta(kind, turn->turn_id, tool_call_id, text, raw);
}

void Session::OnEvent(v1::Event event, std::string_view raw) {
  // The session's totals are told instead, when the turn has ended.
  if (event.has_usage()) return;
  if (event.has_notice() && event.notice().kind() == v1::NOTICE_KIND_MODE &&
      !changing_mode_) {
    // The agent has changed it by itself, as it does when a plan is accepted.
    record_.set_permission_mode(event.notice().message());
    record_changed_ = true;
  }
  if (!event.has_permission_requested()) {
    Add(std::move(event), raw);
    return;
  }
  const v1::PermissionRequested request = event.permission_requested();
  Add(std::move(event), raw);
  store::OpenPermission& open = *record_.add_open_permissions();
  open.set_permission_id(request.permission_id());
  if (current_turn() != nullptr) open.set_turn_id(current_turn()->turn_id);
  record_changed_ = true;
  const std::string& id = request.permission_id();
  if (profile_.permission_policy != Profile::PermissionPolicy::kAsk) {
    PermissionAnswer answer;
    answer.decision =
        profile_.permission_policy == Profile::PermissionPolicy::kAllow
            ? v1::PERMISSION_DECISION_ALLOW
            : v1::PERMISSION_DECISION_DENY;
    answer.message = "denied by the profile's permission_policy";
    permissions_.Open(request, nullptr);
    SettlePermission(id, answer, v1::RESOLVED_BY_POLICY);
    return;
  }
  std::unique_ptr<EventLoop::Handle> timer;
  if (profile_.permission_timeout != absl::InfiniteDuration()) {
    timer = ground_.loop.RunAfter(profile_.permission_timeout, [this, id] {
      WhenDecided([this, id] {
        if (!permissions_.pending(id)) return;
        PermissionAnswer answer;
        answer.message = "nobody answered in time";
        SettlePermission(id, answer, v1::RESOLVED_BY_TIMEOUT);
        Commit();
      });
    });
  }
  permissions_.Open(request, std::move(timer));
}

void Session::OnTurnStarted(std::string_view turn_id, std::string_view) {
  if (!turn_id.empty()) {
    // Of a message's own turn the session knows already.
    if (running_ != nullptr && running_->turn_id == turn_id && running_->sent &&
        running_->interrupt) {
      slot_->agent().Interrupt();
    }
    return;
  }
  if (unsolicited_ != nullptr) return;
  unsolicited_ = std::make_shared<Turn>();
  unsolicited_->turn_id = NewUuid();
  unsolicited_->unsolicited = true;
  store::OpenTurn& open = *record_.add_open_turns();
  open.set_turn_id(unsolicited_->turn_id);
  open.set_unsolicited(true);
  AddStarted(*unsolicited_);
  ArmTurnTimer(unsolicited_);
}

void Session::OnTurnEnded(TurnEnd end, std::string_view) {
  const std::shared_ptr<Turn> turn =
      end.turn_id.empty() ? unsolicited_ : running_;
  if (turn == nullptr ||
      (!end.turn_id.empty() && turn->turn_id != end.turn_id)) {
    return;
  }
  if (end.total_cost_usd.has_value()) {
    end.usage.set_cost_usd(cost_.Spent(*end.total_cost_usd));
  }
  breaker_.Served();
  const bool told = end.usage.ByteSizeLong() > 0;
  if (told) {
    AddUsage(end.usage, record_.mutable_usage());
    v1::Event usage;
    *usage.mutable_usage() = record_.usage();
    Add(std::move(usage));
  }

  if (turn->timed_out && end.outcome == v1::TURN_OUTCOME_INTERRUPTED) {
    end.outcome = v1::TURN_OUTCOME_FAILED;
    end.error =
        MakeError(Reason::kAgentUnresponsive,
                  absl::StrCat("the turn took longer than ",
                               absl::FormatDuration(profile_.turn_timeout)));
  }
  v1::TurnCompleted completed;
  completed.set_outcome(end.outcome);
  completed.set_stop_reason(end.stop_reason);
  completed.set_text(std::move(end.text));
  if (told) *completed.mutable_usage() = end.usage;
  completed.set_delivered(v1::DELIVERED_YES);
  if (end.outcome == v1::TURN_OUTCOME_FAILED) {
    *completed.mutable_error() = ToTurnError(end.error);
    if (!end.error_reason.empty()) {
      completed.mutable_error()->set_reason(end.error_reason);
    }
  }
  WithdrawPermissions();
  Complete(turn, std::move(completed));

  const std::optional<Reason> why = ReasonOf(end.error);
  const bool unproven = record_.has_unproven_from();
  const bool goes_back = (why == Reason::kModelRejected &&
                          (unproven || !record_.model_override().empty())) ||
                         (why == Reason::kConversationUnreadable && unproven);
  if (goes_back) {
    // Back to the model before, or to the default where the model has been fine
    // once: it comes before all that waits.
    Item item;
    item.move.kind = MoveParams::Kind::kSwitchModel;
    item.move.model = unproven ? record_.unproven_from() : std::string();
    item.operation = v1::OPERATION_SWITCH_MODEL;
    item.cause = v1::CAUSE_RECOVERY;
    mailbox_.push_front(std::move(item));
  }
  // A turn that failed for another reason says nothing about the model; and the
  // way back is known until it has been gone.
  if (unproven && end.outcome == v1::TURN_OUTCOME_SUCCEEDED) {
    record_.clear_unproven_from();
    record_changed_ = true;
  }
  Pump();
}

void Session::OnPermissionWithdrawn(std::string_view permission_id) {
  if (!permissions_.pending(permission_id)) return;
  SettlePermission(permission_id, std::nullopt, v1::RESOLVED_BY_AGENT);
}

// What an agent names is not trusted: another session's conversation stays
// that session's, whoever says that he is in it.
bool Session::MayTake(const std::string& conversation) {
  if (ground_.claims.Claim(conversation, record_.session_id()) ==
      record_.session_id()) {
    return true;
  }
  Log(LogLevel::kWarning, "the agent names a conversation of another session",
      {{"session_id", record_.session_id()}});
  return false;
}

// The agent's own change of model or conversation. During a move it says
// nothing: the move ends with what the agent is on then, or without it.
void Session::OnStateChanged() {
  if (transition_ != nullptr) return;
  const AgentState& now = slot_->agent().current();
  const std::string previous = record_.agent_session_id();
  const bool moved = !now.conversation.empty() && now.conversation != previous;
  if (moved && !MayTake(now.conversation)) return;
  if (moved) {
    record_.set_agent_session_id(now.conversation);
    record_changed_ = true;
    v1::Event event;
    v1::ConversationCleared& cleared = *event.mutable_conversation_cleared();
    cleared.set_previous_agent_session_id(previous);
    cleared.set_agent_session_id(now.conversation);
    cleared.set_route(v1::ROUTE_NATIVE);
    cleared.set_cause(v1::CAUSE_AGENT);
    AddSynthetic(std::move(event));
    SettleClaims();
  }
  if (!now.verified || now.model == record_.model()) return;
  // The first time that an agent names what was asked for by another word.
  const bool resolves =
      !record_.model_verified() &&
      MayName(slot_->agent().models(), record_.model(), now.model);
  v1::Event event;
  v1::ModelChanged& changed = *event.mutable_model_changed();
  changed.set_previous_model(record_.model());
  record_.set_model(now.model);
  record_.set_model_verified(true);
  record_changed_ = true;
  if (resolves) return;
  record_.set_model_override(now.model);
  changed.set_model(now.model);
  changed.set_route(v1::ROUTE_NATIVE);
  changed.set_cause(v1::CAUSE_AGENT);
  changed.set_verified(true);
  changed.set_previous_agent_session_id(previous);
  changed.set_agent_session_id(record_.agent_session_id());
  AddSynthetic(std::move(event));
}

void Session::OnQuiet() {
  if (log_changed_ || record_changed_) {
    Commit();
  } else {
    log_->Flush();
  }
  if (slot_ != nullptr && log_->unpublished_bytes() > kMaxUnpublishedBytes) {
    slot_->agent().set_reading(false);
  }
}

void Session::OnLost(const Loss& loss) {
  // Why, without the agent's own words.
  Log(LogLevel::kInfo, "agent lost",
      {{"session_id", record_.session_id()},
       {"reason", ReasonName(ReasonOf(loss.why).value_or(Reason::kInternal))},
       {"exit_code", absl::StrCat(loss.exit.exit_code)},
       {"signal", absl::StrCat(loss.exit.signal)}});
  std::unique_ptr<Slot> slot = std::move(slot_);
  AddExited(slot->agent().pid(), loss.exit, loss.why, /*expected=*/false);
  agent_died_ = true;
  NoteDeath(loss.why);
  WithdrawPermissions();
  const v1::Delivered delivered = slot->agent().delivered();
  LoseTurns(loss.why, delivered);
  Commit();
  Pump();
}

// The turns that the agent was at end with it.
void Session::LoseTurns(const absl::Status& why, v1::Delivered delivered) {
  LoseUnsolicited(why);
  if (running_ == nullptr) return;
  if (running_->sent) {
    v1::TurnCompleted completed;
    completed.set_outcome(v1::TURN_OUTCOME_AGENT_LOST);
    *completed.mutable_error() = ToTurnError(why);
    completed.set_delivered(delivered);
    running_->loss = why;
    Complete(running_, completed);
    return;
  }
  if (running_->first) ForgetConversation();
  if (++running_->losses >= kMaxLosses) {
    v1::TurnCompleted completed;
    completed.set_outcome(v1::TURN_OUTCOME_AGENT_LOST);
    *completed.mutable_error() = ToTurnError(why);
    completed.set_delivered(v1::DELIVERED_NO);
    running_->loss = why;
    Complete(running_, completed);
    return;
  }
  // Nothing of it has left: another agent gets it.
  Item item;
  item.turn = std::exchange(running_, nullptr);
  item.turn->timer = nullptr;
  mailbox_.push_front(std::move(item));
  ++queued_messages_;
}

void Session::LoseUnsolicited(const absl::Status& why) {
  if (unsolicited_ == nullptr) return;
  v1::TurnCompleted completed;
  completed.set_outcome(v1::TURN_OUTCOME_AGENT_LOST);
  completed.set_delivered(v1::DELIVERED_YES);
  *completed.mutable_error() = ToTurnError(why);
  Complete(unsolicited_, std::move(completed));
}

// ---- Conversations ----

void Session::AskForConversations(
    absl::AnyInvocable<void(KnownConversations) &&> told) {
  Agent& agent = slot_->agent();
  KnownConversations known{.any = agent.capabilities().resume_conversation};
  known.open.push_back(record_.agent_session_id());
  for (const store::Conversation& one : record_.conversations()) {
    if (agent.Holds(one.agent_session_id())) {
      known.open.push_back(one.agent_session_id());
    }
  }
  struct Asking {
    absl::AnyInvocable<void(KnownConversations) &&> told;
    KnownConversations known;
    std::unique_ptr<EventLoop::Handle> timer;
  };
  auto asking = std::make_shared<Asking>();
  asking->told = std::move(told);
  asking->known = std::move(known);
  // It may be dead by then, or at something else.
  asking->timer = ground_.loop.RunAfter(kListBound, [asking] {
    if (asking->told) std::move(asking->told)(std::move(asking->known));
    asking->told = nullptr;
  });
  agent.ListConversations(
      [asking](std::vector<LocalConversation> conversations) {
        if (!asking->told) return;
        asking->timer = nullptr;
        asking->known.conversations = std::move(conversations);
        auto told = std::exchange(asking->told, nullptr);
        std::move(told)(std::move(asking->known));
      });
}

// ---- Permissions ----

void Session::ResolvePermission(Caller caller, PermissionParams params,
                                Reply<bool> reply) {
  auto answer =
      [reply = std::move(reply)](absl::StatusOr<RequestResult> result) mutable {
        if (!result.ok()) {
          std::move(reply)(result.status());
        } else {
          std::move(reply)(true);
        }
      };
  const std::shared_ptr<Call> call =
      ledger_.Admit(0, std::move(caller), std::move(answer));
  if (call == nullptr) return;
  if (!closed_.ok()) {
    ledger_.Finish(call, closed_);
    return;
  }
  const std::string what =
      absl::StrCat("resolve permission ", params.permission_id, " of session ",
                   record_.session_id());
  RequestResult result;
  result.mutable_done();
  switch (permissions_.Find(params.permission_id, params.answer)) {
    case PermissionDesk::State::kUnknown:
      ledger_.Finish(call, MakeError(Reason::kPermissionNotFound,
                                     absl::StrCat(what, ": no such request")));
      return;
    case PermissionDesk::State::kAnsweredOtherwise:
      ledger_.Finish(
          call, MakeError(Reason::kPermissionResolved,
                          absl::StrCat(what, ": it is settled otherwise")));
      return;
    case PermissionDesk::State::kAnsweredSo:
      ledger_.Finish(call, result);
      return;
    case PermissionDesk::State::kPending:
      break;
  }
  if (permissions_.Decide(params.permission_id, params.answer).decision ==
      v1::PERMISSION_DECISION_UNSPECIFIED) {
    ledger_.Finish(call, FieldInvalid("option_id",
                                      "must be one of the request's options"));
    return;
  }
  if (!params.answer.updated_input_json.empty() && slot_ != nullptr &&
      !slot_->agent().capabilities().edits_input) {
    ledger_.Finish(call,
                   FieldInvalid("updated_input_json",
                                "must be empty: the agent takes no other input "
                                "than its own"));
    return;
  }
  SettlePermission(params.permission_id, params.answer, v1::RESOLVED_BY_CLIENT);
  std::vector<StoredRequest> rows =
      ledger_.Row(*call, record_.session_id(), result);
  Commit(std::move(rows),
         [this, call, result] { ledger_.Finish(call, result); });
}

// Tells the agent (unless it withdrew the request) and the log.
void Session::SettlePermission(std::string_view permission_id,
                               const std::optional<PermissionAnswer>& answer,
                               v1::ResolvedBy by) {
  const std::string id(permission_id);
  v1::Event event;
  v1::PermissionResolved& resolved = *event.mutable_permission_resolved();
  resolved.set_permission_id(id);
  resolved.set_by(by);
  if (current_turn() != nullptr) event.set_turn_id(current_turn()->turn_id);
  if (answer.has_value()) {
    const PermissionDesk::Decision decision = permissions_.Decide(id, *answer);
    resolved.set_decision(decision.decision);
    resolved.set_scope(decision.scope);
    if (slot_ != nullptr) {
      KeepGrants(slot_->agent().AnswerPermission(id, *answer), record_);
    }
  } else {
    resolved.set_withdrawn(true);
  }
  permissions_.Close(id, answer);
  auto& open = *record_.mutable_open_permissions();
  open.erase(std::remove_if(open.begin(), open.end(),
                            [&id](const store::OpenPermission& one) {
                              return one.permission_id() == id;
                            }),
             open.end());
  record_changed_ = true;
  AddSynthetic(std::move(event));
}

void Session::WithdrawPermissions() {
  for (const std::string& id : permissions_.pending()) {
    SettlePermission(id, std::nullopt, v1::RESOLVED_BY_AGENT);
  }
}

}  // namespace understudy::session
