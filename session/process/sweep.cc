#include "session/process/sweep.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "session/base/unique_fd.h"
#include "session/process/proc.h"

namespace understudy::session {
namespace {

constexpr std::chrono::seconds kLongestSweep(2);

bool IsDead(const ProcStat& stat) {
  return stat.state == 'Z' || stat.state == 'X';
}

// Of this boot and PID namespace: "BOOT:PIDNS".
absl::StatusOr<std::string> ThisPlace() {
  auto boot = ReadProcFile("/proc/sys/kernel/random/boot_id");
  char ns[64];
  const ssize_t size = readlink("/proc/self/ns/pid", ns, sizeof(ns));
  if (!boot.has_value() || size < 0) {
    return absl::UnavailableError(
        "mark this server: /proc tells no boot id or PID namespace");
  }
  absl::StripAsciiWhitespace(&*boot);
  std::string number;
  for (const char c : std::string_view(ns, static_cast<size_t>(size))) {
    if (absl::ascii_isdigit(c)) number.push_back(c);
  }
  return absl::StrCat(*boot, ":", number);
}

// What `name` is in the environment of a process; nothing if it is not set, the
// process is a zombie, or it is not ours to look at.
std::optional<std::string> ReadVariable(pid_t pid, std::string_view name) {
  const auto environment =
      ReadProcFile(absl::StrCat("/proc/", pid, "/environ"));
  if (!environment.has_value()) return std::nullopt;
  std::string_view rest = *environment;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find('\0'));
    if (entry.size() > name.size() && entry[name.size()] == '=' &&
        entry.substr(0, name.size()) == name) {
      return std::string(entry.substr(name.size() + 1));
    }
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
  }
  return std::nullopt;
}

struct Found {
  pid_t pid;
  UniqueFd pidfd;
};

// The processes of this user for which `wanted` holds. The descriptor is opened
// before `wanted` looks, so it is the same process that is killed.
std::vector<Found> FindProcesses(const std::function<bool(pid_t)>& wanted) {
  std::vector<Found> found;
  ForEachProcess([&](pid_t pid) {
    struct stat status;
    if (pid == getpid() ||
        stat(absl::StrCat("/proc/", pid).c_str(), &status) != 0 ||
        status.st_uid != geteuid()) {
      return;
    }
    UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (pidfd && wanted(pid)) found.push_back({pid, std::move(pidfd)});
  });
  return found;
}

void Kill(const std::vector<Found>& processes) {
  for (const Found& process : processes) {
    syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
  }
}

std::set<pid_t> Ancestors() {
  std::set<pid_t> ancestors;
  for (pid_t pid = getppid(); pid > 0 && ancestors.insert(pid).second;) {
    const auto stat = ReadProcStat(pid);
    pid = stat.has_value() ? stat->parent : 0;
  }
  return ancestors;
}

}  // namespace

absl::StatusOr<std::string> NewServerMark() {
  absl::StatusOr<std::string> place = ThisPlace();
  if (!place.ok()) return place.status();
  const auto stat = ReadProcStat(getpid());
  if (!stat.has_value()) {
    return absl::UnavailableError("mark this server: no /proc/self/stat");
  }
  return absl::StrCat(*place, ":", getpid(), ":", stat->start);
}

MarkState JudgeMark(std::string_view mark) {
  const absl::StatusOr<std::string> place = ThisPlace();
  mark = mark.substr(0, mark.find('/'));
  if (!place.ok() || mark.substr(0, place->size()) != *place) {
    return MarkState::kUnknown;
  }
  mark.remove_prefix(place->size());
  const size_t colon = mark.rfind(':');
  if (mark.empty() || mark[0] != ':' || colon == 0) return MarkState::kUnknown;
  const auto pid = ToNumber<pid_t>(mark.substr(1, colon - 1));
  const auto start = ToNumber<uint64_t>(mark.substr(colon + 1));
  if (!pid || *pid <= 0 || !start) return MarkState::kUnknown;
  if (const auto stat = ReadProcStat(*pid); stat.has_value()) {
    return stat->start == *start && !IsDead(*stat) ? MarkState::kRuns
                                                   : MarkState::kGone;
  }
  return kill(*pid, 0) != 0 && errno == ESRCH ? MarkState::kGone
                                              : MarkState::kUnknown;
}

size_t SweepLeftovers(std::string_view marker_name, std::string_view our_mark) {
  const std::set<pid_t> ancestors = Ancestors();
  const auto is_leftover = [&](pid_t pid) {
    const auto mark = ReadVariable(pid, marker_name);
    return mark.has_value() &&
           std::string_view(*mark).substr(0, mark->find('/')) != our_mark &&
           ancestors.count(pid) == 0 && JudgeMark(*mark) == MarkState::kGone;
  };
  std::set<pid_t> killed;
  const auto deadline = std::chrono::steady_clock::now() + kLongestSweep;
  // Again, for what was started while the first ones were killed.
  while (std::chrono::steady_clock::now() < deadline) {
    const std::vector<Found> leftovers = FindProcesses(is_leftover);
    if (leftovers.empty()) break;
    Kill(leftovers);
    for (const Found& leftover : leftovers) {
      killed.insert(leftover.pid);
      pollfd ended = {leftover.pidfd.get(), POLLIN, 0};
      poll(&ended, 1, 100);
    }
  }
  return killed.size();
}

size_t KillMarked(std::string_view marker_name, std::string_view mark,
                  pid_t session) {
  const std::vector<Found> found = FindProcesses([&](pid_t pid) {
    const auto stat = ReadProcStat(pid);
    if (!stat.has_value() || IsDead(*stat)) return false;
    if (session > 0 && stat->session == session) return true;
    return !mark.empty() && ReadVariable(pid, marker_name) == mark;
  });
  Kill(found);
  return found.size();
}

}  // namespace understudy::session
