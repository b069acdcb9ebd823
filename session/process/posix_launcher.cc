#include <signal.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/base/status_macros.h"
#include "session/process/guard.h"
#include "session/process/guard_reaper.h"
#include "session/process/posix_subprocess.h"
#include "session/process/subprocess.h"

namespace understudy::session {
namespace {

class PosixLauncher final : public Launcher {
 public:
  PosixLauncher(EventLoop& loop, PosixLauncherOptions options)
      : options_(std::move(options)),
        reaper_(loop, options_.marker_name),
        memory_(loop, options_.memory),
        shared_{loop, reaper_, memory_} {
    // A pipe that a dying agent has closed is EPIPE, not our end.
    struct sigaction action;
    if (sigaction(SIGPIPE, nullptr, &action) == 0 &&
        action.sa_handler == SIG_DFL) {
      signal(SIGPIPE, SIG_IGN);
    }
  }

  absl::StatusOr<std::unique_ptr<Subprocess>> Launch(
      const Command& command, Subprocess::Observer* observer) override {
    std::string mark;
    std::string marker;
    if (!options_.marker_value.empty()) {
      mark = absl::StrCat(options_.marker_value, "/", ++launched_);
      marker = absl::StrCat(options_.marker_name, "=", mark);
    }
    UNDERSTUDY_ASSIGN_OR_RETURN(
        Guard guard, SpawnGuard(options_.guard_path, command, marker));
    return std::make_unique<PosixSubprocess>(
        shared_, std::move(guard), std::move(mark), command, observer);
  }

 private:
  const PosixLauncherOptions options_;
  GuardReaper reaper_;
  MemoryWatchdog memory_;
  PosixSubprocess::Shared shared_;
  uint64_t launched_ = 0;
};

}  // namespace

std::unique_ptr<Launcher> NewPosixLauncher(EventLoop& loop,
                                           PosixLauncherOptions options) {
  return std::make_unique<PosixLauncher>(loop, std::move(options));
}

}  // namespace understudy::session
