// What agents that speak ACP claim in their handshake and do not keep, and what
// the protocol has no word for. By the name that an agent gives itself; an
// agent that is not here is taken at its word. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_QUIRKS_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_QUIRKS_H_

#include <string_view>

namespace understudy::session {

struct AcpQuirks {
  // session/load is offered, and loses the conversation: Gemini CLI 0.61 begins
  // a new header in the same file, which hides the history when it is loaded
  // within a minute of its beginning, and deletes at a later start what was
  // loaded once.
  bool load_is_broken = false;
  // A conversation that one process has opened cannot be opened by another
  // until the first has ended, also after session/close: codex-acp 2.6.
  bool one_writer = false;
  // Warnings of the agent's own come as if the model had said them, in chunks
  // that begin with this: codex-acp 2.6.
  std::string_view warning = {};
};

inline AcpQuirks FindAcpQuirks(std::string_view agent) {
  if (agent == "gemini-cli") return {.load_is_broken = true};
  if (agent == "@agentclientprotocol/codex-acp") {
    return {.one_writer = true, .warning = "Warning: Model metadata "};
  }
  return {};
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_QUIRKS_H_
