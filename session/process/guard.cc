#include "session/process/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "session/base/status_macros.h"
#include "session/process/guard_protocol.h"

namespace understudy::session {
namespace {

absl::Status Failed(int error_number, const std::string& what) {
  return absl::ErrnoToStatus(error_number,
                             absl::StrCat("start an agent: ", what));
}

struct Ends {
  UniqueFd ours;
  UniqueFd theirs;  // above the descriptors that the guard will have
};

absl::StatusOr<Ends> MakeEnds(int ours, int theirs) {
  Ends ends = {UniqueFd(ours), UniqueFd(theirs)};
  if (theirs <= kGuardSocket) {
    const int above = fcntl(theirs, F_DUPFD_CLOEXEC, kGuardSocket + 1);
    if (above < 0) return Failed(errno, "fcntl(F_DUPFD_CLOEXEC)");
    ends.theirs = UniqueFd(above);
  }
  // A pipe's ends and a socket pair's have their flags apart: the agent's own
  // end blocks, as programs expect.
  if (fcntl(ours, F_SETFL, O_NONBLOCK) != 0) {
    return Failed(errno, "fcntl(O_NONBLOCK)");
  }
  return ends;
}

absl::StatusOr<Ends> MakePipe(bool we_write) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return Failed(errno, "pipe2");
  return we_write ? MakeEnds(fds[1], fds[0]) : MakeEnds(fds[0], fds[1]);
}

absl::StatusOr<Ends> MakeSocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return Failed(errno, "socketpair");
  }
  return MakeEnds(fds[0], fds[1]);
}

// The lists that exec takes. The strings must outlive it.
class StringList {
 public:
  void Add(std::string string) { strings_.push_back(std::move(string)); }
  char* const* data() {
    pointers_.clear();
    for (std::string& string : strings_) pointers_.push_back(string.data());
    pointers_.push_back(nullptr);
    return pointers_.data();
  }

 private:
  std::vector<std::string> strings_;
  std::vector<char*> pointers_;
};

bool HasNul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

absl::Status Check(const Command& command) {
  if (command.argv.empty() || command.argv[0].empty()) {
    return absl::InvalidArgumentError("start an agent: no program is named");
  }
  if (command.cwd.empty() || command.cwd[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat(
        "start ", command.argv[0], ": its directory is not absolute"));
  }
  bool nul = HasNul(command.cwd);
  for (const std::string& argument : command.argv) nul |= HasNul(argument);
  for (const auto& [name, value] : command.env) {
    nul |= HasNul(name) || HasNul(value);
    if (name.empty() || name.find('=') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("start ", command.argv[0], ": \"", name,
                       "\" cannot name an environment variable"));
    }
  }
  if (nul) {
    return absl::InvalidArgumentError(
        absl::StrCat("start ", command.argv[0],
                     ": an argument, variable or the directory holds a NUL"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Guard> SpawnGuard(const std::string& guard_path,
                                 const Command& command,
                                 const std::string& marker) {
  UNDERSTUDY_RETURN_IF_ERROR(Check(command));
  UNDERSTUDY_ASSIGN_OR_RETURN(Ends in, MakePipe(/*we_write=*/true));
  UNDERSTUDY_ASSIGN_OR_RETURN(Ends out, MakePipe(/*we_write=*/false));
  UNDERSTUDY_ASSIGN_OR_RETURN(Ends err, MakePipe(/*we_write=*/false));
  UNDERSTUDY_ASSIGN_OR_RETURN(Ends socket, MakeSocketPair());

  StringList argv;
  argv.Add("understudy-guard");
  argv.Add(command.cwd);
  for (const std::string& argument : command.argv) argv.Add(argument);
  StringList env;
  for (const auto& [name, value] : command.env) {
    env.Add(absl::StrCat(name, "=", value));
  }
  if (!marker.empty()) env.Add(marker);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.theirs.get(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.theirs.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.theirs.get(), 2);
  posix_spawn_file_actions_adddup2(&actions, socket.theirs.get(), kGuardSocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kGuardSocket + 1);

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID |
                                            POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);

  Guard guard;
  const int error = posix_spawn(&guard.pid, guard_path.c_str(), &actions,
                                &attributes, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return Failed(error, guard_path);

  // Only we reap it, so its pid is its own until then.
  guard.pidfd =
      UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, guard.pid, 0)));
  if (!guard.pidfd) {
    const int pidfd_error = errno;
    kill(guard.pid, SIGKILL);
    siginfo_t info;
    waitid(P_PID, guard.pid, &info, WEXITED);
    return Failed(pidfd_error, "pidfd_open");
  }
  guard.socket = std::move(socket.ours);
  guard.stdin_pipe = std::move(in.ours);
  guard.stdout_pipe = std::move(out.ours);
  guard.stderr_pipe = std::move(err.ours);
  return guard;
}

}  // namespace understudy::session
