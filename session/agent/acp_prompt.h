// The params of a session/prompt. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_PROMPT_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_PROMPT_H_

#include <string>
#include <string_view>

#include "session/agent/agent.h"

namespace understudy::session {

// Text is text: where it begins with a slash, also behind spaces, agents look
// for a command in it (claude-agent-acp 0.100 and Gemini CLI 0.61 carry it out,
// OpenCode 1.18 swallows what it does not know, codex-acp 2.6 does not ask the
// model), unless something else comes first. That is an invisible character.
std::string AcpPromptParams(std::string_view conversation,
                            const TurnInput& input);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_PROMPT_H_
