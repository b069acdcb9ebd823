// AgentCatalog: what handshakes have told about the agents of each profile, so
// that a listing need not start one.
//
// Threads: Learn on the loop, the rest on any thread.

#ifndef UNDERSTUDY_SESSION_AGENT_CATALOG_H_
#define UNDERSTUDY_SESSION_AGENT_CATALOG_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "session/agent/agent.h"

namespace understudy::session {

class AgentCatalog {
 public:
  struct Row {
    bool known = false;
    std::string version;
    Capabilities capabilities;
    std::vector<ModelInfo> models;
  };

  void Learn(std::string_view profile, const Agent& agent);
  Row Find(std::string_view profile) const;

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, Row, std::less<>> rows_ ABSL_GUARDED_BY(mu_);
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CATALOG_H_
