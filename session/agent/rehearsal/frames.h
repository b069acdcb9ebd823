// The lines of Claude Code's stream-json, each with the keys and the key order
// of the real ones (a `result` names its type late; hosts must not rely on a
// prefix).
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_FRAMES_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_FRAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/json.h"

namespace understudy::session {

// The uuids that the host stamped on the messages of a turn; empty if it
// stamped none. Old versions echo none.
using HostUuids = std::vector<std::string>;

struct TurnResult {
  bool is_error = false;
  std::string subtype = "success";
  std::string terminal_reason = "completed";
  std::string stop_reason = "end_turn";  // "" is null
  std::string text;
  int num_turns = 1;
  TokenUsage usage;
  int api_error_status = 0;  // 0 is null
  std::string api_error_type;
  std::vector<std::string> errors;
  std::optional<std::string> local_command;  // "" for one that did not run
  Json permission_denials = Json::array();
  Json origin;  // of a turn that no message of the user caused
  int64_t duration_ms = 0;
};

Json InitializeResponse(const Conversation& c, bool running);
Json ModelList(const Conversation& c);
Json InitFrame(const Conversation& c, std::string_view model,
               const HostUuids& uuids);
// {"type":"system","subtype":SUBTYPE, members..., uuid, session_id}
Json SystemFrame(const Conversation& c, std::string_view subtype,
                 const Json& members);
Json LifecycleFrame(const Conversation& c, std::string_view command_uuid,
                    std::string_view state);
Json StreamEvent(const Conversation& c, const Json& event,
                 std::string_view message_id);
Json AssistantMessage(std::string_view message_id, std::string_view model,
                      const Json& content, int64_t input_tokens);
// What the program says itself, as the model "<synthetic>".
Json SyntheticMessage(std::string_view text, std::string_view stop_reason);
Json AssistantFrame(const Conversation& c, const Json& message,
                    const Json& members, const HostUuids& uuids);
Json UserFrame(const Conversation& c, const Json& content, const Json& members);
// A user line as it is repeated to the host.
Json ReplayFrame(const Conversation& c, const Json& content,
                 std::string_view uuid);
Json ResultFrame(const Conversation& c, const TurnResult& result,
                 const HostUuids& uuids);
// The only line of a process that cannot resume.
Json NoConversationFrame(std::string_view session_id, std::string_view error);
Json BackgroundTasksFrame(const Conversation& c);
double TotalCost(const Conversation& c);
Json CostState(const Conversation& c);
// What an earlier process of the conversation left as its CostState.
void RestoreCost(Conversation& c);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_FRAMES_H_
