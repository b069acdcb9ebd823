#include "session/agent/rehearsal/agent_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>

namespace understudy::session {

AgentLog::AgentLog(const std::string& path) {
  if (path.empty()) return;
  fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

AgentLog::~AgentLog() {
  if (fd_ >= 0) close(fd_);
}

void AgentLog::Write(const Json& entry) {
  if (fd_ < 0) return;
  std::chrono::duration<double> now =
      std::chrono::system_clock::now().time_since_epoch();
  Json line = {
      {"time", now.count()}, {"pid", getpid()}, {"session_id", session_id_}};
  line.update(entry);
  std::string text = Dump(line) + "\n";
  // A log that cannot be written must not change what the agent does.
  [[maybe_unused]] ssize_t n = write(fd_, text.data(), text.size());
}

}  // namespace understudy::session
