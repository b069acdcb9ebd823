// Whether an agent may be started for what comes next: a session whose agents
// keep dying waits between starts, and in the end says so.

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/log.h"
#include "session/session.h"

namespace understudy::session {

void Session::NoteDeath(const absl::Status& why) {
  if (!CountsAsDeath(why)) return;
  last_death_ = why;
  breaker_.Died(ground_.loop.Now());
  if (breaker_.OpenFor(ground_.loop.Now()) == absl::ZeroDuration()) return;
  Log(LogLevel::kWarning, "agents keep dying: none is started for a while",
      {{"session_id", record_.session_id()},
       {"reason", ReasonName(ReasonOf(why).value_or(Reason::kInternal))}});
}

// CIRCUIT_OPEN if there is no agent, and none may be started now.
absl::Status Session::Circuit() const {
  if (slot_ != nullptr || transition_ != nullptr) return absl::OkStatus();
  const absl::Duration open = breaker_.OpenFor(ground_.loop.Now());
  if (open == absl::ZeroDuration()) return ground_.pool.Circuit(profile_);
  ErrorMetadata metadata = MetadataOf(last_death_);
  metadata["last_reason"] = std::string(
      ReasonName(ReasonOf(last_death_).value_or(Reason::kInternal)));
  return MakeError(
      Reason::kCircuitOpen,
      absl::StrCat("use session ", record_.session_id(),
                   ": its agents keep dying: ", last_death_.message()),
      metadata, open);
}

// A conversation that is left needs no agent, nor does a model that is the
// same.
bool Session::NeedsAgent(const Item& item) const {
  if (item.turn != nullptr || !item.move.conversation.empty()) return true;
  return item.move.kind == MoveParams::Kind::kSwitchModel &&
         !SameModel(*item.move.model);
}

// Whether an agent may be started now. If not, this sees to what waits for it.
bool Session::MayStart() {
  const bool open = !Circuit().ok();
  const absl::Duration wait =
      open ? absl::ZeroDuration() : breaker_.Wait(ground_.loop.Now());
  if (!open && wait == absl::ZeroDuration()) return true;
  if (start_timer_ == nullptr) {
    // One at a time, and from the loop's top, also if many are to be told.
    start_timer_ = ground_.loop.RunAfter(wait, [this] { StartOrFail(); });
  }
  return false;
}

// The first that waits for an agent gets one, or hears that there is none.
void Session::StartOrFail() {
  start_timer_ = nullptr;
  const absl::Status open = Circuit();
  if (open.ok() || !Rests() || !refuse_.ok() || mailbox_.empty() ||
      !NeedsAgent(mailbox_.front())) {
    Pump();
    return;
  }
  Item item;
  if (mailbox_.front().turn == nullptr) {
    item = std::move(mailbox_.front());
    mailbox_.pop_front();
    if (item.message.has_value()) --queued_messages_;
  } else {
    item.operation = agent_died_ ? v1::OPERATION_RECOVER : v1::OPERATION_START;
  }
  FailMove(std::move(item), open);
}

}  // namespace understudy::session
