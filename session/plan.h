// Which routes a transition tries, cheapest first. Pure.

#ifndef UNDERSTUDY_SESSION_PLAN_H_
#define UNDERSTUDY_SESSION_PLAN_H_

#include <optional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "session/agent/agent.h"

namespace understudy::session {

// Where a session is to be. Unset: as it is.
struct Target {
  std::optional<std::string> model;         // "": the agent's own default
  std::optional<std::string> conversation;  // "": a fresh one
};

enum class Route { kNative, kRestart };

struct Plan {
  absl::InlinedVector<Route, 2> routes;
  // The running agent has to go before another one may start.
  bool break_before_make = false;
};

// `running`: what the agent that runs can do; nothing if none runs.
// `background`: it has tasks running beside its turns.
// `room`: another process may start beside it.
Plan MakePlan(const Target& wanted, const std::optional<Capabilities>& running,
              bool background, bool room);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PLAN_H_
