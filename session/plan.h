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

// What there is to work with.
struct Situation {
  std::optional<Capabilities> running;  // what the agent that runs can do
  bool background = false;              // it has tasks running beside its turns
  bool holds = false;   // it has the wanted conversation open already
  bool room = true;     // another process may start beside it
  bool spoken = false;  // the conversation that is has something to lose
};

// Without a route: it cannot be done.
Plan MakePlan(const Target& wanted, const Situation& now);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PLAN_H_
