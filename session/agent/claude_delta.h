// The one line that Claude Code writes hundreds of times a second, read by its
// form: a piece of text or of a thought. What is taken for granted is checked
// on every line; a line of any other form is left to the JSON reader.
//
// Threads: any.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_DELTA_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_DELTA_H_

#include <optional>
#include <string>
#include <string_view>

#include "session/agent/agent.h"

namespace understudy::session {

struct ClaudeDelta {
  DeltaKind kind;
  std::string_view text;  // in `line` or in `scratch`
};

// Nothing if `line` is something else, or the same in another form.
std::optional<ClaudeDelta> ReadClaudeDelta(std::string_view line,
                                           std::string& scratch);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_DELTA_H_
