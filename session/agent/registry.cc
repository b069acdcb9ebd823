#include <array>

#include "session/agent/agent.h"

namespace understudy::session {

#define AGENT_KIND(name) extern const AgentKind kAgentKind_##name;
#include "session/agent/agents.def"
#undef AGENT_KIND

namespace {

constexpr std::array kKinds = {
#define AGENT_KIND(name) &kAgentKind_##name,
#include "session/agent/agents.def"
#undef AGENT_KIND
};

}  // namespace

const AgentKind* FindAgentKind(std::string_view name) {
  for (const AgentKind* kind : kKinds) {
    if (kind->name == name) return kind;
  }
  return nullptr;
}

std::vector<std::string_view> AgentKindNames() {
  std::vector<std::string_view> names;
  for (const AgentKind* kind : kKinds) names.push_back(kind->name);
  return names;
}

}  // namespace understudy::session
