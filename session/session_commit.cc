// How moves are committed: the record and the events that tell of it, in one
// write, which is the point of no return; and what is put back when the store
// does not take it.
//
// A move that somebody has asked for is given up with that write. Until the
// store has answered, the session stands still: nothing of it may stand in the
// log behind what may yet be taken back. A move of the session's own (a start,
// a recovery) is tried until the store takes it: there is nobody to be told,
// and nothing to go back to.

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/log.h"
#include "session/retiring.h"
#include "session/session.h"

namespace understudy::session {

void Session::CommitMove(Item item, const Target& wanted, absl::Time started,
                         std::unique_ptr<Slot> replacement) {
  const bool new_process = replacement != nullptr;
  if (item.call == nullptr) {
    if (new_process) Install(std::move(replacement));
    if (wanted.conversation.has_value()) CountAnew();
    Announce(item, wanted, started, slot_->agent(), new_process);
    moving_ = v1::OPERATION_UNSPECIFIED;
    SettleClaims();
    Commit();
    Pump();
    return;
  }
  const std::shared_ptr<Call> call = item.call;
  std::unique_ptr<Undecided> move =
      Prepare(std::move(item), wanted, std::move(replacement));
  if (move == nullptr) return;
  const Agent& agent =
      new_process ? move->replacement->agent() : slot_->agent();
  move->result = Announce(move->item, wanted, started, agent, new_process);
  if (move->item.message.has_value()) {
    // Accepted in the same write as the switch.
    move->turn = AddAccepted(*call, *std::exchange(move->item.message, {}),
                             move->item.move.model);
    move->result = move->turn->Accepted();
  }
  Propose(std::move(move));
}

// Remembers what there is. Null: the store is in trouble already, and the move
// has failed.
std::unique_ptr<Session::Undecided> Session::Prepare(
    Item item, const Target& wanted, std::unique_ptr<Slot> replacement) {
  // What came before is not part of what may be taken back.
  if (log_changed_ || record_changed_) Commit();
  auto move = std::make_unique<Undecided>();
  move->item = std::move(item);
  move->wanted = wanted;
  move->replacement = std::move(replacement);
  move->before = record_;
  move->sequence_before = log_->added();
  if (const absl::Status why = ground_.committer.health(); !why.ok()) {
    TakeBack(std::move(move), why);
    return nullptr;
  }
  return move;
}

void Session::Propose(std::unique_ptr<Undecided> move) {
  Append append = TakeAppend(
      ledger_.Row(*move->item.call, record_.session_id(), move->result));
  move->record = append.record;
  move->sequence = log_->added();
  if (slot_ != nullptr) move->of_running.Hold(*slot_);
  if (move->replacement != nullptr) {
    move->of_replacement.Hold(*move->replacement);
  }
  move->bound =
      ground_.loop.RunAfter(profile_.switch_timeout, [this] { Abandon(); });
  undecided_ = std::move(move);
  ++writes_;
  ground_.committer.Write(std::move(append), Committer::OnFailure::kGiveUp,
                          [this, self = self_](absl::Status status) {
                            if (*self != nullptr) Decide(std::move(status));
                          });
}

void Session::WhenDecided(Task task) {
  if (undecided_ == nullptr) {
    std::move(task)();
  } else {
    undecided_->waiting.push_back(std::move(task));
  }
}

void Session::Decide(absl::Status status) {
  --writes_;
  if (undecided_ == nullptr) return;  // closed meanwhile
  if (!status.ok() && !StoreFailed(status)) {
    CloseDown(std::move(status));
    return;
  }
  std::unique_ptr<Undecided> move = std::move(undecided_);
  std::vector<Task> waiting = std::move(move->waiting);
  if (status.ok()) {
    Accomplish(std::move(move));
  } else {
    TakeBack(std::move(move), std::move(status));
  }
  for (Task& task : waiting) WhenDecided(std::move(task));
}

void Session::Accomplish(std::unique_ptr<Undecided> move) {
  stored_ = move->record;
  log_->Publish(move->sequence);
  moving_ = v1::OPERATION_UNSPECIFIED;
  Slot* const running = slot_.get();
  const bool new_process = move->replacement != nullptr;
  if (new_process) {
    Install(std::move(move->replacement), move->of_running.turned());
  } else if (slot_ != nullptr) {
    slot_->Adopt(this);
  }
  if (move->wanted.conversation.has_value()) CountAnew();
  SettleClaims();
  if (move->turn != nullptr) {
    // Before all that waits.
    Item item;
    item.turn = move->turn;
    mailbox_.push_front(std::move(item));
    ++queued_messages_;
  }
  ledger_.Finish(move->item.call, move->result);
  Slot* const now = slot_.get();
  if (new_process && !move->wanted.conversation.has_value() &&
      move->of_running.turned()) {
    // It does not know of a turn that the old one has taken since. The next
    // message starts one that does.
    Retire(std::move(slot_));
  }
  if (running != nullptr) Hear(running, move->of_running);
  if (new_process) Hear(now, move->of_replacement);
  Pump();
}

// As if it had not been. An agent that has changed itself is brought back.
void Session::TakeBack(std::unique_ptr<Undecided> move, absl::Status why) {
  log_->Revoke(move->sequence_before);
  record_ = std::move(move->before);
  record_changed_ = log_changed_ = false;
  ledger_.Forget(*move->item.call);
  if (slot_ != nullptr) {
    slot_->Adopt(this);
    // What is heard must not set off the next move yet.
    busy_ = true;
    Hear(slot_.get(), move->of_running);
    busy_ = false;
  }
  if (move->replacement == nullptr) {
    BringBack(std::move(move->item), move->wanted, std::move(why));
  } else {
    FailMove(std::move(move->item), std::move(why));
  }
  Discard(std::move(move));
}

// The running agent is ahead of the record.
void Session::BringBack(Item item, const Target& wanted, absl::Status why) {
  if (slot_ == nullptr) {  // or there is none any more
    FailMove(std::move(item), std::move(why));
    return;
  }
  auto shared = std::make_shared<Item>(std::move(item));
  const auto fail = [this, shared](absl::Status why, bool back) {
    if (!back) {
      if (slot_ != nullptr) Retire(std::move(slot_));
      const absl::Status told(
          why.code(), absl::StrCat(why.message(),
                                   "; the agent could not be brought back to "
                                   "what it was before, and was stopped"));
      absl::Status whole = told;
      why.ForEachPayload([&whole](auto url, const absl::Cord& payload) {
        whole.SetPayload(url, payload);
      });
      why = std::move(whole);
    }
    FailMove(std::move(*shared), std::move(why));
  };
  Change back;
  const Capabilities& can = slot_->agent().capabilities();
  bool possible = unsolicited_ == nullptr;  // which has just begun
  if (wanted.model.has_value()) {
    back.model = EffectiveModel(record_.model_override());
    possible = possible && can.switch_model;
  }
  if (wanted.conversation.has_value()) {
    back.conversation = record_.agent_session_id();
    possible = possible && record_.conversation_spoken() &&
               (can.load_conversation ||
                slot_->agent().Holds(record_.agent_session_id()));
  }
  if (!possible) {
    fail(std::move(why), /*back=*/false);
    return;
  }
  busy_ = true;
  step_began_ = ground_.loop.Now();
  moving_item_ = shared;
  slot_->agent().Apply(
      back, [self = self_, shared, fail, why](absl::Status status) {
        if (*self == nullptr) return;
        // One that is dead says so first.
        (*self)->ReplySoon([self, shared, fail, why, status] {
          Session& session = **self;
          // Whoever called may have had the answer.
          if (session.moving_item_ != shared) return;
          session.moving_item_ = nullptr;
          session.busy_ = false;
          fail(why,
               status.ok() && session.slot_ != nullptr && session.AsRecorded());
        });
      });
}

// Another process or conversation has spent what it says, or nothing.
void Session::CountAnew() {
  cost_.Reset(slot_ == nullptr ? 0 : slot_->agent().current().total_cost_usd);
}

// Whether the agent is, by its own word, where the record says.
bool Session::AsRecorded() const {
  const AgentState& now = slot_->agent().current();
  return now.model == record_.model() &&
         now.conversation == record_.agent_session_id() &&
         (now.verified || !record_.model_verified());
}

// Nobody knows whether the store has it, nor when that will be known. The
// session is closed; who opens it next finds what the store has.
void Session::Abandon() {
  Log(LogLevel::kError, "the outcome of a commit stays unknown: session closed",
      {{"session_id", record_.session_id()}});
  CloseDown(MakeError(
      Reason::kStoreUnavailable,
      absl::StrCat("session ", record_.session_id(),
                   ": whether its last change has been stored is not known"),
      {{"outcome", "unknown"}}, absl::Seconds(1)));
}

// Tells what was held to who hears the agent of `slot` now. What is told may
// end that.
void Session::Hear(Slot* slot, HeldCalls& held) {
  slot->agent().set_reading(true);
  for (HeldCalls::Call& call : held.Take()) {
    if (slot_.get() == slot) {
      std::move(call)(*this);
      continue;
    }
    for (const std::unique_ptr<Retiring>& retiring : retiring_) {
      if (retiring->slot() != slot) continue;
      std::move(call)(*retiring);
      break;
    }
  }
}

// The session is served by `replacement` from here on; the agent before it is
// ended in the background.
void Session::Install(std::unique_ptr<Slot> replacement, bool mid_turn) {
  if (slot_ != nullptr) Retire(std::move(slot_), mid_turn);
  slot_ = std::move(replacement);
  slot_->Adopt(this);
  Log(LogLevel::kInfo, "agent started",
      {{"session_id", record_.session_id()},
       {"agent", record_.agent()},
       {"pid", absl::StrCat(slot_->agent().pid())},
       {"version", std::string(slot_->agent().version())},
       {"model", slot_->agent().current().model}});
  agent_died_ = false;
  CountAnew();
  ground_.catalog.Learn(profile_.name, slot_->agent());
}

}  // namespace understudy::session
