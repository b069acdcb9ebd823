// Processes that the agent starts: the tree of a Bash tool call, and what a
// fault leaves behind. Each is in a session and a process group of its own,
// as the real program's tools are, when the function returns.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_TOOL_PROCESS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_TOOL_PROCESS_H_

#include <sys/types.h>

#include <string>

namespace understudy::session {

// Runs `sleep SECONDS` below a shell, without the agent's standard streams.
// Answers the shell's pid, -1 if it cannot be started.
pid_t StartSleep(const std::string& seconds);
// Runs `sleep SECONDS` with the agent's standard streams, and with SIGTERM and
// SIGHUP ignored.
pid_t StartOrphan(const std::string& seconds);
// Ends the whole group at once. The process itself is still to be waited for.
void KillTree(pid_t pid);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_TOOL_PROCESS_H_
