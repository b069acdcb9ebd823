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

}  // namespace

std::string ExitStatus::ToString() const {
  std::string text = HowItEnded(*this);
  if (!stderr_tail.empty()) {
    const size_t newline = stderr_tail.rfind('\n');
    text.append(": ").append(newline == std::string::npos
                                 ? stderr_tail
                                 : stderr_tail.substr(newline + 1));
  }
  return text;
}

}  // namespace understudy::session
