// What Claude Code says: its lines, read into events and facts. Pure. What a
// line means for the turns is ClaudeTurns' business, and what is done about it
// that of the agent.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_EVENTS_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_EVENTS_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "session/agent/agent.h"
#include "session/base/json.h"

namespace understudy::session {

// `system/init`: a turn begins, and this is how things are.
struct ClaudeInit {
  std::string conversation;
  std::string model;
  std::string permission_mode;
  std::string version;
  std::string commands;               // their names, joined
  std::vector<std::string> messages;  // uuids of those it begins with
  bool echoes = false;  // it names the messages of turns that have some
};
ClaudeInit ReadClaudeInit(JsonValue line);

// `result`: a turn ended.
struct ClaudeResult {
  std::string conversation;
  std::vector<std::string> messages;
  bool foreign = false;  // something else than a message began it
  TurnEnd end;           // all but the id
};
// `model` is the one it ran on, as far as that is known.
ClaudeResult ReadClaudeResult(JsonValue line, std::string_view model);

// The events in a line that says nothing about turns and asks for nothing;
// none where it is only there for the protocol. Nothing if it is not known.
std::optional<std::vector<v1::Event>> ReadClaudeEvents(JsonValue line);

// `system/init`, `stream_event/message_start`, `result`, ...
std::string ClaudeLineType(JsonValue line);

// The models in the answer to `initialize`.
std::vector<ModelInfo> ReadClaudeModels(JsonValue models);

// Why `set_model` was refused. MODEL_REJECTED where the model is the reason.
absl::Status ClaudeModelError(std::string_view model, JsonValue answer);

// Why `set_permission_mode` was refused. FIELD_INVALID: there is no such mode,
// or not for this process, and it is as it was.
absl::Status ClaudeModeError(std::string_view mode, JsonValue answer);

// The first version that takes a message as text when it is told to.
bool ClaudeKnowsComposed(std::string_view version);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_EVENTS_H_
