// Looking at processes from a test.

#ifndef UNDERSTUDY_TESTS_SUPPORT_PROCESSES_H_
#define UNDERSTUDY_TESTS_SUPPORT_PROCESSES_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace understudy::session {

// It runs: neither gone nor a zombie.
bool IsAlive(pid_t pid);

// Waits, without a loop, until none of `pids` runs. False after `limit`.
[[nodiscard]] bool WaitUntilGone(const std::vector<pid_t>& pids,
                                 absl::Duration limit);

// Children of this process, zombies included.
std::vector<pid_t> ChildrenOfThisProcess();

// A field of /proc/PID/stat, counted as proc(5) does (4 is the parent); empty
// if there is no such process.
std::string StatField(pid_t pid, int field);

// How many descriptors this process has open.
int OpenDescriptors();

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_PROCESSES_H_
