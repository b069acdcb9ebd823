// What the agent is at this moment: the conversation it is in, its model, its
// permissions, what it has used. Shared by the control requests, which change
// it, and the turns, which read it anew for every request to the "model".
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_CONVERSATION_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_CONVERSATION_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "session/agent/rehearsal/agent_log.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"
#include "session/agent/rehearsal/misbehaviour.h"
#include "session/agent/rehearsal/models.h"
#include "session/agent/rehearsal/options.h"
#include "session/agent/rehearsal/transcript.h"

namespace understudy::session {

struct TokenUsage {
  int64_t input = 0;
  int64_t output = 0;
  double cost = 0;
};

// A command that runs on while turns come and go.
struct BackgroundTask {
  pid_t pid;
  std::string task_id;
  std::string run_id;
  std::string tool_use_id;
  std::string description;
  bool stopped = false;  // by the host
};

struct Conversation {
  const Options& options;
  Loop& loop;
  Misbehaviour& faults;
  AgentLog& log;
  Models models;
  Transcript transcript;
  std::string cwd;
  std::string model;
  std::string permission_mode;
  // "Always", for this process; what is between the parentheses as it is.
  std::set<std::string> allowed_tools = {};
  std::set<std::string> denied_tools = {};  // "never"
  std::vector<BackgroundTask> tasks = {};
  // By model, since the last /clear.
  std::map<std::string, TokenUsage> usage = {};
  int requests = 0;  // to the model
  int results = 0;
  bool failed = false;  // the last result was an error

  const std::string& session_id() const { return transcript.session_id(); }
  void Write(const Json& frame) {
    const bool streams = GetString(frame, "type") == "stream_event";
    if (streams) return loop.output().Line(Dump(frame));
    WriteLine(Dump(frame));
  }
  void WriteLine(const std::string& line) {
    if (options.log_lines) log.Write({{"event", "line"}, {"line", line}});
    loop.output().Line(line);
  }
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_CONVERSATION_H_
