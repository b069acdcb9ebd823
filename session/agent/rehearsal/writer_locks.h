// Who writes a conversation, among the agents that care (--acp-exclusive): the
// first process that opened it, until it is gone. The kernel keeps the lock of
// a file in ${CLAUDE_CONFIG_DIR:-$HOME/.claude}/locks, and frees it however
// the process ends.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_WRITER_LOCKS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_WRITER_LOCKS_H_

#include <map>
#include <string>

namespace understudy::session {

class WriterLocks {
 public:
  WriterLocks() = default;
  WriterLocks(const WriterLocks&) = delete;
  WriterLocks& operator=(const WriterLocks&) = delete;
  ~WriterLocks();

  // False: another process has it.
  bool Take(const std::string& session_id);

 private:
  std::map<std::string, int> files_;  // descriptors
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_WRITER_LOCKS_H_
