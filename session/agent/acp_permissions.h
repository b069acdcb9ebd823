// AcpPermissions: the permission requests of a conversation that wait for an
// answer, and what such an answer says. Pure.
//
// Agents name their options as they like; what an option means is its kind.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_PERMISSIONS_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_PERMISSIONS_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/base/json.h"

namespace understudy::session {

class AcpPermissions {
 public:
  // A session/request_permission, now open, as an event. `id`: of the request,
  // as it stands in the text; its event has an id of its own, since another
  // process counts from the same number. `known`: what has been told of the
  // tool call that it is about, of which the request need not tell it again; or
  // null.
  v1::Event Open(std::string_view id, JsonValue params,
                 const v1::ToolCall* known);

  // Closes a request: the line to write; nothing if it is not open.
  std::optional<std::string> Answer(std::string_view permission_id,
                                    const PermissionAnswer& answer);
  // Closes it as cancelled.
  std::optional<std::string> Cancel(std::string_view permission_id);

  // The answer to a request that was never open.
  static std::string Cancelled(std::string_view id);

  // The permission that a request of the agent's asks for; "" if none does.
  std::string Find(std::string_view id) const;
  // Those that are open.
  std::vector<std::string> ids() const;

 private:
  struct Option {
    std::string id;
    v1::PermissionOptionKind kind;
  };
  struct Request {
    std::string id;
    std::vector<Option> options;
  };

  std::map<std::string, Request, std::less<>> open_;  // by permission
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_PERMISSIONS_H_
