#include "session/plan.h"

namespace understudy::session {

Plan MakePlan(const Target& wanted, const Situation& now) {
  Plan plan;
  const std::optional<Capabilities>& running = now.running;
  const bool fresh =
      wanted.conversation.has_value() && wanted.conversation->empty();
  const bool load =
      wanted.conversation.has_value() && !wanted.conversation->empty();
  if (running.has_value()) {
    // A task that a native clear or load leaves running would later speak into
    // the other conversation.
    const bool native = (!wanted.model.has_value() || running->switch_model) &&
                        (!fresh || running->new_conversation) &&
                        (!load || running->load_conversation || now.holds) &&
                        (!now.background || !wanted.conversation.has_value());
    if (native) plan.routes.push_back(Route::kNative);
    plan.break_before_make = !now.room || !running->shared_conversation;
    // Another process could not go on with it.
    const bool continues =
        load || (!wanted.conversation.has_value() && now.spoken);
    if (continues && !running->resume_conversation) return plan;
  }
  plan.routes.push_back(Route::kRestart);
  return plan;
}

}  // namespace understudy::session
