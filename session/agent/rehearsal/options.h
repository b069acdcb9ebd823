// The command line of the rehearsal agent: what a host passes to Claude Code,
// and the agent's own options.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_OPTIONS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "session/agent/rehearsal/acp_options.h"
#include "session/agent/rehearsal/misbehaviour.h"

namespace understudy::session {

// The group of the options that a host passes to Claude Code.
inline constexpr char kClaudeGroup[] = "What a host passes to Claude Code";

struct Options {
  // Claude Code's.
  std::string model;  // "" if not given
  std::string session_id;
  std::optional<std::string> resume;
  bool fork_session = false;
  bool include_partial_messages = false;
  bool replay_user_messages = false;
  bool asks_permission = false;  // --permission-prompt-tool stdio
  std::string permission_mode = "default";
  bool bypass_allowed = false;

  // The agent's own.
  Protocol protocol = Protocol::kStreamJson;
  AcpOptions acp;
  bool legacy = false;
  std::string log;
  bool log_lines = false;
  std::vector<std::string> models;
  std::vector<std::string> bad_models;
  std::vector<std::string> blind_models;
  std::vector<Fault> faults;
  int64_t deltas = 0;
  int delta_bytes = 8;
  bool write_in_blocks = false;

  const char* version() const { return legacy ? "2.1.197" : "2.1.329"; }
};

// Prints and answers an exit code if there is nothing to run: help, version,
// or a command line the real program refuses.
std::optional<int> ParseOptions(int argc, char** argv, Options& options);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_OPTIONS_H_
