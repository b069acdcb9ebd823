// Parts of the Agent Client Protocol's messages, in the shapes of real agents.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_FRAMES_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_FRAMES_H_

#include <optional>
#include <string>
#include <string_view>

#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/rpc.h"

namespace understudy::session {

Json InitializeResult(const Options& options);
// What session/new, load and resume answer of the conversation: configOptions,
// models, modes. It is at `model`.
Json SessionState(const Conversation& c, const std::string& model);
Json ConfigOptions(const Conversation& c, const std::string& model);
// A config_option_update; null if the agent has no such options.
Json ConfigUpdate(const Conversation& c, const std::string& model);
// Whether there is such a permission mode for the conversation.
bool IsMode(const Conversation& c, const std::string& mode);

Json AvailableCommands();
Json Chunk(std::string_view kind, std::string_view message_id,
           const Json& content);
Json TextContent(std::string_view text);
// The content of a tool_call_update that is a text.
Json ToolContent(std::string_view text);
// "execute" of "Bash"
std::string_view ToolKind(std::string_view tool);
Json PermissionOptions();
// The kind of such an option; "" if there is none with that id.
std::string_view KindOfOption(std::string_view option_id);
// A plan update of the input of a TodoWrite tool call.
Json Plan(const Json& input);
Json UsageUpdate(int64_t used, double dollars);
Json TurnUsage(const TokenUsage& usage);

RpcError NoSuchSession(const std::string& session_id);
RpcError InvalidParams(const std::string& why);
RpcError MethodNotFound(const std::string& method);
RpcError InternalError(const std::string& details);
RpcError ActiveWriter(const std::string& session_id);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_FRAMES_H_
