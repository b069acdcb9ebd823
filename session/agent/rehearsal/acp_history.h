// What session/load replays of a conversation.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_HISTORY_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_HISTORY_H_

#include <vector>

#include "session/agent/rehearsal/json.h"

namespace understudy::session {

// The `update` members of session/update, of the rows of a transcript: chunks
// of the user's messages, of the agent's and its thoughts, tool calls and their
// ends. A prompt that the API refused is not in the conversation.
std::vector<Json> HistoryUpdates(const std::vector<Json>& rows);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_HISTORY_H_
