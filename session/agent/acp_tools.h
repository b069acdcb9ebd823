// AcpTools: the tools that an agent which speaks ACP is using in its turn. An
// update names only what has changed, and may be the first that is heard of a
// use (Gemini CLI 0.61 announces none that had to be allowed). Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_TOOLS_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_TOOLS_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/base/json.h"

namespace understudy::session {

// The tool's name, as far as a tool call gives one.
std::string AcpToolName(JsonValue call);

// What the `content` of a tool call shows, as text.
std::string AcpContentText(JsonValue content);

class AcpTools {
 public:
  struct Told {
    std::vector<v1::Event> events;  // tool_call, tool_result
    // More of the output of a tool that is still running.
    std::string output;
  };

  // A `tool_call` or `tool_call_update`, or the tool call of a permission
  // request.
  Told Update(JsonValue update);

  // As far as it is known; null if nothing has been heard of it.
  const v1::ToolCall* Find(std::string_view tool_call_id) const {
    const auto it = uses_.find(tool_call_id);
    return it == uses_.end() ? nullptr : &it->second.call;
  }

  void BeginTurn() { uses_.clear(); }

 private:
  struct Use {
    v1::ToolCall call;
    std::string output;  // that has been told
    bool over = false;
  };

  std::map<std::string, Use, std::less<>> uses_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_TOOLS_H_
