// What moves say when they end: done, failed, or with nothing to do.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "session/base/log.h"
#include "session/base/utf8.h"
#include "session/model_names.h"
#include "session/session.h"

namespace understudy::session {
namespace {

google::protobuf::Duration ToProto(absl::Duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(
      absl::ToInt64Nanoseconds(duration));
}

v1::SessionState ToProto(SessionState state) {
  switch (state) {
    case SessionState::kDormant:
      return v1::SESSION_STATE_DORMANT;
    case SessionState::kIdle:
      return v1::SESSION_STATE_IDLE;
    case SessionState::kRunning:
      return v1::SESSION_STATE_RUNNING;
    case SessionState::kTransitioning:
      return v1::SESSION_STATE_TRANSITIONING;
  }
  return v1::SESSION_STATE_UNSPECIFIED;
}

// Whether it may be otherwise in a moment: an answer not to be held to.
bool Passing(const absl::Status& why) {
  switch (ReasonOf(why).value_or(Reason::kInternal)) {
    case Reason::kDraining:
    case Reason::kNoSlot:
    case Reason::kStoreUnavailable:
    case Reason::kStoreFull:
    case Reason::kStoreCorrupt:
      return true;
    default:
      return RetryAfterOf(why).has_value();
  }
}

}  // namespace

// Brings the record to where `agent` is, with the events that tell of it.
RequestResult Session::Announce(const Item& item, const Target& wanted,
                                absl::Time started, const Agent& agent,
                                bool new_process) {
  const v1::Route route = new_process ? v1::ROUTE_RESTART : v1::ROUTE_NATIVE;
  const std::string previous_model = record_.model();
  const std::string previous_conversation = record_.agent_session_id();
  const google::protobuf::Duration elapsed =
      ToProto(ground_.loop.Now() - started);

  const AgentState& now = agent.current();
  const std::string asked =
      EffectiveModel(item.move.model.value_or(record_.model_override()));
  const std::string model =
      !now.model.empty() ? now.model : (asked.empty() ? previous_model : asked);

  if (new_process) {
    record_.set_incarnation(record_.incarnation() + 1);
    record_.add_processes(agent.pid());
  }
  record_.set_agent_session_id(now.conversation);
  if (wanted.conversation.has_value()) {
    record_.set_conversation_spoken(!wanted.conversation->empty());
  }
  if (wanted.model.has_value()) {
    // A way back for one step only: going back is not taken back.
    if (item.cause == v1::CAUSE_CLIENT) {
      if (!record_.has_unproven_from()) {
        record_.set_unproven_from(record_.model_override());
      }
    } else {
      record_.clear_unproven_from();
    }
    record_.set_model_override(item.move.model.value_or(""));
  }
  // An agent that names for the first time what was asked for by another word
  // has not changed its model.
  const bool resolves = !wanted.model.has_value() &&
                        !record_.model_verified() &&
                        MayName(agent.models(), previous_model, model);
  record_.set_model(model);
  record_.set_model_verified(now.verified);
  record_changed_ = true;

  RequestResult result;
  RequestResult::Moved& moved = *result.mutable_moved();
  if (wanted.conversation.has_value()) {
    v1::Event event;
    if (wanted.conversation->empty() && item.operation == v1::OPERATION_CLEAR) {
      v1::ConversationCleared& cleared = *event.mutable_conversation_cleared();
      cleared.set_previous_agent_session_id(previous_conversation);
      cleared.set_agent_session_id(record_.agent_session_id());
      cleared.set_route(route);
      cleared.set_cause(item.cause);
      *cleared.mutable_elapsed() = elapsed;
    } else {
      v1::ConversationResumed& resumed = *event.mutable_conversation_resumed();
      resumed.set_previous_agent_session_id(previous_conversation);
      resumed.set_agent_session_id(record_.agent_session_id());
      resumed.set_route(route);
      resumed.set_cause(item.cause);
      resumed.set_context_restored(wanted.conversation->empty()
                                       ? v1::CONTEXT_RESTORED_NONE
                                       : v1::CONTEXT_RESTORED_FULL);
      *resumed.mutable_elapsed() = elapsed;
    }
    moved.set_changed(true);
    moved.set_sequence(AddSynthetic(std::move(event)));
  }
  if (model != previous_model && !resolves) {
    v1::Event event;
    v1::ModelChanged& changed = *event.mutable_model_changed();
    changed.set_previous_model(previous_model);
    changed.set_model(model);
    changed.set_requested_model(item.move.model.value_or(""));
    changed.set_route(route);
    changed.set_cause(wanted.model.has_value() ? item.cause : v1::CAUSE_AGENT);
    changed.set_verified(now.verified);
    changed.set_previous_agent_session_id(previous_conversation);
    changed.set_agent_session_id(record_.agent_session_id());
    *changed.mutable_elapsed() = elapsed;
    moved.set_changed(true);
    moved.set_sequence(AddSynthetic(std::move(event)));
  }
  if (new_process) {
    v1::Event event;
    v1::AgentStarted& agent_started = *event.mutable_agent_started();
    agent_started.set_pid(agent.pid());
    agent_started.set_agent_version(std::string(agent.version()));
    agent_started.set_model(model);
    agent_started.set_route(route);
    const uint64_t sequence = AddSynthetic(std::move(event));
    if (moved.sequence() == 0) moved.set_sequence(sequence);
  }
  moved.set_previous_model(previous_model);
  moved.set_model(model);
  moved.set_previous_agent_session_id(previous_conversation);
  moved.set_agent_session_id(record_.agent_session_id());
  moved.set_route(route);
  moved.set_verified(now.verified);
  moved.set_incarnation(record_.incarnation());
  if (moved.sequence() == 0) moved.set_sequence(log_->added());
  return result;
}

// Of the conversations that it has moved through, a session keeps the one it
// is in, as soon as no process of it can be in another.
void Session::SettleClaims() {
  const std::string& current = record_.agent_session_id();
  if (!current.empty()) {
    ground_.claims.Claim(current, record_.session_id());
  }
  if (!retiring_.empty() || transition_ != nullptr || busy_ ||
      undecided_ != nullptr ||
      std::any_of(mailbox_.begin(), mailbox_.end(),
                  [](const Item& item) { return item.checked; })) {
    return;
  }
  ground_.claims.Release(record_.session_id(), [&](const std::string& one) {
    return one == current || (slot_ != nullptr && slot_->agent().Keeps(one));
  });
}

// Nothing has changed on the whole; that is told.
void Session::FailMove(Item item, absl::Status why) {
  moving_ = v1::OPERATION_UNSPECIFIED;
  SettleClaims();
  const std::string reason(
      ReasonName(ReasonOf(why).value_or(Reason::kInternal)));
  const std::string message = ValidUtf8(std::string(why.message()));
  Log(LogLevel::kInfo, "transition failed",
      {{"session_id", record_.session_id()},
       {"operation", v1::Operation_Name(item.operation)},
       {"reason", reason}});
  v1::Event event;
  v1::TransitionFailed& failed = *event.mutable_transition_failed();
  failed.set_operation(item.operation);
  failed.set_reason(reason);
  failed.set_message(message);
  failed.set_state(ToProto(state()));
  AddSynthetic(std::move(event));
  const bool starts = item.operation == v1::OPERATION_START ||
                      item.operation == v1::OPERATION_RECOVER;
  if (starts && !mailbox_.empty() && mailbox_.front().turn != nullptr) {
    // The message for which the agent was to start; those behind it try again.
    const std::shared_ptr<Turn> turn = mailbox_.front().turn;
    mailbox_.pop_front();
    --queued_messages_;
    Fail(turn, why);
  } else if (item.serves != nullptr) {
    DropWaiting(item.serves, why);
  } else if (item.call != nullptr && Passing(why)) {
    // Not remembered: it may be asked for again under its id.
    Commit();
    ledger_.Finish(item.call, why);
  } else if (item.call != nullptr) {
    std::vector<StoredRequest> rows =
        ledger_.Row(*item.call, record_.session_id(), FailedResult(why));
    Commit(std::move(rows),
           [this, call = item.call, why] { ledger_.Finish(call, why); });
  } else {
    Commit();
  }
  // What it has been on by itself meanwhile.
  if (slot_ != nullptr) OnStateChanged();
  if (log_changed_ || record_changed_) Commit();
  Pump();
}

// A message that waits fails: its model cannot be had.
void Session::DropWaiting(const std::shared_ptr<Turn>& turn,
                          const absl::Status& why) {
  const auto place =
      std::find_if(mailbox_.begin(), mailbox_.end(),
                   [&turn](const Item& item) { return item.turn == turn; });
  if (place == mailbox_.end()) {
    Commit();
    return;
  }
  mailbox_.erase(place);
  --queued_messages_;
  Fail(turn, why);
}

// A message that has not been begun ends without its agent.
void Session::Fail(const std::shared_ptr<Turn>& turn, const absl::Status& why) {
  turn->loss = why;
  v1::TurnCompleted completed;
  completed.set_outcome(v1::TURN_OUTCOME_FAILED);
  completed.set_delivered(v1::DELIVERED_NO);
  completed.mutable_error()->set_reason(
      std::string(ReasonName(ReasonOf(why).value_or(Reason::kInternal))));
  completed.mutable_error()->set_message(ValidUtf8(std::string(why.message())));
  Complete(turn, std::move(completed));
}

// The answer to a move whose target is where the session already is.
void Session::Unchanged(Item item) {
  moving_ = v1::OPERATION_UNSPECIFIED;
  if (item.cause == v1::CAUSE_RECOVERY && record_.has_unproven_from()) {
    record_.clear_unproven_from();
    record_changed_ = true;
    Commit();
  }
  if (item.message.has_value()) {
    Accept(item.call, *std::move(item.message), item.move.model,
           /*next=*/true);
    return;
  }
  RequestResult result;
  RequestResult::Moved& moved = *result.mutable_moved();
  moved.set_previous_model(record_.model());
  moved.set_model(record_.model());
  moved.set_previous_agent_session_id(record_.agent_session_id());
  moved.set_agent_session_id(record_.agent_session_id());
  moved.set_route(v1::ROUTE_NONE);
  moved.set_verified(slot_ != nullptr && slot_->agent().current().verified);
  moved.set_incarnation(record_.incarnation());
  moved.set_sequence(log_->added());
  if (item.call == nullptr) {
    Pump();
    return;
  }
  std::vector<StoredRequest> rows =
      ledger_.Row(*item.call, record_.session_id(), result);
  if (rows.empty()) {
    ledger_.Finish(item.call, result);
  } else {
    Commit(std::move(rows),
           [this, call = item.call, result] { ledger_.Finish(call, result); });
  }
  Pump();
}

// Without an agent a clear is a matter of the record.
void Session::ClearDormant(Item item, absl::Time started) {
  std::unique_ptr<Undecided> move =
      Prepare(std::move(item), {.model = {}, .conversation = ""});
  if (move == nullptr) return;
  const std::string previous = record_.agent_session_id();
  record_.clear_agent_session_id();
  record_.set_conversation_spoken(false);
  record_changed_ = true;
  v1::Event event;
  v1::ConversationCleared& cleared = *event.mutable_conversation_cleared();
  cleared.set_previous_agent_session_id(previous);
  cleared.set_route(v1::ROUTE_NONE);
  cleared.set_cause(move->item.cause);
  *cleared.mutable_elapsed() = ToProto(ground_.loop.Now() - started);
  RequestResult::Moved& moved = *move->result.mutable_moved();
  moved.set_changed(true);
  moved.set_sequence(AddSynthetic(std::move(event)));
  moved.set_previous_model(record_.model());
  moved.set_model(record_.model());
  moved.set_previous_agent_session_id(previous);
  moved.set_route(v1::ROUTE_NONE);
  moved.set_incarnation(record_.incarnation());
  Propose(std::move(move));
}

}  // namespace understudy::session
