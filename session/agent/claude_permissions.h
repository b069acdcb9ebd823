// ClaudePermissions: the permission requests of a Claude Code process that
// wait for an answer, and what such an answer says. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_PERMISSIONS_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_PERMISSIONS_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/base/json.h"

namespace understudy::session {

class ClaudePermissions {
 public:
  // A `can_use_tool` request, now open, as an event.
  v1::Event Open(std::string_view id, JsonValue request);

  struct Answered {
    std::string line;                 // to write
    std::vector<std::string> grants;  // for the rest of the session
  };
  // Closes a request; nothing if it is not open.
  std::optional<Answered> Answer(std::string_view id,
                                 const PermissionAnswer& answer);

  // Closes a request that has become void. False if it was not open.
  bool Withdraw(std::string_view id);

  // Those that are open.
  std::vector<std::string> ids() const;

 private:
  struct Request {
    std::string input;  // what the tool is called with: a JSON object
    std::string rules;  // to be remembered with ALLOW_ALWAYS; "": there is none
    std::vector<std::string> grants;  // the same for a later process
  };

  std::map<std::string, Request, std::less<>> open_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_PERMISSIONS_H_
