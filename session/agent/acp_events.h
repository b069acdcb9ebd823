// What an agent that speaks ACP says beside its messages and tools, read into
// events and facts. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_EVENTS_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_EVENTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/agent/json_rpc.h"
#include "session/base/json.h"

namespace understudy::session {

// The code of an error that asks for `authenticate`, or for a login.
inline constexpr int64_t kAcpAuthRequired = -32000;

// The event of a `plan`, `notice` or compaction; nothing of another update.
std::optional<v1::Event> ReadAcpUpdate(std::string_view type, JsonValue update);

// The names in an available_commands_update, joined.
std::string ReadAcpCommands(JsonValue update);

// The cost in a usage_update: what the conversation has cost so far, as far as
// this process knows.
std::optional<double> ReadAcpCost(JsonValue update);

// An update that says that the turn has failed: codex-acp 2.6 answers the
// prompt as if it had not, with the error as the text of its last message.
bool SaysAcpFailure(std::string_view type, JsonValue update);
// Makes `end`, which has that text, the end of such a turn.
void FailAcpTurn(TurnEnd& end);

// Whether an error is about the model that was to be used.
bool IsAboutModel(std::string_view text);

// The answer to a prompt: how its turn ended; all but the id and the text.
TurnEnd ReadAcpTurnEnd(const JsonRpcMessage& answer);

// Whether it says that the agent does not know the conversation.
bool SaysLost(const JsonRpcMessage& answer);

// Adds those of a page of session/list that belong to `directory`, or of which
// it does not say where they belong.
void ReadAcpConversations(JsonValue page, const std::string& directory,
                          std::vector<LocalConversation>& conversations);

// A conversation's id is one that the service can name to its clients.
bool IsAcpConversation(std::string_view id);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_EVENTS_H_
