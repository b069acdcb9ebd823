#include <cstring>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "session/process/subprocess.h"

namespace understudy::session {
namespace {

std::string HowItEnded(const ExitStatus& status) {
  using Cause = ExitStatus::Cause;
  const std::string end = status.signal != 0
                              ? absl::StrCat("killed by signal ", status.signal)
                              : absl::StrCat("exited ", status.exit_code);
  switch (status.cause) {
    case Cause::kExited:
    case Cause::kSignaled:
      return end;
    case Cause::kStopped:
      return absl::StrCat("stopped (", end, ")");
    case Cause::kNotStarted:
      return absl::StrCat(
          "not started: ", status.in_directory ? "its directory: " : "",
          std::strerror(status.error_number));
    case Cause::kLineTooLong:
      return "killed for a line that is too long";
    case Cause::kClosedOutput:
      return absl::StrCat("killed because it closed its ",
                          status.closed_input ? "stdin" : "stdout");
    case Cause::kStalled:
      return "killed because it did not read its stdin";
    case Cause::kOutOfMemory:
      return absl::StrCat("killed because it and its descendants had ",
                          status.memory_bytes >> 20, " MiB of memory");
    case Cause::kGuardLost:
      return "killed because its guard was";
  }
  return end;
}

std::string_view LastLine(std::string_view text) {
  const size_t newline = text.rfind('\n');
  return newline == std::string_view::npos ? text : text.substr(newline + 1);
}

// The last line that speaks of an error, as programs of Node end with their
// version and others with a hint; else the last.
std::string_view TellingLine(std::string_view text) {
  std::string_view telling = LastLine(text);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.find("rror") != std::string_view::npos) telling = line;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return telling;
}

}  // namespace

std::string ExitStatus::ToString() const {
  std::string text = HowItEnded(*this);
  if (!stderr_tail.empty()) {
    text.append(": ").append(cause == Cause::kExited ? TellingLine(stderr_tail)
                                                     : LastLine(stderr_tail));
  }
  return text;
}

}  // namespace understudy::session
