// The agent's own account of what it was told and did (--log=FILE): one JSON
// object a line, appended in one write each, so that any number of agents can
// share a file and a checker can compare it with what the service claims.
//
// Every line has "time" (seconds since the epoch), "pid", "session_id" of the
// conversation at that moment, and "event"; --help lists the events.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_AGENT_LOG_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_AGENT_LOG_H_

#include <string>
#include <utility>

#include "session/agent/rehearsal/json.h"

namespace understudy::session {

class AgentLog {
 public:
  // Writes nothing if `path` is empty or cannot be opened.
  explicit AgentLog(const std::string& path);
  AgentLog(const AgentLog&) = delete;
  AgentLog& operator=(const AgentLog&) = delete;
  ~AgentLog();

  void set_session_id(std::string id) { session_id_ = std::move(id); }
  void Write(const Json& entry);

 private:
  int fd_ = -1;
  std::string session_id_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_AGENT_LOG_H_
