#include "session/agent_catalog.h"

namespace understudy::session {

void AgentCatalog::Learn(std::string_view profile, const Agent& agent) {
  absl::MutexLock lock(&mu_);
  rows_.insert_or_assign(std::string(profile),
                         Row{true, std::string(agent.version()),
                             agent.capabilities(), agent.models()});
}

AgentCatalog::Row AgentCatalog::Find(std::string_view profile) const {
  absl::MutexLock lock(&mu_);
  const auto it = rows_.find(profile);
  return it == rows_.end() ? Row() : it->second;
}

}  // namespace understudy::session
