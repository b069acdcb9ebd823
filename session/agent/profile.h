// Profile: the configuration of an agent kind: how it is started and what is
// allowed to it. Immutable after the server has started.

#ifndef UNDERSTUDY_SESSION_AGENT_PROFILE_H_
#define UNDERSTUDY_SESSION_AGENT_PROFILE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace understudy::session {

struct Profile {
  enum class PermissionPolicy {
    kAsk,    // wait for a client until permission_timeout, then deny
    kAllow,  // allow at once
    kDeny,   // deny at once
  };

  std::string name;
  std::string kind;     // agents.def
  std::string command;  // program; looked up in PATH if it has no slash
  std::vector<std::string> args;  // before those of the kind
  // What the agent's environment consists of, beside the marker: `env`, and
  // the variables of pass_env already taken from the server's environment.
  std::map<std::string, std::string> env;

  std::string default_model;    // "": the agent's own default
  std::string permission_mode;  // "": the agent's own default
  PermissionPolicy permission_policy = PermissionPolicy::kAsk;

  bool native_switch = true;  // false: NATIVE_SWITCH_NEVER
  bool native_clear = true;
  bool native_resume = true;
  bool interrupt = true;
  bool permissions = true;

  absl::Duration start_timeout = absl::Seconds(30);
  absl::Duration switch_timeout = absl::Seconds(10);
  absl::Duration quiesce_timeout = absl::Hours(1);
  absl::Duration turn_timeout = absl::Hours(24);
  absl::Duration interrupt_timeout = absl::Seconds(10);
  absl::Duration permission_timeout = absl::Hours(12);
  absl::Duration stop_grace = absl::Seconds(3);
  absl::Duration idle_timeout = absl::Minutes(10);

  size_t max_line_bytes = 32 << 20;
  // Of an agent and all its descendants together. 0: no bound.
  uint64_t max_memory_bytes = 0;
  // How long an agent may leave unread what is written to it.
  absl::Duration write_timeout = absl::Seconds(30);
  int max_slots = 0;  // 0: only the server's bound

  // Sessions of one tenant and working directory that may share a process, if
  // the kind can.
  int sessions_per_process = 1;
  std::string auth_method;  // acp: of `authenticate`; "": none is needed
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_PROFILE_H_
