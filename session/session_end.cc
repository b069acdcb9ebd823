// How agents and sessions end: replaced, parked, drained, deleted, fenced off.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/retiring.h"
#include "session/session.h"

namespace understudy::session {

// The agent is at a turn, and is not to go on with it.
void Session::EndMidTurn(const absl::Status& why) {
  WithdrawPermissions();
  LoseTurns(why, slot_->agent().delivered());
  Retire(std::move(slot_), /*mid_turn=*/true);
  Commit();
}

void Session::Retire(std::unique_ptr<Slot> slot, bool mid_turn) {
  mid_turn = mid_turn || unsolicited_ != nullptr;
  WithdrawPermissions();
  // What it may have begun by itself is not heard of any more.
  LoseUnsolicited(MakeError(Reason::kAgentLost, "the agent was replaced"));
  const bool goes_first = mid_turn ||
                          !slot->agent().capabilities().shared_conversation ||
                          profile_.sessions_per_process > 1;
  auto retiring = std::make_unique<Retiring>(
      std::move(slot), ground_.loop.Now(), goes_first,
      [this](Retiring* which, const Loss& loss) { Retired(which, loss); });
  Retiring& stopping = *retiring;
  retiring_.push_back(std::move(retiring));
  stopping.Stop(mid_turn ? absl::ZeroDuration() : profile_.stop_grace);
}

bool Session::WaitsForAnEnd() const {
  return std::any_of(retiring_.begin(), retiring_.end(),
                     [](const auto& one) { return one->goes_first(); });
}

void Session::Retired(Retiring* retiring, const Loss& loss) {
  if (undecided_ != nullptr) {
    WhenDecided([this, retiring, loss] { Retired(retiring, loss); });
    return;
  }
  if (std::none_of(
          retiring_.begin(), retiring_.end(),
          [retiring](const auto& one) { return one.get() == retiring; })) {
    return;  // the watchdog has let go of it
  }
  AddExited(retiring->pid(), loss.exit, loss.why, /*expected=*/true);
  Commit();
  std::shared_ptr<Retiring> gone;
  for (auto it = retiring_.begin(); it != retiring_.end(); ++it) {
    if (it->get() != retiring) continue;
    gone = std::move(*it);
    retiring_.erase(it);
    break;
  }
  // With it its right to run goes back; what waited for that follows.
  Discard(std::move(gone));
  ReplySoon([this] {
    if (!retiring_.empty()) return;
    for (Task& task : std::exchange(when_retired_, {})) std::move(task)();
    SettleClaims();
    if (!closed_.ok()) {
      FinishDelete();
    } else {
      Pump();
    }
  });
}

void Session::EndAgent(Task gone) {
  when_retired_.push_back([this, gone = std::move(gone)]() mutable {
    // What starts now knows all turns that there were.
    turns_at_move_ = turns_;
    std::move(gone)();
  });
  Retire(std::move(slot_));
  Commit();
}

void Session::ScheduleIdle() {
  if (slot_ == nullptr) {
    log_->ReleaseWindow();
    return;
  }
  if (idle_timer_ != nullptr || !MayPark()) return;
  idle_since_ = ground_.loop.Now();
  ReplySoon([this] {
    if (ground_.pool.Wants(profile_)) Park();
  });
  if (profile_.idle_timeout == absl::InfiniteDuration()) return;
  idle_timer_ =
      ground_.loop.RunAfter(profile_.idle_timeout, [this] { Park(); });
}

// Whether another process could go on where this one leaves off.
bool Session::MayPark() const {
  return slot_ != nullptr &&
         (!record_.conversation_spoken() ||
          slot_->agent().capabilities().resume_conversation);
}

bool Session::Park() {
  if (!Rests() || !mailbox_.empty() || !MayPark()) return false;
  idle_timer_ = nullptr;
  Retire(std::move(slot_));
  Commit();
  return true;
}

bool Session::LetGo(const std::string& conversation) {
  if (record_.agent_session_id() == conversation || !Rests()) return false;
  if (slot_ != nullptr && !slot_->agent().Forget(conversation)) return Park();
  // Now, or when the process that is on its way out is gone.
  SettleClaims();
  return true;
}

void Session::Refuse(const absl::Status& why) {
  refuse_ = why;
  for (auto it = mailbox_.begin(); it != mailbox_.end();) {
    if (it->call == nullptr) {
      ++it;
      continue;
    }
    if (it->message.has_value()) --queued_messages_;
    const std::shared_ptr<Call> call = it->call;
    it = mailbox_.erase(it);
    ledger_.Finish(call, why);
  }
  for (const ModeChange& change : std::exchange(mode_changes_, {})) {
    ledger_.Finish(change.call, why);
  }
}

void Session::StopAgent(const absl::Status& why) {
  if (undecided_ != nullptr) {
    WhenDecided([this, why] { StopAgent(why); });
    return;
  }
  if (transition_ != nullptr) {
    transition_ = nullptr;
    FailMove(std::move(*std::exchange(moving_item_, nullptr)), why);
  }
  if (slot_ != nullptr) {
    WithdrawPermissions();
    LoseTurns(why, slot_->agent().delivered());
    Retire(std::move(slot_));
  }
  // Accepted, and not begun.
  for (Item& item : std::exchange(mailbox_, {})) {
    if (item.call != nullptr) ledger_.Finish(item.call, why);
    if (item.turn == nullptr) continue;
    // As if its agent had been lost: that is how it stays, while who hears that
    // a server stops would ask the next one again.
    Fail(item.turn, MakeError(Reason::kAgentLost,
                              absl::StrCat("not sent: ", why.message())));
  }
  queued_messages_ = 0;
  Commit();
}

bool Session::evictable() const {
  return Rests() && slot_ == nullptr && retiring_.empty() && mailbox_.empty() &&
         writes_ == 0 && ending_.empty() && ledger_.idle() &&
         log_.use_count() == 1 && breaker_.idle(ground_.loop.Now());
}

void Session::Delete(std::vector<StoredRequest> row, Done done) {
  if (!closed_.ok() && deletions_ == nullptr) {
    std::move(done)(closed_);
    return;
  }
  if (!ground_.committer.health().ok()) {
    std::move(done)(ground_.committer.health());
    return;
  }
  for (StoredRequest& one : row) deletion_rows_.push_back(std::move(one));
  if (deletions_ == nullptr) {
    deletions_ = std::make_shared<std::vector<Done>>();
  }
  deletions_->push_back(std::move(done));
  CloseDown(MakeError(
      Reason::kSessionNotFound,
      absl::StrCat("session ", record_.session_id(), " has been deleted")));
}

bool Session::Takes(const std::shared_ptr<Call>& call) {
  const absl::Status& why = !closed_.ok() ? closed_ : refuse_;
  if (!why.ok()) ledger_.Finish(call, why);
  return why.ok();
}

// The session serves nobody any more: deleted, or no longer ours.
void Session::CloseDown(absl::Status why) {
  if (!closed_.ok()) return;
  closed_ = why;
  std::unique_ptr<Undecided> undecided = std::move(undecided_);
  transition_ = nullptr;
  moving_item_ = nullptr;
  idle_timer_ = nullptr;
  mode_changes_.clear();
  // Of a deletion readers hear when it is stored.
  if (deletions_ == nullptr) log_->Close(why);
  for (Item& item : std::exchange(mailbox_, {})) {
    if (item.call != nullptr) ledger_.Finish(item.call, why);
    if (item.turn == nullptr) continue;
    for (Reply<SendResult>& reply : std::exchange(item.turn->waiting, {})) {
      std::move(reply)(why);
    }
  }
  queued_messages_ = 0;
  std::vector<std::shared_ptr<Turn>> turns = std::exchange(ending_, {});
  turns.push_back(std::exchange(running_, nullptr));
  turns.push_back(std::exchange(unsolicited_, nullptr));
  for (const std::shared_ptr<Turn>& turn : turns) {
    if (turn == nullptr) continue;
    for (Reply<SendResult>& reply : std::exchange(turn->waiting, {})) {
      std::move(reply)(why);
    }
    for (const std::shared_ptr<Call>& call :
         std::exchange(turn->interrupting, {})) {
      ledger_.Finish(call, why);
    }
  }
  ledger_.FinishAll(why);
  Slot* const running = slot_.get();
  if (slot_ != nullptr) Retire(std::move(slot_));
  for (const std::unique_ptr<Retiring>& retiring : retiring_) {
    retiring->Stop(absl::ZeroDuration());
  }
  if (undecided != nullptr) {
    if (running != nullptr) Hear(running, undecided->of_running);
    for (Task& task : undecided->waiting) std::move(task)();
    Discard(std::move(undecided));
  }
  if (retiring_.empty()) ReplySoon([this] { FinishDelete(); });
}

// No process is left; what was being written goes first.
void Session::FinishDelete() {
  if (std::exchange(finishing_, true)) return;
  if (deletions_ == nullptr) {
    if (gone_) std::move(std::exchange(gone_, nullptr))();
    return;
  }
  Append append;
  append.requests = std::exchange(deletion_rows_, {});
  append.kind = Append::Kind::kDelete;
  append.session_id = record_.session_id();
  append.epoch = epoch_;
  append.base_sequence = log_->taken();
  ground_.committer.Write(
      std::move(append), [self = self_, deletions = deletions_, why = closed_,
                          log = log_](absl::Status status) mutable {
        log->Close(why);
        // It is gone before anybody hears so.
        if (*self != nullptr) {
          (*self)->deletions_ = nullptr;
          if ((*self)->gone_) {
            std::move(std::exchange((*self)->gone_, nullptr))();
          }
        }
        for (Done& done : std::exchange(*deletions, {})) {
          std::move(done)(status);
        }
      });
}

void Session::Discard(std::shared_ptr<void> thing) {
  discarded_.push_back(std::move(thing));
  ReplySoon([this] { std::exchange(discarded_, {}).clear(); });
}

// From the loop's top, unless the session is gone by then.
void Session::ReplySoon(Task task) {
  ground_.loop.Post([self = self_, task = std::move(task)]() mutable {
    if (*self != nullptr) std::move(task)();
  });
}

}  // namespace understudy::session
