#include "session/agent/acp_tools.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/session/agent/acp_parts.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class AcpToolsTest : public ::testing::Test {
 protected:
  AcpTools::Told Tell(const std::string& update) {
    return tools_.Update(*Parsed(update));
  }

  AcpTools tools_;
};

// Of OpenCode 1.18.33.
TEST_F(AcpToolsTest, AUseIsToldFromItsCallToItsResult) {
  AcpTools::Told told =
      Tell(R"({"toolCallId":"t","title":"bash","kind":"execute",)"
           R"("status":"pending","rawInput":{"cwd":"/w"}})");
  ASSERT_THAT(told.events, SizeIs(1));
  EXPECT_EQ(told.events[0].tool_call().name(), "execute");
  EXPECT_EQ(told.events[0].tool_call().status(), v1::TOOL_STATUS_PENDING);
  told = Tell(R"({"toolCallId":"t","status":"in_progress","kind":"execute",)"
              R"("title":"echo x","rawInput":{"command":"echo x"}})");
  ASSERT_THAT(told.events, SizeIs(1));
  EXPECT_EQ(told.events[0].tool_call().input_json(), R"({"command":"echo x"})");
  EXPECT_EQ(told.events[0].tool_call().title(), "echo x");
  // The same again is no news.
  EXPECT_THAT(Tell(R"({"toolCallId":"t","status":"in_progress"})").events,
              IsEmpty());
  told = Tell(
      R"({"toolCallId":"t","status":"completed","content":[{"type":"content",)"
      R"("content":{"type":"text","text":"x"}}],"rawOutput":{"output":"y"}})");
  ASSERT_THAT(told.events, SizeIs(1));
  EXPECT_EQ(told.events[0].tool_result().output(), "x");
  EXPECT_FALSE(told.events[0].tool_result().is_error());
  EXPECT_THAT(Tell(R"({"toolCallId":"t","status":"failed"})").events,
              IsEmpty());
}

TEST_F(AcpToolsTest, OutputGrowsWhileItRunsAndNotBefore) {
  const auto update = [](const std::string& status, const std::string& text) {
    return R"({"toolCallId":"t","status":")" + status +
           R"(","content":[{"type":"content","content":{"text":")" + text +
           R"("}}]})";
  };
  EXPECT_EQ(Tell(update("pending", "what it is to do")).output, "");
  EXPECT_EQ(Tell(update("in_progress", "one")).output, "one");
  EXPECT_EQ(Tell(update("in_progress", "one two")).output, " two");
  EXPECT_EQ(Tell(update("in_progress", "one")).output, "");
  const AcpTools::Told told =
      Tell(R"({"toolCallId":"t","status":"completed"})");
  EXPECT_EQ(told.events.back().tool_result().output(), "one two");
}

// Gemini CLI 0.61.0 announces none that had to be allowed.
TEST_F(AcpToolsTest, AUseMayBeHeardOfAtItsEnd) {
  EXPECT_EQ(tools_.Find("t"), nullptr);
  const AcpTools::Told told =
      Tell(R"({"toolCallId":"t","status":"failed","title":"x","content":[],)"
           R"("kind":"execute","rawOutput":{"error":"no"}})");
  ASSERT_THAT(told.events, SizeIs(2));
  EXPECT_EQ(told.events[0].tool_call().name(), "execute");
  EXPECT_EQ(told.events[1].tool_result().output(), "no");
  EXPECT_TRUE(told.events[1].tool_result().is_error());
  EXPECT_NE(tools_.Find("t"), nullptr);
  tools_.BeginTurn();
  EXPECT_EQ(tools_.Find("t"), nullptr);
}

TEST_F(AcpToolsTest, ANameIsTheBestThereIs) {
  EXPECT_EQ(AcpToolName(*Parsed(R"({"kind":"execute"})")), "execute");
  EXPECT_EQ(AcpToolName(*Parsed(R"({"kind":"execute","name":"Sh"})")), "Sh");
  EXPECT_EQ(AcpToolName(*Parsed(
                R"({"name":"x","_meta":{"claudeCode":{"toolName":"Bash"}}})")),
            "Bash");
  EXPECT_EQ(AcpToolName(*Parsed("{}")), "");
  Tell(R"({"toolCallId":"t","name":"Sh"})");
  EXPECT_THAT(Tell(R"({"toolCallId":"t","kind":"execute"})").events, IsEmpty());
}

TEST_F(AcpToolsTest, ADiffIsShown) {
  const AcpTools::Told told = Tell(
      R"({"toolCallId":"t","status":"completed","content":[{"type":"diff",)"
      R"("path":"/a","oldText":"x","newText":"y"},{"type":"content",)"
      R"("content":{"text":"done"}}]})");
  EXPECT_EQ(told.events.back().tool_result().output(), "--- /a\ny\ndone");
}

}  // namespace
}  // namespace understudy::session
