#include "session/agent/acp_events.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/session/agent/acp_parts.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

TurnEnd End(const std::string& answer) {
  const Parsed parsed(R"({"id":"x",)" + answer + "}");
  return ReadAcpTurnEnd(ReadJsonRpc(*parsed));
}
TurnEnd Failed(const std::string& error) { return End("\"error\":" + error); }

TEST(AcpEventsTest, ATurnEndsAsItsReasonSays) {
  TurnEnd end =
      End(R"("result":{"stopReason":"end_turn","usage":{"inputTokens":101,)"
          R"("outputTokens":5,"cachedReadTokens":7,"cachedWriteTokens":0}})");
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(end.stop_reason, "end_turn");
  EXPECT_EQ(end.usage.input_tokens(), 101);
  EXPECT_EQ(end.usage.output_tokens(), 5);
  EXPECT_EQ(end.usage.cache_read_tokens(), 7);
  EXPECT_EQ(End(R"("result":{"stopReason":"max_tokens"})").outcome,
            v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(End(R"("result":{"stopReason":"cancelled"})").outcome,
            v1::TURN_OUTCOME_INTERRUPTED);
  end = End(R"("result":{"stopReason":"refusal"})");
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(end.error_reason, "REFUSAL");
  EXPECT_EQ(End(R"("result":null)").outcome, v1::TURN_OUTCOME_SUCCEEDED);
}

// Of Gemini CLI 0.61.0.
TEST(AcpEventsTest, UsageMayStandElsewhere) {
  const TurnEnd end = End(
      R"("result":{"stopReason":"end_turn","_meta":{"quota":{"token_count":)"
      R"({"input_tokens":212,"output_tokens":10}}}})");
  EXPECT_EQ(end.usage.input_tokens(), 212);
  EXPECT_EQ(end.usage.output_tokens(), 10);
}

// OpenCode 1.18.33, Gemini CLI 0.61.0, and what the others pass on.
TEST(AcpEventsTest, AModelThatDoesNotExistIsRecognised) {
  for (
      const char* error :
      {R"({"code":-32603,"message":"Internal error: The model mock-bad does )"
       R"(not exist","data":{"service":"session","errorName":"APIError"}})",
       R"({"code":500,"message":"models/no-such-bad-model is not found"})",
       R"({"code":-32603,"message":"Internal error","data":{"details":)"
       R"("There's an issue with the selected model (x). It may not exist"}})"}) {
    const TurnEnd end = Failed(error);
    EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
    EXPECT_THAT(end.error, HasReason(Reason::kModelRejected)) << error;
    EXPECT_EQ(end.error_reason, "MODEL_REJECTED");
  }
  for (const char* error :
       {R"({"code":-32602,"message":"Session not found: c"})",
        R"({"message":"the model is overloaded"})"}) {
    EXPECT_EQ(Failed(error).error_reason, "AGENT_ERROR") << error;
  }
}

TEST(AcpEventsTest, AConversationThatAModelCannotReadIsRecognised) {
  const TurnEnd end = Failed(
      R"({"code":-32603,"message":"Internal error: API Error: 400 )"
      R"(messages.1.content.0: Invalid `signature` in `thinking` block"})");
  EXPECT_THAT(end.error, HasReason(Reason::kConversationUnreadable));
  EXPECT_EQ(end.error_reason, "CONVERSATION_UNREADABLE");
}

TEST(AcpEventsTest, OtherFailuresHaveAWord) {
  EXPECT_EQ(Failed(R"({"code":-32000,"message":"x"})").error_reason,
            "AUTH_REQUIRED");
  EXPECT_EQ(Failed(R"({"message":"x","data":{"reason":"rate-limit é"}})")
                .error_reason,
            "RATE_LIMIT___");
  EXPECT_EQ(Failed(R"({"code":-32800,"message":"x"})").outcome,
            v1::TURN_OUTCOME_INTERRUPTED);
}

TEST(AcpEventsTest, ALostConversationIsRecognised) {
  const auto lost = [](const std::string& error) {
    const Parsed parsed(R"({"id":"x",)" + error + "}");
    return SaysLost(ReadJsonRpc(*parsed));
  };
  EXPECT_TRUE(
      lost(R"("error":{"code":-32002,"message":"Resource not found"})"));
  EXPECT_TRUE(
      lost(R"("error":{"code":-32602,"message":"Session not found: c"})"));
  EXPECT_TRUE(lost(R"("error":{"code":-32602,"message":)"
                   R"("Invalid params: session not found: c"})"));
  EXPECT_FALSE(lost(R"("error":{"code":-32602,"message":"Invalid params"})"));
  EXPECT_FALSE(lost(R"("result":{})"));
}

TEST(AcpEventsTest, PlansAndNoticesAreEvents) {
  std::optional<v1::Event> event = ReadAcpUpdate(
      "plan",
      *Parsed(R"({"entries":[{"content":"a","priority":"high","status":)"
              R"("pending"},{"content":"b"}]})"));
  ASSERT_TRUE(event.has_value());
  ASSERT_EQ(event->plan().entries_size(), 2);
  EXPECT_EQ(event->plan().entries(0).priority(), "high");
  event = ReadAcpUpdate("notice", *Parsed(R"({"message":"mind the gap"})"));
  EXPECT_EQ(event->notice().kind(), v1::NOTICE_KIND_WARNING);
  EXPECT_EQ(event->notice().message(), "mind the gap");
  event = ReadAcpUpdate("compaction_update", *Parsed(R"({"status":"done"})"));
  EXPECT_EQ(event->notice().kind(), v1::NOTICE_KIND_COMPACTED);
  EXPECT_EQ(ReadAcpUpdate("brand_new", *Parsed("{}")), std::nullopt);
}

TEST(AcpEventsTest, CommandsAndCostAreRead) {
  EXPECT_EQ(ReadAcpCommands(*Parsed(
                R"({"availableCommands":[{"name":"init"},{},{"name":"x"}]})")),
            "init, x");
  EXPECT_THAT(
      ReadAcpCost(*Parsed(R"({"cost":{"amount":0.5,"currency":"USD"}})")),
      Optional(0.5));
  EXPECT_EQ(ReadAcpCost(*Parsed(R"({"cost":{"amount":1,"currency":"EUR"}})")),
            std::nullopt);
  EXPECT_EQ(ReadAcpCost(*Parsed(R"({"used":101,"size":100000})")),
            std::nullopt);
}

TEST(AcpEventsTest, AListIsOfTheFolderThatWasAskedFor) {
  std::vector<LocalConversation> all;
  ReadAcpConversations(
      *Parsed(R"({"sessions":[{"sessionId":"ses_1","cwd":"/w","title":"one",)"
              R"("updatedAt":"2026-11-21T06:28:21.140Z"},{"sessionId":"2",)"
              R"("cwd":"/x"},{"sessionId":"3"},{"sessionId":"../4"},5]})"),
      "/w", all);
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].agent_session_id, "ses_1");
  EXPECT_EQ(all[0].first_prompt, "one");
  EXPECT_EQ(absl::FormatTime(all[0].update_time, absl::UTCTimeZone()),
            "2026-11-21T06:28:21.14+00:00");
  EXPECT_EQ(all[1].agent_session_id, "3");
  std::vector<LocalConversation> none;
  ReadAcpConversations(*Parsed("{}"), "/w", none);
  EXPECT_THAT(none, IsEmpty());
}

TEST(AcpEventsTest, AnIdIsAWord) {
  for (const char* id : {"ses_e0335762dffefX0gLffoFPrAep", "a:b.c-d",
                         "01a1fccc-bcb0-71b0-ba95-f65d22c4617a"}) {
    EXPECT_TRUE(IsAcpConversation(id)) << id;
  }
  for (const std::string& id :
       {std::string(), std::string("-x"), std::string("a/b"),
        std::string("a b"), std::string("\n"), std::string(129, 'x')}) {
    EXPECT_FALSE(IsAcpConversation(id)) << id;
  }
}

}  // namespace
}  // namespace understudy::session
