// Finds processes by a mark in their environment and kills them: what a server
// that is gone left behind, and what a guard that was killed cannot kill any
// more. Never by name.
//
// A server's mark is "BOOT:PIDNS:PID:START": the boot, the PID namespace, the
// server's pid there, and when that process started, in the kernel's clock
// ticks. Together they name one process for ever, so whether it still runs can
// be told for sure. An agent's mark is its server's, "/" and a number.
//
// Threads: any. It blocks: for milliseconds, at most two seconds.

#ifndef UNDERSTUDY_SESSION_PROCESS_SWEEP_H_
#define UNDERSTUDY_SESSION_PROCESS_SWEEP_H_

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace understudy::session {

// This process's mark, for PosixLauncherOptions::marker_value.
absl::StatusOr<std::string> NewServerMark();

enum class MarkState {
  kRuns,     // its server runs
  kGone,     // its server has ended
  kUnknown,  // malformed, of another boot or of another PID namespace
};
MarkState JudgeMark(std::string_view mark);

// Kills every process of this user whose environment says `marker_name`= the
// mark of a server that is gone, and waits until they are. `our_mark` and marks
// that cannot be judged are left alone, and so are this process and those it
// descends from. Returns how many were killed.
size_t SweepLeftovers(std::string_view marker_name, std::string_view our_mark);

// Kills every process of this user that has exactly `mark`, or is of the
// session that the process `session` led (0: none). Does not wait. Returns how
// many were still alive.
size_t KillMarked(std::string_view marker_name, std::string_view mark,
                  pid_t session);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_SWEEP_H_
