// The log: one line for each entry on stderr, as text or as JSON. What it says
// never includes a prompt, an agent's output or a secret: that is the caller's
// duty.
//
//   Log(LogLevel::kInfo, "agent started",
//       {{"session_id", id}, {"pid", absl::StrCat(pid)}});
//
// Threads: any, after InitLog.

#ifndef UNDERSTUDY_SESSION_BASE_LOG_H_
#define UNDERSTUDY_SESSION_BASE_LOG_H_

#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace understudy::session {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };
enum class LogFormat { kText, kJson };

// Keys in use: session_id, request_id, turn_id, agent, pid, error. A field
// whose value is empty is left out.
struct LogField {
  std::string_view key;
  std::string_view value;
};
using LogFields = std::initializer_list<LogField>;

// Before the first thread that logs. Without it text from kWarning up is
// written, which suits tests.
void InitLog(LogLevel level, LogFormat format);

// For entries that are costly to make.
bool LogEnabled(LogLevel level);

void Log(LogLevel level, std::string_view message, LogFields fields = {});

// The line without its newline. Whatever it is given, it is one line of valid
// UTF-8, and with kJson one valid JSON object.
std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          std::string_view message, LogFields fields);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_LOG_H_
