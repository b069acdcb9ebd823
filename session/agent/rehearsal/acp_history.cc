#include "session/agent/rehearsal/acp_history.h"

#include <string>
#include <string_view>

#include "session/agent/rehearsal/acp_frames.h"
#include "session/agent/rehearsal/permission_rules.h"

namespace understudy::session {
namespace {

// The content of the protocol that a block of the transcript is; null if it is
// none that a client is shown.
Json ContentOf(const Json& block) {
  if (GetString(block, "type") == "image") {
    const Json& source = Get(block, "source");
    return {{"type", "image"},
            {"mimeType", GetString(source, "media_type")},
            {"data", GetString(source, "data")}};
  }
  if (GetString(block, "type") != "text") return nullptr;
  const std::string text = GetString(block, "text");
  for (std::string_view not_by_the_user :
       {"[Request interrupted by user", "<task-notification>"}) {
    if (text.rfind(not_by_the_user, 0) == 0) return nullptr;
  }
  return TextContent(text);
}

Json BlocksOf(const Json& message) {
  const Json& content = Get(message, "content");
  if (!content.is_string()) return content;
  return Json::array({TextContent(content.get<std::string>())});
}

Json ToolEnd(const Json& block) {
  const bool failed = GetBool(block, "is_error", false);
  const std::string text = GetString(block, "content");
  return {{"sessionUpdate", "tool_call_update"},
          {"toolCallId", GetString(block, "tool_use_id")},
          {"status", failed ? "failed" : "completed"},
          {"content", ToolContent(text)},
          {"rawOutput", {{failed ? "error" : "output", text}}}};
}

Json ToolCall(const Json& block) {
  const std::string name = GetString(block, "name");
  const std::string subject = SubjectOf(Get(block, "input"));
  return {{"sessionUpdate", "tool_call"},
          {"toolCallId", GetString(block, "id")},
          {"title", subject.empty() ? name : subject},
          {"kind", ToolKind(name)},
          {"status", "pending"},
          {"locations", Json::array()},
          {"rawInput", Get(block, "input")}};
}

}  // namespace

std::vector<Json> HistoryUpdates(const std::vector<Json>& rows) {
  std::vector<Json> updates;
  size_t last_prompt = 0;  // where it begins
  for (const Json& row : rows) {
    if (GetBool(row, "isApiErrorMessage", false)) {
      updates.resize(last_prompt);
      continue;
    }
    const bool by_user = GetString(row, "type") == "user";
    const Json& message = Get(row, "message");
    const std::string id =
        by_user ? GetString(row, "uuid") : GetString(message, "id");
    bool begins = true;
    for (const Json& block : BlocksOf(message)) {
      const std::string type = GetString(block, "type");
      const Json content = ContentOf(block);
      if (by_user && !content.is_null()) {
        if (begins) last_prompt = updates.size();
        begins = false;
        updates.push_back(Chunk("user_message_chunk", id, content));
      } else if (!content.is_null()) {
        updates.push_back(Chunk("agent_message_chunk", id, content));
      } else if (type == "thinking") {
        updates.push_back(Chunk("agent_thought_chunk", id,
                                TextContent(GetString(block, "thinking"))));
      } else if (type == "tool_use") {
        updates.push_back(ToolCall(block));
      } else if (type == "tool_result") {
        updates.push_back(ToolEnd(block));
      }
    }
  }
  return updates;
}

}  // namespace understudy::session
