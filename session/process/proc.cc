#include "session/process/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "session/base/unique_fd.h"

namespace understudy::session {

std::optional<std::string> ReadProcFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  std::string text;
  for (;;) {
    const size_t size = text.size();
    text.resize(size + 16384);
    const ssize_t n = read(fd.get(), text.data() + size, 16384);
    if (n < 0 && errno == EINTR) {
      text.resize(size);
      continue;
    }
    if (n < 0) return std::nullopt;
    text.resize(size + static_cast<size_t>(n));
    if (n == 0) return text;
  }
}

std::optional<ProcStat> ReadProcStat(pid_t pid) {
  const auto text = ReadProcFile(absl::StrCat("/proc/", pid, "/stat"));
  if (!text.has_value()) return std::nullopt;
  // pid (name) state parent group session ...; the name may hold anything.
  const size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::string_view rest = std::string_view(*text).substr(name_end + 1);
  std::vector<std::string_view> fields;
  for (size_t begin; (begin = rest.find_first_not_of(" \n")) != rest.npos;) {
    rest.remove_prefix(begin);
    fields.push_back(rest.substr(0, rest.find_first_of(" \n")));
    rest.remove_prefix(fields.back().size());
  }
  constexpr size_t kState = 0, kParent = 1, kSession = 3, kStart = 19,
                   kResident = 21;
  if (fields.size() <= kResident) return std::nullopt;
  const auto parent = ToNumber<pid_t>(fields[kParent]);
  const auto session = ToNumber<pid_t>(fields[kSession]);
  const auto start = ToNumber<uint64_t>(fields[kStart]);
  const auto resident = ToNumber<uint64_t>(fields[kResident]);
  if (!parent || !session || !start || !resident) return std::nullopt;
  static const auto kPageBytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return ProcStat{fields[kState][0], *parent, *session, *start,
                  *resident * kPageBytes};
}

void ForEachProcess(const std::function<void(pid_t)>& each) {
  DIR* const proc = opendir("/proc");
  if (proc == nullptr) return;
  while (const dirent* entry = readdir(proc)) {
    if (const auto pid = ToNumber<pid_t>(entry->d_name)) each(*pid);
  }
  closedir(proc);
}

}  // namespace understudy::session
