// Moves: SwitchModel, Clear, Resume, and the start of an agent.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "session/base/utf8.h"
#include "session/conversation_origin.h"
#include "session/model_names.h"
#include "session/session.h"

namespace understudy::session {
namespace {

constexpr int kConversations = 64;
constexpr size_t kFirstPromptBytes = 200;

MoveResult ToMoveResult(const std::string& agent,
                        const RequestResult::Moved& moved) {
  return {.agent = agent,
          .changed = moved.changed(),
          .previous_model = moved.previous_model(),
          .model = moved.model(),
          .previous_agent_session_id = moved.previous_agent_session_id(),
          .agent_session_id = moved.agent_session_id(),
          .route = moved.route(),
          .verified = moved.verified(),
          .incarnation = moved.incarnation(),
          .sequence = moved.sequence()};
}

v1::Operation OperationOf(const MoveParams& params) {
  switch (params.kind) {
    case MoveParams::Kind::kSwitchModel:
      return v1::OPERATION_SWITCH_MODEL;
    case MoveParams::Kind::kClear:
      return params.conversation.empty() ? v1::OPERATION_CLEAR
                                         : v1::OPERATION_RESUME;
    case MoveParams::Kind::kResume:
      return v1::OPERATION_RESUME;
  }
  return v1::OPERATION_UNSPECIFIED;
}

absl::Status InUse(const std::string& conversation, const std::string& holder) {
  return MakeError(Reason::kConversationInUse,
                   absl::StrCat("resume conversation ", conversation,
                                ": session ", holder, " holds it"));
}

// The conversation that was to be gone on with is lost, for this process and
// every other.
bool CannotBeHad(const absl::Status& why) {
  const std::optional<Reason> reason = ReasonOf(why);
  if (reason == Reason::kConversationNotFound) return true;
  if (reason != Reason::kCapabilityMissing) return false;
  const ErrorMetadata metadata = MetadataOf(why);
  const auto it = metadata.find("capability");
  return it != metadata.end() && it->second == "resume";
}

// The agent has no word for it, and may have met with something else.
bool IsUncertain(const absl::Status& why) {
  return MetadataOf(why).contains("certain");
}

absl::Status Elsewhere(const std::string& conversation,
                       const std::string& directory) {
  return MakeError(
      Reason::kConversationNotFound,
      absl::StrCat(
          "resume conversation ", conversation,
          ": it belongs to another working directory, or profile, than ",
          directory));
}

}  // namespace

std::string Session::EffectiveModel(std::string_view model_override) const {
  return model_override.empty() ? profile_.default_model
                                : std::string(model_override);
}

bool Session::SameModel(std::string_view model) const {
  if (model.empty()) return record_.model_override().empty();
  return model == record_.model() ||
         model == EffectiveModel(record_.model_override());
}

// Keeps the conversations that have spoken, for ListConversations.
void Session::NoteConversation(std::string_view first_prompt) {
  record_.set_conversation_spoken(true);
  const std::string& id = record_.agent_session_id();
  if (id.empty()) return;
  auto& all = *record_.mutable_conversations();
  store::Conversation* found = nullptr;
  for (store::Conversation& one : all) {
    if (one.agent_session_id() == id) found = &one;
  }
  if (found == nullptr) {
    if (all.size() >= kConversations) all.erase(all.begin());
    found = all.Add();
    found->set_agent_session_id(id);
    found->set_first_prompt(
        std::string(Utf8Prefix(first_prompt, kFirstPromptBytes)));
  }
  *found->mutable_update_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(ground_.loop.Now()));
}

// Nothing of the conversation has reached its agent after all.
void Session::ForgetConversation() {
  record_.set_conversation_spoken(false);
  auto& all = *record_.mutable_conversations();
  const std::string& id = record_.agent_session_id();
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&id](const store::Conversation& one) {
                             return one.agent_session_id() == id;
                           }),
            all.end());
  record_changed_ = true;
}

void Session::Move(CallId id, Caller caller, MoveParams params,
                   Reply<MoveResult> reply) {
  auto answer = [agent = record_.agent(), reply = std::move(reply)](
                    absl::StatusOr<RequestResult> result) mutable {
    if (!result.ok()) {
      std::move(reply)(result.status());
    } else {
      std::move(reply)(ToMoveResult(agent, result->moved()));
    }
  };
  const std::shared_ptr<Call> call =
      ledger_.Admit(id, std::move(caller), std::move(answer));
  if (call == nullptr || !Takes(call)) return;
  if (!ground_.committer.health().ok()) {
    ledger_.Finish(call, ground_.committer.health());
    return;
  }
  if (!params.conversation.empty() &&
      !kind_.valid_conversation(params.conversation)) {
    ledger_.Finish(
        call, FieldInvalid(params.kind == MoveParams::Kind::kClear
                               ? "resume_agent_session_id"
                               : "agent_session_id",
                           absl::StrCat("is not an id of an agent of kind ",
                                        std::string(kind_.name))));
    return;
  }
  Item item;
  item.call = call;
  item.operation = OperationOf(params);
  item.move = std::move(params);

  if (item.move.kind == MoveParams::Kind::kSwitchModel && !MovesWait() &&
      SameModel(*item.move.model)) {
    Unchanged(std::move(item));
    return;
  }
  if (const absl::Status open = Circuit(); !open.ok() && NeedsAgent(item)) {
    ledger_.Finish(call, open);
    return;
  }
  const bool turns_wait = current_turn() != nullptr || queued_messages_ > 0;
  if (item.move.policy == TurnPolicy::kFail && turns_wait) {
    ledger_.Finish(call,
                   MakeError(Reason::kTurnRunning,
                             absl::StrCat("move session ", record_.session_id(),
                                          ": a turn runs or waits")));
    return;
  }
  const auto moves = static_cast<size_t>(
      std::count_if(mailbox_.begin(), mailbox_.end(),
                    [](const Item& one) { return one.turn == nullptr; }));
  if (moves >= options_.max_queued_messages) {
    ledger_.Finish(call,
                   MakeError(Reason::kQueueFull,
                             absl::StrCat("move session ", record_.session_id(),
                                          ": ", moves, " moves wait already"),
                             {}, absl::Seconds(1)));
    return;
  }
  if (item.move.policy == TurnPolicy::kInterrupt && current_turn() != nullptr &&
      slot_ != nullptr && !slot_->agent().capabilities().interrupt) {
    ledger_.Finish(
        call, MakeError(Reason::kCapabilityMissing,
                        absl::StrCat("interrupt session ", record_.session_id(),
                                     " for a change: its agent cannot")));
    return;
  }
  item.timer = ground_.loop.RunAfter(profile_.quiesce_timeout,
                                     [this, call] { GiveUpWaiting(call); });
  if (item.move.policy == TurnPolicy::kInterrupt && !mailbox_.empty() &&
      mailbox_.front().turn != nullptr && mailbox_.front().turn->started) {
    // Its turn has begun, though its agent has died since: it is interrupted,
    // not passed.
    const std::shared_ptr<Turn> turn = mailbox_.front().turn;
    mailbox_.pop_front();
    --queued_messages_;
    v1::TurnCompleted completed;
    completed.set_outcome(v1::TURN_OUTCOME_INTERRUPTED);
    completed.set_delivered(v1::DELIVERED_NO);
    Complete(turn, std::move(completed));
  }
  if (item.move.policy == TurnPolicy::kInterrupt) {
    // Before all messages that wait, behind the moves that come before them.
    mailbox_.insert(
        std::find_if(mailbox_.begin(), mailbox_.end(),
                     [](const Item& one) { return one.turn != nullptr; }),
        std::move(item));
    InterruptRunning();
  } else {
    mailbox_.push_back(std::move(item));
  }
  Pump();
}

// The turns before a move take too long.
void Session::GiveUpWaiting(const std::shared_ptr<Call>& call) {
  if (undecided_ != nullptr) {
    WhenDecided([this, call] { GiveUpWaiting(call); });
    return;
  }
  const auto waits =
      std::find_if(mailbox_.begin(), mailbox_.end(),
                   [&call](const Item& item) { return item.call == call; });
  if (waits == mailbox_.end()) return;
  Item item = std::move(*waits);
  mailbox_.erase(waits);
  if (item.message.has_value()) --queued_messages_;
  Discard(std::move(item.timer));
  const absl::Status why =
      MakeError(Reason::kTurnRunning,
                absl::StrCat("move session ", record_.session_id(),
                             ": the turns before it have not ended within ",
                             absl::FormatDuration(profile_.quiesce_timeout)));
  FailMove(std::move(item), why);
}

bool Session::Withdraw(CallId id) {
  for (auto it = mailbox_.begin(); it != mailbox_.end(); ++it) {
    if (it->call == nullptr || it->call->id != id) continue;
    // Somebody else waits for it too.
    if (it->call->answers.size() > 1) return false;
    const std::shared_ptr<Call> call = it->call;
    if (it->message.has_value()) --queued_messages_;
    mailbox_.erase(it);
    ledger_.Finish(call, absl::CancelledError("withdrawn by the caller"));
    return true;
  }
  return false;
}

void Session::Prewarm() {
  if (Rests() && mailbox_.empty() && slot_ == nullptr && refuse_.ok() &&
      !WaitsForAnEnd() && Circuit().ok() &&
      breaker_.Wait(ground_.loop.Now()) == absl::ZeroDuration()) {
    StartAgent(agent_died_ ? v1::OPERATION_RECOVER : v1::OPERATION_START);
  }
}

// The session rests, and this is next.
void Session::BeginMove(Item item) {
  Discard(std::move(item.timer));
  const absl::Time started = ground_.loop.Now();
  const MoveParams& move = item.move;
  switch (move.kind) {
    case MoveParams::Kind::kSwitchModel: {
      if (SameModel(*move.model)) {
        Unchanged(std::move(item));
        return;
      }
      Target wanted{.model = EffectiveModel(*move.model), .conversation = {}};
      StartMove(std::move(item), std::move(wanted));
      return;
    }
    case MoveParams::Kind::kClear:
      if (move.conversation.empty()) {
        if (!record_.conversation_spoken()) {
          Unchanged(std::move(item));
        } else if (slot_ == nullptr) {
          ClearDormant(std::move(item), started);
        } else {
          StartMove(std::move(item), {.model = {}, .conversation = ""});
        }
        return;
      }
      break;
    case MoveParams::Kind::kResume:
      break;
  }
  const bool current = move.conversation == record_.agent_session_id();
  const bool other_model = move.model.has_value() && !SameModel(*move.model);
  if (current && !other_model) {
    Unchanged(std::move(item));
    return;
  }
  if (!current &&
      (!item.checked ||
       ground_.claims.Claim(move.conversation, record_.session_id()) !=
           record_.session_id())) {
    CheckConversation(std::move(item));
    return;
  }
  Target wanted;
  if (!current) wanted.conversation = move.conversation;
  if (other_model) wanted.model = EffectiveModel(*move.model);
  StartMove(std::move(item), std::move(wanted));
}

// No other session has the conversation, and no other working directory.
void Session::CheckConversation(Item item) {
  if (KeepsNothing() &&
      (slot_ == nullptr || !slot_->agent().Holds(item.move.conversation))) {
    const absl::Status why = MakeError(
        Reason::kCapabilityMissing,
        absl::StrCat("resume conversation ", item.move.conversation,
                     ": agents of profile ", profile_.name, " load none"),
        {{"capability", "resume"}});
    FailMove(std::move(item), why);
    return;
  }
  const std::string& claimed_by =
      ground_.claims.Claim(item.move.conversation, record_.session_id());
  if (claimed_by != record_.session_id()) {
    AwaitConversation(std::move(item), claimed_by);
    return;
  }
  busy_ = true;
  step_began_ = ground_.loop.Now();
  moving_ = item.operation;
  auto shared = std::make_shared<Item>(std::move(item));
  moving_item_ = shared;
  ground_.reading.Run([&loop = ground_.loop, &store = ground_.store,
                       self = self_, shared, record = record_,
                       keeps_files = !kind_.many_conversations,
                       is_elsewhere = kind_.is_elsewhere, profile = profile_] {
    const std::string& conversation = shared->move.conversation;
    const std::string& directory = record.working_directory();
    absl::StatusOr<std::optional<std::string>> holder =
        store.FindByConversation(record.tenant(), conversation,
                                 record.session_id());
    absl::Status refused = holder.status();
    if (holder.ok()) {
      const absl::StatusOr<bool> elsewhere =
          keeps_files ? is_elsewhere(profile, directory, conversation)
                      : IsOfOthers(store, record, conversation);
      if (!elsewhere.ok()) {
        refused = elsewhere.status();
      } else if (*elsewhere) {
        refused = Elsewhere(conversation, directory);
      } else if (holder->has_value()) {
        refused = InUse(conversation, **holder);
      }
    }
    loop.Post([self, shared, refused = std::move(refused)] {
      if (*self == nullptr) return;
      shared->checked = refused.ok();
      (*self)->LookedUp(shared, refused);
    });
  });
}

// What a move was looking up is known: it goes on, or fails.
void Session::LookedUp(const std::shared_ptr<Item>& item, absl::Status why) {
  // Whoever called may have had the answer.
  if (moving_item_ != item) return;
  moving_item_ = nullptr;
  busy_ = false;
  Discard(std::move(item->timer));
  if (why.ok()) why = refuse_;
  if (!why.ok()) {
    FailMove(std::move(*item), std::move(why));
    return;
  }
  if (item->message.has_value()) ++queued_messages_;
  mailbox_.push_front(std::move(*item));
  Pump();
}

// Another session's process has the conversation open. If that session has left
// it, its process is ended first.
void Session::AwaitConversation(Item item, const std::string& holder) {
  const absl::Status in_use = InUse(item.move.conversation, holder);
  const std::string conversation = item.move.conversation;
  auto shared = std::make_shared<Item>(std::move(item));
  const auto go_on = [self = self_, shared](absl::Status why) {
    if (*self != nullptr) (*self)->LookedUp(shared, std::move(why));
  };
  const bool waits =
      ground_.claims.AskFor(conversation, [this, self = self_, go_on] {
        if (*self != nullptr) ReplySoon([go_on] { go_on(absl::OkStatus()); });
      });
  if (!waits) {
    FailMove(std::move(*shared), in_use);
    return;
  }
  busy_ = true;
  step_began_ = ground_.loop.Now();
  moving_ = shared->operation;
  shared->timer = ground_.loop.RunAfter(profile_.start_timeout,
                                        [go_on, in_use] { go_on(in_use); });
  moving_item_ = shared;
}

void Session::StartMove(Item item, Target wanted) {
  const absl::Time started = ground_.loop.Now();
  if (slot_ == nullptr && !wanted.conversation.has_value() &&
      record_.conversation_spoken() && KeepsNothing()) {
    Log(LogLevel::kWarning, "its agent keeps no conversation: a fresh one",
        {{"session_id", record_.session_id()}});
    wanted.conversation = "";
  }
  moving_ = item.operation;
  step_began_ = started;
  turns_at_move_ = turns_;
  Transition::Request request;
  request.wanted = wanted;
  request.opening.model =
      wanted.model.value_or(EffectiveModel(record_.model_override()));
  if (wanted.conversation.has_value()) {
    request.opening.conversation = *wanted.conversation;
  } else if (record_.conversation_spoken()) {
    request.opening.conversation = record_.agent_session_id();
  }
  request.opening.permission_mode = record_.permission_mode();
  request.opening.grants = {record_.grants().begin(), record_.grants().end()};
  request.opening.working_directory = record_.working_directory();
  request.opening.tenant = record_.tenant();
  Situation now{.running = {}, .spoken = record_.conversation_spoken()};
  if (slot_ != nullptr) {
    const Agent& agent = slot_->agent();
    now.running = agent.capabilities();
    now.background = agent.has_background_tasks();
    now.holds =
        wanted.conversation.has_value() && agent.Holds(*wanted.conversation);
    now.room = !ground_.pool.Full(profile_);
  }
  request.plan = MakePlan(wanted, now);
  auto shared = std::make_shared<Item>(std::move(item));
  moving_item_ = shared;
  Transition::Host& host = *this;
  transition_ = std::make_unique<Transition>(
      ground_.loop, host, ground_.pool, kind_, profile_, std::move(request),
      [this, shared, wanted, started](Transition::Outcome outcome) {
        Moved(std::move(*shared), wanted, started, std::move(outcome));
      });
}

// As far as one knows without starting one.
bool Session::KeepsNothing() const {
  const AgentCatalog::Row row = ground_.catalog.Find(profile_.name);
  return row.known && !row.capabilities.resume_conversation;
}

// The first message, or nobody in particular, wants the agent to run.
void Session::StartAgent(v1::Operation operation) {
  Item item;
  item.operation = operation;
  item.cause = operation == v1::OPERATION_RECOVER ? v1::CAUSE_RECOVERY
                                                  : v1::CAUSE_CLIENT;
  StartMove(std::move(item), {});
}

// The transition has ended: it is committed, put off, or failed.
void Session::Moved(Item item, Target wanted, absl::Time started,
                    Transition::Outcome outcome) {
  Discard(std::move(transition_));
  moving_item_ = nullptr;
  const bool starts = item.operation == v1::OPERATION_START ||
                      item.operation == v1::OPERATION_RECOVER;
  if (!outcome.status.ok()) {
    if (outcome.suspect && slot_ != nullptr) {
      Retire(std::move(slot_));
    }
    if (slot_ == nullptr) NoteDeath(outcome.status);
    if (slot_ == nullptr && !wanted.conversation.has_value() &&
        record_.conversation_spoken() && CannotBeHad(outcome.status)) {
      if (IsUncertain(outcome.status) && !std::exchange(item.again, true)) {
        StartMove(std::move(item), std::move(wanted));
        return;
      }
      // The agent had not kept anything of it (it is killed before it writes),
      // or keeps nothing.
      Log(LogLevel::kWarning, "conversation is gone: a fresh one",
          {{"session_id", record_.session_id()}});
      StartMove(std::move(item), {.model = wanted.model, .conversation = ""});
      return;
    }
    if (starts && ReasonOf(outcome.status) == Reason::kModelRejected &&
        !record_.model_override().empty()) {
      // What was chosen once does not exist any more.
      Log(LogLevel::kWarning, "the session's model is gone: the default one",
          {{"session_id", record_.session_id()},
           {"model", record_.model_override()}});
      item.cause = v1::CAUSE_RECOVERY;
      item.move.model = "";
      StartMove(std::move(item),
                {.model = EffectiveModel(""), .conversation = {}});
      return;
    }
    FailMove(std::move(item), std::move(outcome.status));
    return;
  }
  if (outcome.slot != nullptr && turns_ != turns_at_move_) {
    // The old agent has taken a turn of its own since: what was prepared does
    // not know of it.
    outcome.slot = nullptr;
    if (outcome.suspect && slot_ != nullptr) Retire(std::move(slot_));
    if (!starts) {
      if (item.message.has_value()) ++queued_messages_;
      mailbox_.push_front(std::move(item));
    }
    Pump();
    return;
  }
  CommitMove(std::move(item), wanted, started, std::move(outcome.slot));
}

}  // namespace understudy::session
