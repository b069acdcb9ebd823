#include "session/process/guard_reaper.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/base/log.h"
#include "session/process/sweep.h"

namespace understudy::session {
namespace {

// A guard ends milliseconds after it was told to, whatever its tree is; only a
// process that the kernel cannot kill holds it up.
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr absl::Duration kSweepInterval = absl::Milliseconds(2);
constexpr int kMaxSweeps = 500;
constexpr std::chrono::seconds kLastWait(2);

enum class Reaped { kNotEnded, kLeftNothing, kKilled };

Reaped ReapGuard(const UniqueFd& pidfd) {
  siginfo_t info = {};
  const int result =
      waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED | WNOHANG);
  if (result == 0 && info.si_pid == 0) return Reaped::kNotEnded;
  return result == 0 && info.si_code == CLD_EXITED && info.si_status == 0
             ? Reaped::kLeftNothing
             : Reaped::kKilled;
}

void KillGuard(const UniqueFd& pidfd) {
  syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
}

}  // namespace

GuardReaper::GuardReaper(EventLoop& loop, std::string marker_name)
    : loop_(loop), marker_name_(std::move(marker_name)) {}

GuardReaper::~GuardReaper() {
  const auto deadline = std::chrono::steady_clock::now() + kLastWait;
  for (auto& [id, entry] : entries_) {
    entry.watch.reset();
    entry.timer.reset();
    if (entry.pidfd) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd ended = {entry.pidfd.get(), POLLIN, 0};
      if (poll(&ended, 1, std::max(0, static_cast<int>(left.count()))) == 0) {
        KillGuard(entry.pidfd);
        poll(&ended, 1, 100);
      }
      if (ReapGuard(entry.pidfd) == Reaped::kLeftNothing) continue;
    }
    KillMarked(marker_name_, entry.mark, entry.agent);
  }
}

GuardReaper::Id GuardReaper::Add(UniqueFd pidfd, std::string mark, Gone gone) {
  const Id id = ++last_id_;
  Entry& entry = entries_[id];
  entry.pidfd = std::move(pidfd);
  entry.mark = std::move(mark);
  entry.gone = std::move(gone);
  entry.watch = loop_.WatchFd(entry.pidfd.get(), EventLoop::kReadable,
                              [this, id](uint32_t) { OnEnded(id); });
  return id;
}

void GuardReaper::SetAgent(Id id, pid_t agent) {
  if (auto it = entries_.find(id); it != entries_.end()) {
    it->second.agent = agent;
  }
}

void GuardReaper::ExpectEnd(Id id) {
  auto it = entries_.find(id);
  if (it == entries_.end() || it->second.timer != nullptr) return;
  it->second.timer = loop_.RunAfter(kPatience, [this, id] {
    Entry& entry = entries_.at(id);
    Log(LogLevel::kWarning, "a guard does not end and is killed",
        {{"pid", absl::StrCat(entry.agent)}});
    KillGuard(entry.pidfd);
  });
}

void GuardReaper::Abandon(Id id) {
  auto it = entries_.find(id);
  if (it == entries_.end()) return;
  it->second.gone = nullptr;
  ExpectEnd(id);
}

void GuardReaper::OnEnded(Id id) {
  Entry& entry = entries_.at(id);
  const Reaped reaped = ReapGuard(entry.pidfd);
  // An event can be that of an earlier descriptor with the same number.
  if (reaped == Reaped::kNotEnded) return;
  entry.watch.reset();
  entry.timer.reset();
  entry.pidfd.reset();
  if (reaped == Reaped::kLeftNothing) {
    Finish(id);
    return;
  }
  Log(LogLevel::kWarning, "a guard was killed; its agent is killed with it",
      {{"pid", absl::StrCat(entry.agent)}});
  Sweep(id);
}

void GuardReaper::Sweep(Id id) {
  Entry& entry = entries_.at(id);
  if (KillMarked(marker_name_, entry.mark, entry.agent) > 0 &&
      ++entry.sweeps < kMaxSweeps) {
    entry.timer = loop_.RunAfter(kSweepInterval, [this, id] { Sweep(id); });
    return;
  }
  Finish(id);
}

void GuardReaper::Finish(Id id) {
  auto ended = entries_.extract(id);
  if (ended.mapped().gone) std::move(ended.mapped().gone)();
}

}  // namespace understudy::session
