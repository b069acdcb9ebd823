// understudy-guard: starts one agent, and leaves no descendant of it.
//
//   understudy-guard DIRECTORY PROGRAM [ARGUMENT]...
//
// Started by the server only, with the agent's stdin, stdout and stderr as
// descriptors 0, 1, 2, a socket to the server as 3 (guard_protocol.h), and the
// agent's environment. It is the subreaper of everything the agent starts: what
// is orphaned, in a session of its own or not, becomes the guard's child, so
// waitpid() saying ECHILD proves that nothing is left. It ends when that is so.
//
// It dies only by SIGKILL; then the agent is killed with it (PDEATHSIG), and
// the server looks for the rest.
//
// One thread, no C++ library, linked statically: it is up in well under a
// millisecond and stays small, because there is one for each agent.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "session/process/guard_protocol.h"

namespace understudy::session {
namespace {

// The agent's pid while it runs, 0 after it has been reaped.
pid_t agent = 0;

void Report(const GuardReport& report) {
  // If the server is gone, end of file will say so.
  (void)send(kGuardSocket, &report, sizeof(report), MSG_NOSIGNAL);
}

// --- Starting -------------------------------------------------------------

// execvp would hand a file that is no program to the shell; this does not.
int Exec(const char* program, char** argv) {
  if (strchr(program, '/') != nullptr) {
    execve(program, argv, environ);
    return errno;
  }
  const char* path = getenv("PATH");
  int error = ENOENT;
  while (path != nullptr) {
    const char* const colon = strchrnul(path, ':');
    char candidate[4096];
    const int size = snprintf(candidate, sizeof(candidate), "%.*s%s%s",
                              static_cast<int>(colon - path), path,
                              colon == path ? "./" : "/", program);
    if (size > 0 && size < static_cast<int>(sizeof(candidate))) {
      execve(candidate, argv, environ);
      if (errno != ENOENT && errno != ENOTDIR) error = errno;
      if (error != EACCES && error != ENOENT) return error;
    }
    path = *colon == ':' ? colon + 1 : nullptr;
  }
  return error;
}

// In the child, which shares the guard's memory until its exec. Returns only if
// something failed.
GuardReport BecomeAgent(pid_t guard, const char* directory, char** argv) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != guard) {  // it died before that was set
    return {GuardReport::kNotStarted, ECHILD};
  }
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (chdir(directory) != 0) return {GuardReport::kNoDirectory, errno};
  if (syscall(SYS_close_range, 3u, ~0u, 0u) != 0) {
    for (int fd = 3; fd < 1024; ++fd) close(fd);
  }
  return {GuardReport::kNotStarted, Exec(argv[0], argv)};
}

// What to report of it.
__attribute__((noinline)) GuardReport StartAgent(const char* directory,
                                                 char** argv) {
  const pid_t guard = getpid();
  volatile GuardReport::Kind kind = GuardReport::kStarted;
  volatile int error = 0;
  const pid_t pid = vfork();
  if (pid < 0) return {GuardReport::kNotStarted, errno};
  if (pid == 0) {
    const GuardReport failed = BecomeAgent(guard, directory, argv);
    kind = failed.kind;
    error = failed.value;
    _exit(127);
  }
  // vfork has returned: the exec has succeeded, or the child is gone.
  if (kind != GuardReport::kStarted) {
    waitpid(pid, nullptr, 0);
    return {kind, error};
  }
  agent = pid;
  return {GuardReport::kStarted, pid};
}

// --- The tree -------------------------------------------------------------

struct Pids {
  pid_t* data = nullptr;
  size_t size = 0;
  size_t capacity = 0;
};

// False when there is no memory: the caller makes do with what it has.
bool Add(Pids* pids, pid_t pid) {
  if (pids->size == pids->capacity) {
    const size_t capacity = pids->capacity == 0 ? 64 : 2 * pids->capacity;
    void* const data = realloc(pids->data, capacity * sizeof(pid_t));
    if (data == nullptr) return false;
    pids->data = static_cast<pid_t*>(data);
    pids->capacity = capacity;
  }
  pids->data[pids->size++] = pid;
  return true;
}

bool Contains(const Pids& pids, pid_t pid) {
  for (size_t i = 0; i < pids.size; ++i) {
    if (pids.data[i] == pid) return true;
  }
  return false;
}

// Reads a whole small file of /proc; -1 if it is not there.
ssize_t ReadFile(const char* path, char* buffer, size_t size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t done = 0;
  for (;;) {
    const ssize_t n = read(fd, buffer + done, size - 1 - done);
    if (n <= 0 || (done += n) == size - 1) break;
  }
  close(fd);
  buffer[done] = '\0';
  return static_cast<ssize_t>(done);
}

// Adds the children that the kernel lists for each thread of `pid`. False if
// this kernel has no such list.
bool AddChildren(pid_t pid, Pids* pids) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/task", pid);
  DIR* const tasks = opendir(path);
  if (tasks == nullptr) return true;  // it is gone
  bool listed = true;
  while (const dirent* task = readdir(tasks)) {
    if (task->d_name[0] == '.') continue;
    char list[16384];
    snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", pid,
             task->d_name);
    if (ReadFile(path, list, sizeof(list)) < 0) {
      listed = listed && errno != ENOENT;
      continue;
    }
    char* rest = list;
    for (char* word = strtok_r(list, " ", &rest); word != nullptr;
         word = strtok_r(nullptr, " ", &rest)) {
      const pid_t child = static_cast<pid_t>(atoi(word));
      if (child > 0 && !Contains(*pids, child)) Add(pids, child);
    }
  }
  closedir(tasks);
  return listed;
}

// The same by looking at every process, until no more is found.
void AddByParent(pid_t root, Pids* pids) {
  for (bool found = true; found;) {
    found = false;
    DIR* const proc = opendir("/proc");
    if (proc == nullptr) return;
    while (const dirent* entry = readdir(proc)) {
      const pid_t pid = static_cast<pid_t>(atoi(entry->d_name));
      if (pid <= 0 || Contains(*pids, pid)) continue;
      char path[64];
      char text[1024];
      snprintf(path, sizeof(path), "/proc/%d/stat", pid);
      if (ReadFile(path, text, sizeof(text)) < 0) continue;
      // pid (name) state parent ...; the name may hold anything.
      const char* const name_end = strrchr(text, ')');
      int parent = 0;
      if (name_end == nullptr ||
          sscanf(name_end + 1, " %*c %d", &parent) != 1) {
        continue;
      }
      if (parent == root || Contains(*pids, parent)) {
        found = Add(pids, pid);
      }
    }
    closedir(proc);
  }
}

// Every descendant of the guard, parents first.
void FindTree(Pids* pids) {
  pids->size = 0;
  bool listed = AddChildren(getpid(), pids);
  for (size_t i = 0; listed && i < pids->size; ++i) {
    listed = AddChildren(pids->data[i], pids);
  }
  if (!listed) AddByParent(getpid(), pids);
}

// --- Ending ---------------------------------------------------------------

// Reaps what has ended. False when no child is left: then there is no
// descendant at all.
bool Reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid == 0) return true;
    if (pid < 0) return errno != ECHILD;
    if (pid == agent) {
      agent = 0;
      Report({GuardReport::kEnded, status});
    }
  }
}

void Signal(const Pids& pids, int number) {
  for (size_t i = 0; i < pids.size; ++i) kill(pids.data[i], number);
}

// Kills every descendant and returns when none is left. They are stopped
// first, so that none starts another while the others are killed.
void KillTree(int signals) {
  Pids tree;
  for (int wait_ms = 1; Reap(); wait_ms = wait_ms < 64 ? 2 * wait_ms : 64) {
    size_t before;
    int rounds = 0;
    tree.size = 0;
    do {
      before = tree.size;
      FindTree(&tree);
      Signal(tree, SIGSTOP);
    } while (tree.size != before && ++rounds < 16);
    Signal(tree, SIGKILL);
    pollfd died = {signals, POLLIN, 0};
    poll(&died, 1, wait_ms);
    signalfd_siginfo info;
    while (read(signals, &info, sizeof(info)) > 0) {
    }
  }
  free(tree.data);
}

// Watches until the tree is to be killed.
void Guard(int signals) {
  while (agent != 0) {
    pollfd ready[2] = {{kGuardSocket, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (ready[1].revents != 0) {
      signalfd_siginfo info;
      while (read(signals, &info, sizeof(info)) > 0) {
      }
      Reap();
    }
    if (ready[0].revents == 0) continue;
    char command = 0;
    const ssize_t size = recv(kGuardSocket, &command, 1, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size <= 0 || command == kGuardKill) return;
    if (command == kGuardTerminate && agent != 0) kill(-agent, SIGTERM);
  }
}

int Main(int argc, char** argv) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (argc < 3 ||
      getsockopt(kGuardSocket, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
    fputs("understudy-guard is started by understudyd\n", stderr);
    return 2;
  }
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGALRM,
                           SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU}) {
    signal(number, SIG_IGN);
  }
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_SETMASK, &child, nullptr);
  const int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  prctl(PR_SET_CHILD_SUBREAPER, 1);

  const GuardReport start = StartAgent(argv[1], argv + 2);
  if (start.kind != GuardReport::kStarted) {
    Report(start);
    return 0;
  }
  // The pipes are the agent's alone now, or their end would never be seen.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  close(null);
  if (chdir("/") != 0) return 1;  // hold no file system busy
  // The agent's arguments are its own: whoever looks for them finds it alone.
  memset(argv[1], 0, argv[argc - 1] + strlen(argv[argc - 1]) - argv[1]);
  Report(start);

  Guard(signals);
  KillTree(signals);
  return 0;
}

}  // namespace
}  // namespace understudy::session

int main(int argc, char** argv) {
  return understudy::session::Main(argc, argv);
}
