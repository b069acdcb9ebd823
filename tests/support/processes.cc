#include "tests/support/processes.h"

#include <dirent.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "session/base/unique_fd.h"

namespace understudy::session {

std::string StatField(pid_t pid, int field) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const size_t name_end = text.str().rfind(')');
  if (name_end == std::string::npos) return "";
  std::istringstream rest(text.str().substr(name_end + 1));
  std::string value;
  for (int i = 3; i <= field; ++i) rest >> value;
  return value;
}

bool IsAlive(pid_t pid) {
  const std::string state = StatField(pid, 3);
  return !state.empty() && state != "Z" && state != "X";
}

bool WaitUntilGone(const std::vector<pid_t>& pids, absl::Duration limit) {
  const absl::Time deadline = absl::Now() + limit;
  for (const pid_t pid : pids) {
    // Readable when the process has ended, a child or not.
    const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd) continue;
    pollfd ended = {pidfd.get(), POLLIN, 0};
    const auto left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (poll(&ended, 1, static_cast<int>(left > 0 ? left : 0)) != 1) {
      return false;
    }
  }
  return true;
}

std::vector<pid_t> ChildrenOfThisProcess() {
  std::vector<pid_t> children;
  DIR* const proc = opendir("/proc");
  if (proc == nullptr) return children;
  while (const dirent* entry = readdir(proc)) {
    const pid_t pid = static_cast<pid_t>(atoi(entry->d_name));
    if (pid > 0 && StatField(pid, 4) == absl::StrCat(getpid())) {
      children.push_back(pid);
    }
  }
  closedir(proc);
  return children;
}

int OpenDescriptors() {
  int count = 0;
  DIR* const fds = opendir("/proc/self/fd");
  if (fds == nullptr) return -1;
  while (const dirent* entry = readdir(fds)) count += entry->d_name[0] != '.';
  closedir(fds);
  return count - 1;  // the one that looks
}

}  // namespace understudy::session
