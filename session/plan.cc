#include "session/plan.h"

namespace understudy::session {

Plan MakePlan(const Target& wanted, const std::optional<Capabilities>& running,
              bool background, bool room) {
  Plan plan;
  if (running.has_value()) {
    const bool fresh =
        wanted.conversation.has_value() && wanted.conversation->empty();
    const bool load =
        wanted.conversation.has_value() && !wanted.conversation->empty();
    // A task that a native clear or load leaves running would later speak into
    // the other conversation.
    const bool native = (!wanted.model.has_value() || running->switch_model) &&
                        (!fresh || running->new_conversation) &&
                        (!load || running->load_conversation) &&
                        (!background || !wanted.conversation.has_value());
    if (native) plan.routes.push_back(Route::kNative);
    plan.break_before_make = !room || !running->shared_conversation;
  }
  plan.routes.push_back(Route::kRestart);
  return plan;
}

}  // namespace understudy::session
