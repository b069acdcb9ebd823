// The watchdog: what holds a session for longer than all its own bounds allow
// is our own fault or that of an agent that keeps none. It is let go of, and
// told so; the session goes on with what waits.

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/log.h"
#include "session/retiring.h"
#include "session/session.h"

namespace understudy::session {
namespace {

// Beside the bounds that add up; a loaded machine is no reason to let go.
constexpr absl::Duration kMargin = absl::Seconds(30);
constexpr absl::Duration kStoreWait = absl::Seconds(10);

}  // namespace

void Session::LookAfter(absl::Time now) {
  if (undecided_ != nullptr) return;  // that has a bound of its own
  // A store that takes nothing is tried on, but nobody waits for it for ever.
  if (const absl::Status& health = ground_.committer.health(); !health.ok()) {
    ledger_.TellWhoWaits(now - kStoreWait, health);
    for (const std::shared_ptr<Turn>& turn : ending_) {
      for (Reply<SendResult>& reply : std::exchange(turn->waiting, {})) {
        std::move(reply)(health);
      }
    }
  }
  const absl::Duration stop = 4 * profile_.stop_grace + kMargin;
  // A change by the running agent, its end, the wait for a slot, a start.
  const absl::Duration move =
      profile_.switch_timeout + stop + 2 * profile_.start_timeout;
  const auto late = [this](std::string_view what) {
    Log(LogLevel::kError, "held for too long: let go",
        {{"session_id", record_.session_id()}, {"what", what}});
    return MakeError(
        Reason::kAgentUnresponsive,
        absl::StrCat("session ", record_.session_id(), ": ", std::string(what),
                     " kept none of its bounds"));
  };
  for (const std::unique_ptr<Retiring>& retiring : retiring_) {
    if (now - retiring->since() <= stop) continue;
    const Loss loss{.exit = {.cause = ExitStatus::Cause::kStopped},
                    .why = late("a process that was told to end")};
    Retired(retiring.get(), loss);
    break;  // the next one next time
  }
  if (!closed_.ok()) return;
  if ((transition_ != nullptr || busy_) && now - step_began_ > move) {
    const absl::Status why = late("a transition");
    const std::shared_ptr<Item> item = std::exchange(moving_item_, nullptr);
    transition_ = nullptr;
    busy_ = false;
    if (slot_ != nullptr) Retire(std::move(slot_));
    if (item != nullptr) FailMove(std::move(*item), why);
  }
  const std::shared_ptr<Turn> turn = current_turn();
  if (turn != nullptr && slot_ != nullptr && turn->timed_out &&
      now - turn->timed_out_at > profile_.interrupt_timeout + kMargin) {
    EndMidTurn(late("a turn"));
  }
}

}  // namespace understudy::session
