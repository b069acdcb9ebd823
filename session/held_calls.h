// HeldCalls: what an agent says while its session must not hear it, to be told
// in the same order afterwards. The agent is read no further meanwhile, so that
// little collects.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_HELD_CALLS_H_
#define UNDERSTUDY_SESSION_HELD_CALLS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "session/agent/agent.h"
#include "session/slot_pool.h"

namespace understudy::session {

class HeldCalls final : public Agent::Observer {
 public:
  using Call = absl::AnyInvocable<void(Agent::Observer&) &&>;

  // Holds from now on what the agent of `slot` says, until another observer
  // adopts it.
  void Hold(Slot& slot) {
    slot.Adopt(this);
    slot.agent().set_reading(false);
  }

  // Whether it took up a turn of its own meanwhile.
  bool turned() const { return turned_; }

  std::vector<Call> Take() { return std::exchange(calls_, {}); }

  void OnDelta(DeltaKind kind, std::string_view tool_call_id,
               std::string_view text, std::string_view raw) override {
    calls_.push_back([kind, id = std::string(tool_call_id),
                      text = std::string(text),
                      raw = std::string(raw)](Agent::Observer& observer) {
      observer.OnDelta(kind, id, text, raw);
    });
  }
  void OnEvent(v1::Event event, std::string_view raw) override {
    calls_.push_back([event = std::move(event), raw = std::string(raw)](
                         Agent::Observer& observer) mutable {
      observer.OnEvent(std::move(event), raw);
    });
  }
  void OnTurnStarted(std::string_view turn_id, std::string_view raw) override {
    turned_ = true;
    calls_.push_back([id = std::string(turn_id),
                      raw = std::string(raw)](Agent::Observer& observer) {
      observer.OnTurnStarted(id, raw);
    });
  }
  void OnTurnEnded(TurnEnd end, std::string_view raw) override {
    calls_.push_back([end = std::move(end), raw = std::string(raw)](
                         Agent::Observer& observer) mutable {
      observer.OnTurnEnded(std::move(end), raw);
    });
  }
  void OnPermissionWithdrawn(std::string_view permission_id) override {
    calls_.push_back(
        [id = std::string(permission_id)](Agent::Observer& observer) {
          observer.OnPermissionWithdrawn(id);
        });
  }
  void OnStateChanged() override {
    calls_.push_back(
        [](Agent::Observer& observer) { observer.OnStateChanged(); });
  }
  void OnQuiet() override {
    calls_.push_back([](Agent::Observer& observer) { observer.OnQuiet(); });
  }
  void OnLost(const Loss& loss) override {
    calls_.push_back(
        [loss](Agent::Observer& observer) { observer.OnLost(loss); });
  }

 private:
  std::vector<Call> calls_;
  bool turned_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_HELD_CALLS_H_
