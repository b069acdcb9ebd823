// The conversations that Claude Code keeps on this machine, one file each:
//
//   ${CLAUDE_CONFIG_DIR:-$HOME/.claude}/projects/<key>/<id>.jsonl
//
// with the agent's environment, and for a key the real path of the working
// directory with everything but letters and digits replaced by "-"; what is
// longer than 200 characters is cut there and followed by "-" and a hash that
// only the program knows (2.1.197, 2.1.329).
//
// Files are read, never written. The functions block; they may be called from
// any thread.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_TRANSCRIPTS_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_TRANSCRIPTS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/agent/profile.h"

namespace understudy::session {

// Those of a working directory in which something was said, newest first.
std::vector<LocalConversation> ClaudeConversations(
    const Profile& profile, const std::string& working_directory, size_t limit);

// Whether another working directory has `conversation`, and this one has not.
// 2.1.329 would go on with it, under the wrong directory.
bool ClaudeConversationIsElsewhere(const Profile& profile,
                                   const std::string& working_directory,
                                   std::string_view conversation);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_TRANSCRIPTS_H_
