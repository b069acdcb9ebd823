// What /proc tells of processes. Each may be gone by the time it is looked at:
// then there is nothing.
//
// Threads: any. It blocks, for microseconds.

#ifndef UNDERSTUDY_SESSION_PROCESS_PROC_H_
#define UNDERSTUDY_SESSION_PROCESS_PROC_H_

#include <sys/types.h>

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace understudy::session {

// A whole file.
std::optional<std::string> ReadProcFile(const std::string& path);

// Of /proc/PID/stat.
struct ProcStat {
  char state = '?';
  pid_t parent = 0;
  pid_t session = 0;
  uint64_t start = 0;           // in the kernel's clock ticks
  uint64_t resident_bytes = 0;  // 0 of a zombie
};
std::optional<ProcStat> ReadProcStat(pid_t pid);

// Calls `each` with every process there is.
void ForEachProcess(const std::function<void(pid_t)>& each);

// All of `text`, and nothing but a number.
template <typename Number>
std::optional<Number> ToNumber(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_PROC_H_
