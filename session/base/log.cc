#include "session/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

const char* ToString(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "off";
}

struct Logger {
  Logger() {
    spdlog.set_pattern("%v");
    spdlog.set_level(spdlog::level::warn);
    spdlog.flush_on(spdlog::level::trace);
  }
  spdlog::logger spdlog{"understudy",
                        std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  std::atomic<LogFormat> format = LogFormat::kText;
};

Logger& TheLogger() {
  static Logger* const logger = new Logger;  // outlives every thread
  return *logger;
}

// The escapes of JSON, which serve the quoted values of text as well.
void AppendQuoted(std::string_view bytes, std::string* line) {
  constexpr char kHex[] = "0123456789abcdef";
  line->push_back('"');
  for (const char c : ToValidUtf8(bytes)) {
    if (c == '"' || c == '\\') {
      line->push_back('\\');
      line->push_back(c);
    } else if (c == '\n') {
      line->append("\\n");
    } else if (absl::ascii_iscntrl(c)) {
      line->append("\\u00");
      line->push_back(kHex[static_cast<unsigned char>(c) >> 4]);
      line->push_back(kHex[c & 0xF]);
    } else {
      line->push_back(c);
    }
  }
  line->push_back('"');
}

bool IsBare(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != '"' && c != '\\' && c != '=';
  });
}

// A message of plain words stays readable; any other is quoted.
bool IsPlain(std::string_view message) {
  return std::all_of(message.begin(), message.end(),
                     [](char c) { return absl::ascii_isprint(c); });
}

}  // namespace

std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          std::string_view message, LogFields fields) {
  const std::string stamp =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
  std::string line;
  if (format == LogFormat::kJson) {
    absl::StrAppend(&line, "{\"time\":\"", stamp, "\",\"level\":\"",
                    ToString(level), "\",\"message\":");
    AppendQuoted(message, &line);
    for (const LogField& field : fields) {
      if (field.value.empty()) continue;
      line.push_back(',');
      AppendQuoted(field.key, &line);
      line.push_back(':');
      AppendQuoted(field.value, &line);
    }
    line.push_back('}');
    return line;
  }
  absl::StrAppend(&line, stamp, " ", ToString(level), " ");
  if (IsPlain(message)) {
    line.append(message);
  } else {
    AppendQuoted(message, &line);
  }
  for (const LogField& field : fields) {
    if (field.value.empty()) continue;
    line.append(" ").append(field.key).append("=");
    if (IsBare(field.value)) {
      line.append(field.value);
    } else {
      AppendQuoted(field.value, &line);
    }
  }
  return line;
}

void InitLog(LogLevel level, LogFormat format) {
  Logger& logger = TheLogger();
  logger.format = format;
  logger.spdlog.set_level(ToSpdlog(level));
}

bool LogEnabled(LogLevel level) {
  return TheLogger().spdlog.should_log(ToSpdlog(level));
}

void Log(LogLevel level, std::string_view message, LogFields fields) {
  if (!LogEnabled(level)) return;
  Logger& logger = TheLogger();
  const std::string line =
      FormatLogLine(logger.format, absl::Now(), level, message, fields);
  logger.spdlog.log(ToSpdlog(level), spdlog::string_view_t(line));
}

}  // namespace understudy::session
