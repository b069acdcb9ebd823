#include "session/base/log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "session/base/utf8.h"

namespace understudy::session {
namespace {

const absl::Time kTime = absl::FromUnixMillis(1'700'000'000'123);

TEST(LogTest, TextIsReadableAndHasItsFieldsAtTheEnd) {
  EXPECT_EQ(
      FormatLogLine(LogFormat::kText, kTime, LogLevel::kInfo, "agent started",
                    {{"session_id", "abc-1"},
                     {"request_id", ""},
                     {"error", "exited 1: no \"key\""}}),
      "2023-11-14T22:13:20.123Z info agent started session_id=abc-1 "
      "error=\"exited 1: no \\\"key\\\"\"");
}

TEST(LogTest, JsonIsOneObjectWithTheFieldsAsKeys) {
  const auto line = nlohmann::json::parse(
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kWarning, "lost",
                    {{"session_id", "abc"}, {"request_id", "def"}}));
  EXPECT_EQ(line["time"], "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["message"], "lost");
  EXPECT_EQ(line["session_id"], "abc");
  EXPECT_EQ(line["request_id"], "def");
}

TEST(LogTest, NothingThatIsLoggedBreaksOutOfItsLine) {
  std::string everything;
  for (int c = 0; c < 256; ++c) everything.push_back(static_cast<char>(c));
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line =
        FormatLogLine(format, kTime, LogLevel::kError, everything,
                      {{"error", everything}, {"session_id", "s"}});
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
    EXPECT_TRUE(IsValidUtf8(line));
    if (format == LogFormat::kJson) {
      const auto json = nlohmann::json::parse(line);
      EXPECT_EQ(json["message"], ToValidUtf8(everything));
      EXPECT_EQ(json["error"], ToValidUtf8(everything));
    }
  }
}

TEST(LogTest, WritesToStderrFromItsLevelUp) {
  InitLog(LogLevel::kInfo, LogFormat::kJson);
  testing::internal::CaptureStderr();
  Log(LogLevel::kDebug, "hidden");
  Log(LogLevel::kInfo, "shown {}", {{"session_id", "s"}});
  const std::string text = testing::internal::GetCapturedStderr();
  InitLog(LogLevel::kWarning, LogFormat::kText);
  ASSERT_FALSE(text.empty());
  EXPECT_EQ(text.back(), '\n');
  const auto line = nlohmann::json::parse(text);
  EXPECT_EQ(line["message"], "shown {}");
  EXPECT_EQ(line["session_id"], "s");
}

}  // namespace
}  // namespace understudy::session
