// Retiring: an agent that has been replaced or parked, from the moment it
// serves no more until it is gone. What it still says is not heard.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_RETIRING_H_
#define UNDERSTUDY_SESSION_RETIRING_H_

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/session.h"
#include "session/slot_pool.h"

namespace understudy::session {

class Session::Retiring final : public Agent::Observer {
 public:
  using Gone = absl::AnyInvocable<void(Retiring*, const Loss&)>;

  Retiring(std::unique_ptr<Slot> slot, absl::Time since, bool goes_first,
           Gone gone)
      : slot_(std::move(slot)),
        since_(since),
        goes_first_(goes_first),
        gone_(std::move(gone)) {
    slot_->Adopt(this);
  }

  void Stop(absl::Duration grace) { slot_->agent().Stop(grace); }
  pid_t pid() const { return slot_->agent().pid(); }
  const Slot* slot() const { return slot_.get(); }
  absl::Time since() const { return since_; }
  // It may still write to its conversation, or holds it: it has to be gone
  // before another starts.
  bool goes_first() const { return goes_first_; }

  void OnDelta(DeltaKind, std::string_view, std::string_view,
               std::string_view) override {}
  void OnEvent(v1::Event, std::string_view) override {}
  void OnTurnStarted(std::string_view, std::string_view) override {}
  void OnTurnEnded(TurnEnd, std::string_view) override {}
  void OnPermissionWithdrawn(std::string_view) override {}
  void OnStateChanged() override {}
  void OnQuiet() override {}
  // Destroys this.
  void OnLost(const Loss& loss) override { gone_(this, loss); }

 private:
  const std::unique_ptr<Slot> slot_;
  const absl::Time since_;
  const bool goes_first_;
  Gone gone_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_RETIRING_H_
