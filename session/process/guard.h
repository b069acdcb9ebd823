// The server's end of one understudy-guard and, through it, of one agent.

#ifndef UNDERSTUDY_SESSION_PROCESS_GUARD_H_
#define UNDERSTUDY_SESSION_PROCESS_GUARD_H_

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "session/base/unique_fd.h"
#include "session/process/subprocess.h"

namespace understudy::session {

// All descriptors are non-blocking and closed on exec.
struct Guard {
  pid_t pid = 0;
  UniqueFd pidfd;        // of the guard
  UniqueFd socket;       // see guard_protocol.h
  UniqueFd stdin_pipe;   // what we write
  UniqueFd stdout_pipe;  // what we read
  UniqueFd stderr_pipe;  // what we read
};

// Starts the guard at `guard_path`, which starts `command` with `marker`
// ("NAME=value", may be empty) added to its environment. An error when there is
// no guard: then nothing was started.
absl::StatusOr<Guard> SpawnGuard(const std::string& guard_path,
                                 const Command& command,
                                 const std::string& marker);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_GUARD_H_
