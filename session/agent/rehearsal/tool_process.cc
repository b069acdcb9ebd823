#include "session/agent/rehearsal/tool_process.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace understudy::session {
namespace {

// Forks, and calls `become` in the child, which is to end in exec. Returns
// when it has, or has failed to.
template <typename Become>
pid_t Start(Become become) {
  int executed[2];
  if (pipe2(executed, O_CLOEXEC) != 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    become();
    _exit(127);
  }
  close(executed[1]);
  char nothing;
  [[maybe_unused]] ssize_t n = read(executed[0], &nothing, 1);
  close(executed[0]);
  return pid;
}

}  // namespace

pid_t StartSleep(const std::string& seconds) {
  return Start([&] {
    int null = open("/dev/null", O_RDWR);
    for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
    signal(SIGPIPE, SIG_DFL);
    // The second command keeps the shell from becoming `sleep` itself.
    execl("/bin/sh", "sh", "-c", "sleep \"$1\"; exit $?", "sh", seconds.c_str(),
          nullptr);
  });
}

pid_t StartOrphan(const std::string& seconds) {
  return Start([&] {
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    execlp("sleep", "sleep", seconds.c_str(), nullptr);
  });
}

void KillTree(pid_t pid) { kill(-pid, SIGKILL); }

}  // namespace understudy::session
