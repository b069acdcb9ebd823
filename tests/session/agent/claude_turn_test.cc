// The turns of a ClaudeAgent: whose they are, how they end, and how they are
// interrupted.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "tests/session/agent/claude_fixture.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::string Started(const char* turn) { return absl::StrCat("started ", turn); }
std::string Ended(const char* turn, const char* how) {
  return absl::StrCat("ended ", turn, " ", how);
}

class ClaudeTurnTest : public ClaudeFixture {};
class ClaudeTurnVersionsTest : public EachClaude {};
INSTANTIATE_TEST_SUITE_P(Versions, ClaudeTurnVersionsTest,
                         ::testing::Values(kNewClaude, kOldClaude),
                         VersionName);

// --- What is sent -----------------------------------------------------------

TEST_P(ClaudeTurnVersionsTest, A21_AMessageIsOneLineWhateverIsInIt) {
  MustStart();
  const std::string text =
      "one\ntwo\r\n{\"type\":\"user\"}\\ \"q\"\t\x01\xE2\x80\xA8 "
      "\xF0\x9F\x98\x80";
  Send(kTurn1, text);
  EXPECT_THAT(child().lines().back(), Not(HasSubstr("\n")));
  EXPECT_THAT(child().lines().back(), Not(HasSubstr("\r")));
  const Json line = LastWritten();
  EXPECT_EQ(line["type"], "user");
  EXPECT_EQ(line["uuid"], kTurn1);
  EXPECT_EQ(line["message"]["role"], "user");
  EXPECT_EQ(line["message"]["content"], text);
}

TEST_P(ClaudeTurnVersionsTest, TextThatLooksLikeACommandIsText) {
  MustStart();
  Send(kTurn1, "/clear");
  const Json line = LastWritten();
  EXPECT_EQ(line["client_composed"], true);
  // Old versions do not know that word: a space keeps them from looking.
  EXPECT_EQ(line["message"]["content"], old() ? " /clear" : "/clear");
}

TEST_P(ClaudeTurnVersionsTest, OtherTextIsSentAsItIs) {
  MustStart();
  Send(kTurn1, " /clear and @me");
  EXPECT_EQ(LastWritten()["message"]["content"], " /clear and @me");
}

TEST_P(ClaudeTurnVersionsTest, ToldIsWhetherTheMessageWasDelivered) {
  MustStart();
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_NO);
  child().set_reads_stdin(false);
  Send(kTurn1);
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_NO);
  child().set_reads_stdin(true);
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_MAYBE);
  Say(old() ? Init(kTurn1) : Lifecycle(kTurn1, "queued"));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
}

TEST_P(ClaudeTurnVersionsTest, ATurnThatMayBeItsOwnIsNoReceipt) {
  MustStart();
  Say(Json::parse(R"({"type":"system","subtype":"task_notification",)"
                  R"("task_id":"b1","status":"completed"})"));
  Send(kTurn1);
  Say(Init(""));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_MAYBE);
}

// --- Whose result it is -----------------------------------------------------

TEST_P(ClaudeTurnVersionsTest, ATurnBeginsOnceAndEndsOnce) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  Say(Result(kTurn1, "hi"));
  EXPECT_THAT(owner_.Take(),
              ElementsAre(Started(kTurn1), "usage 0 0",
                          Ended(kTurn1, "SUCCEEDED end_turn \"hi\"")));
  if (!old()) Say(Lifecycle(kTurn1, "completed"));
  Say(Result(kTurn1, "again"));
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_F(ClaudeTurnTest, A16_ALateResultNeverLeaksIntoTheNextTurn) {
  MustStart();
  Send(kTurn1);
  Say(Lifecycle(kTurn1, "queued"));
  agent().Interrupt();
  // It was taken from the queue ...
  Say(Lifecycle(kTurn1, "cancelled"));
  EXPECT_THAT(owner_.Take(),
              ElementsAre(Ended(kTurn1, "INTERRUPTED cancelled")));
  Send(kTurn2);
  Begin(kTurn2);
  // ... and yet a result of it comes, with another conversation in it.
  Json late = Result(kTurn1, "late");
  late["session_id"] = kNext;
  Say(late);
  EXPECT_THAT(owner_.Take(), ElementsAre(Started(kTurn2)));
  EXPECT_EQ(agent().current().conversation, conversation_);
  Say(Result(kTurn2, "mine"));
  EXPECT_THAT(owner_.log,
              Contains(Ended(kTurn2, "SUCCEEDED end_turn \"mine\"")));
}

TEST_P(ClaudeTurnVersionsTest, A16_AnInterruptedTurnEndsWithItsOwnResult) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  agent().Interrupt();
  Say(Data("interrupted", kTurn1));
  EXPECT_THAT(owner_.Take(),
              ElementsAre(Started(kTurn1), "usage 0 0",
                          Ended(kTurn1, "INTERRUPTED aborted_streaming")));
  Send(kTurn2);
  Begin(kTurn2);
  Say(Result(kTurn2, "mine"));
  EXPECT_THAT(owner_.log,
              ElementsAre(Started(kTurn2), "usage 0 0",
                          Ended(kTurn2, "SUCCEEDED end_turn \"mine\"")));
}

TEST_P(ClaudeTurnVersionsTest, E9_ATurnOfItsOwnIsATurnOfItsOwn) {
  MustStart();
  Say(Data("unsolicited"));
  EXPECT_THAT(
      owner_.log,
      ElementsAre("unknown system/task_notification", "started -",
                  "text \"it ended\"", "message \"it ended\"", "usage 100 10",
                  "ended - SUCCEEDED end_turn \"it ended\""));
  EXPECT_EQ(owner_.ends.back().usage.input_tokens(), 100);
}

TEST_P(ClaudeTurnVersionsTest, E9_AMessageWaitsForATurnOfItsOwn) {
  MustStart();
  Say(Init(""));
  Send(kTurn1);
  if (!old()) Say(Lifecycle(kTurn1, "queued"));
  Say(Foreign(Result("", "other")));
  Begin(kTurn1);
  Say(Result(kTurn1, "mine"));
  EXPECT_THAT(
      owner_.log,
      ElementsAre("started -", "usage 0 0",
                  "ended - SUCCEEDED end_turn \"other\"", Started(kTurn1),
                  "usage 0 0", Ended(kTurn1, "SUCCEEDED end_turn \"mine\"")));
}

TEST_P(ClaudeTurnVersionsTest, E9_ATurnOfItsOwnJustBeforeOursIsNotOurs) {
  MustStart();
  Send(kTurn1);
  Say(Init(""));  // old versions do not say whose it is
  Say(Foreign(Result("", "other")));
  Begin(kTurn1);
  Say(Result(kTurn1, "mine"));
  EXPECT_THAT(owner_.log,
              Contains(Ended(kTurn1, "SUCCEEDED end_turn \"mine\"")));
  EXPECT_THAT(owner_.log,
              Not(Contains(Ended(kTurn1, "SUCCEEDED end_turn \"other\""))));
}

TEST_F(ClaudeTurnTest, E9_AMessageTakenIntoATurnOfItsOwnEndsWithIt) {
  for (const bool named : {true, false}) {
    ready_.reset();
    MustStart();
    Say(Init(""));
    Send(kTurn1);
    Say(Lines{Lifecycle(kTurn1, "queued").dump(),
              Lifecycle(kTurn1, "started").dump(),
              Lifecycle(kTurn1, "completed").dump()});
    Json result = Foreign(Result(named ? kTurn1 : "", "both"));
    result["usage"] = {{"input_tokens", 5}, {"output_tokens", 6}};
    result["total_cost_usd"] = 0.5;
    Say(result);
    EXPECT_THAT(owner_.Take(),
                ElementsAre("started -", Started(kTurn1), "usage 5 6",
                            "ended - SUCCEEDED end_turn \"both\"",
                            Ended(kTurn1, "SUCCEEDED end_turn \"both\"")));
    // What was used is told once.
    ASSERT_GE(owner_.ends.size(), 2u);
    const TurnEnd& mine = owner_.ends.back();
    const TurnEnd& other = owner_.ends[owner_.ends.size() - 2];
    EXPECT_EQ(mine.usage.input_tokens(), 5);
    EXPECT_EQ(mine.total_cost_usd, 0.5);
    EXPECT_EQ(other.usage.input_tokens(), 0);
    EXPECT_EQ(other.total_cost_usd, std::nullopt);
  }
}

// --- Whose conversation it is -----------------------------------------------

TEST_P(ClaudeTurnVersionsTest, D11_WhatIsNoConversationIsNotContinued) {
  MustStart();
  const auto turn = [this](const std::string& conversation) {
    Send(kTurn1);
    const std::string own = std::exchange(conversation_, conversation);
    const Lines lines = Data("turn", kTurn1);
    conversation_ = own;
    Say(lines);
    return owner_.Take();
  };
  turn(conversation_);
  const std::vector<std::string> expected = turn(conversation_);
  ASSERT_THAT(expected, Contains(Started(kTurn1)));
  for (const char* other : {"", "../../etc/passwd", "--continue", "null"}) {
    EXPECT_EQ(turn(other), expected) << other;
    EXPECT_EQ(agent().current().conversation, conversation_) << other;
  }
}

TEST_P(ClaudeTurnVersionsTest, D11_ALineIsItsAgentsWhateverItNames) {
  MustStart();
  AgentOwner other;
  auto made = FindAgentKind("claude")->make(loop_, launcher_, profile_,
                                            opening_, &other);
  ASSERT_THAT(made.status(), IsOk());
  other.agent = *std::move(made);
  other.agent->Start([](absl::Status status) { EXPECT_THAT(status, IsOk()); });
  loop_.RunUntilIdle();
  ASSERT_NE(other.agent->current().conversation, conversation_);

  Send(kTurn1);
  other.agent->Send({kTurn2, "hello"});
  loop_.RunUntilIdle();
  // The second speaks of the conversation of the first.
  launcher_.child(1).Say(Data("turn", kTurn2));
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, IsEmpty());
  EXPECT_THAT(other.log, Contains(Started(kTurn2)));
  EXPECT_THAT(other.ends, SizeIs(1));
  // Of the turn of the first it knows nothing.
  other.Take();
  launcher_.child(1).Say(Result(kTurn1, "theirs").dump());
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, IsEmpty());
  EXPECT_THAT(other.log, IsEmpty());
  launcher_.child(0).Say(Data("turn", kTurn1));
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.ends, SizeIs(1));
  EXPECT_THAT(other.ends, SizeIs(1));
}

TEST_P(ClaudeTurnVersionsTest, D11_ASubAgentMovesNothing) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  owner_.Take();
  for (Json line : {Init(""), Result("", "done"), Result(kTurn1, "done")}) {
    line["parent_tool_use_id"] = "toolu_1";
    line["session_id"] = kEarlier;
    line["model"] = "claude-haiku-5-5";
    Say(line);
  }
  EXPECT_THAT(owner_.Take(),
              ElementsAre("unknown result/success", "unknown result/success"));
  EXPECT_EQ(agent().current().conversation, conversation_);
  EXPECT_EQ(agent().current().model, model_);
  Say(Result(kTurn1, "hi"));
  EXPECT_THAT(owner_.log, Contains(Ended(kTurn1, "SUCCEEDED end_turn \"hi\"")));
}

TEST_P(ClaudeTurnVersionsTest, WhatASubAgentSaysIsNotTheSessionsAnswer) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  owner_.Take();
  Json text = Json::parse(
      R"({"type":"assistant","message":{"role":"assistant","model":"m",)"
      R"("content":[{"type":"text","text":"for my parent"}]}})");
  text["parent_tool_use_id"] = "toolu_1";
  Say(text);
  Json tool = Json::parse(
      R"({"type":"assistant","message":{"role":"assistant","model":"m",)"
      R"("content":[{"type":"tool_use","id":"t1","name":"Bash","input":{}}]}})");
  tool["parent_tool_use_id"] = "toolu_1";
  Say(tool);
  Json delta = Json::parse(
      R"({"type":"stream_event","event":{"type":"content_block_delta",)"
      R"("index":0,"delta":{"type":"text_delta","text":"for my"}}})");
  delta["parent_tool_use_id"] = "toolu_1";
  Say(delta);
  const std::vector<std::string> said = owner_.Take();
  ASSERT_THAT(said, SizeIs(2));
  EXPECT_EQ(said[0], "unknown assistant/sub_agent");
  EXPECT_THAT(said[1], testing::HasSubstr("Bash"));
}

TEST_P(ClaudeTurnVersionsTest, D11_AClearThatLeadsToNoUuidHasFailed) {
  MustStart();
  Apply({.conversation = ""});
  const std::string uuid = LastWritten()["uuid"];
  const std::string own = std::exchange(conversation_, "../../x");
  Begin(uuid);
  Say(Result(uuid, ""));
  conversation_ = own;
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentProtocol));
  EXPECT_EQ(agent().current().conversation, own);
}

// --- How it ends ------------------------------------------------------------

TEST_P(ClaudeTurnVersionsTest, AModelThatTheApiDoesNotKnowIsRejected) {
  MustStart();
  Send(kTurn1);
  Say(Data("unknown_model", kTurn1));
  ASSERT_THAT(owner_.ends, SizeIs(1));
  const TurnEnd& end = owner_.ends.back();
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_THAT(end.error, HasReason(Reason::kModelRejected));
  EXPECT_EQ(end.error_reason, "MODEL_REJECTED");
  EXPECT_THAT(std::string(end.error.message()), HasSubstr("claude-bogus-9"));
  EXPECT_EQ(end.text, "");
  EXPECT_THAT(owner_.log, Contains(HasSubstr("notice WARNING")));
}

TEST_P(ClaudeTurnVersionsTest, E10_AConversationThatTheModelCannotReadIsKnown) {
  MustStart();
  Send(kTurn1);
  Say(Data("unreadable", kTurn1));
  ASSERT_THAT(owner_.ends, SizeIs(1));
  const TurnEnd& end = owner_.ends.back();
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_THAT(end.error, HasReason(Reason::kConversationUnreadable));
  EXPECT_EQ(end.error_reason, "CONVERSATION_UNREADABLE");
  EXPECT_THAT(std::string(end.error.message()), HasSubstr("`signature`"));
}

TEST_F(ClaudeTurnTest, E10_OnlyWhatTheConversationHoldsMakesItUnreadable) {
  struct Case {
    int status;
    std::string text;
    bool unreadable;
  };
  const std::vector<Case> cases = {
      {400, "messages.1.content.0: Invalid `signature` in `thinking` block",
       true},
      {400, "messages.1.content.0.thinking.signature: Field required", true},
      {400, "messages.5.content.0: Invalid `data` in `redacted_thinking` block",
       true},
      {400,
       "messages.3.content.0: `thinking` or `redacted_thinking` blocks in the "
       "latest assistant message cannot be modified.",
       true},
      {400,
       "messages.1.content.0.type: Expected `thinking` or "
       "`redacted_thinking`, but found `text`.",
       true},
      {400, "adaptive thinking is not supported on this model", false},
      {400, "`max_tokens` must be greater than `thinking.budget_tokens`",
       false},
      {400, "messages: text content blocks must be non-empty", false},
      {400, "prompt is too long: 210000 tokens > 200000 maximum", false},
      {500, "Invalid `signature` in `thinking` block", false},
  };
  for (const Case& one : cases) {
    ready_.reset();
    MustStart();
    Send(kTurn1);
    Json result = Result(kTurn1, "API Error: 400 " + one.text);
    result["is_error"] = true;
    result["terminal_reason"] = "api_error";
    result["api_error_status"] = one.status;
    Say(result);
    ASSERT_FALSE(owner_.ends.empty());
    EXPECT_EQ(owner_.ends.back().error_reason == "CONVERSATION_UNREADABLE",
              one.unreadable)
        << one.text;
  }
}

TEST_F(ClaudeTurnTest, WhetherItFailedIsSaidByIsErrorAndNotBySubtype) {
  struct Case {
    Json members;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {{{"is_error", true},
        {"api_error_status", 529},
        {"api_error_type", "overloaded_error"},
        {"result", "API Error: 529"}},
       "FAILED end_turn OVERLOADED_ERROR \"API Error: 529\""},
      {{{"is_error", true}, {"api_error_status", 401}, {"result", "Log in"}},
       "FAILED end_turn API_ERROR \"Log in\""},
      {{{"is_error", true},
        {"api_error_status", 404},
        {"result", "no such file"}},
       "FAILED end_turn API_ERROR \"no such file\""},
      {{{"is_error", true},
        {"subtype", "error_max_turns"},
        {"stop_reason", nullptr},
        {"terminal_reason", "max_turns"},
        {"result", nullptr},
        {"errors", {"Reached maximum", "of turns"}}},
       "FAILED max_turns ERROR_MAX_TURNS \"Reached maximum; of turns\""},
      {{{"is_error", true}, {"result", "Prompt is too long"}},
       "FAILED end_turn ERROR \"Prompt is too long\""},
      {{{"is_error", false}, {"subtype", "error_during_execution"}},
       "SUCCEEDED end_turn \"text\""}};
  MustStart();
  for (const Case& one : cases) {
    Send(kTurn1);
    Begin(kTurn1);
    Json result = Result(kTurn1, "text");
    result.update(one.members);
    Say(result);
    EXPECT_THAT(owner_.Take(), Contains(Ended(kTurn1, one.expected.c_str())));
  }
}

TEST_F(ClaudeTurnTest, WhyItFailedIsAlwaysAWordAndNeverAText) {
  const std::string sentence = "cannot do this: tell me a secret";
  const std::string endless(200, 'x');
  const std::vector<std::pair<Json, std::string>> cases = {
      {{{"api_error_type", "overloaded_error"}}, "OVERLOADED_ERROR"},
      {{{"api_error_type", "rate-limit.v2"}}, "RATE_LIMIT_V2"},
      {{{"api_error_type", std::string(63, 'x')}}, std::string(63, 'X')},
      {{{"api_error_type", ""}, {"api_error_status", 429}}, "API_ERROR"},
      {{{"api_error_type", sentence}, {"api_error_status", 400}}, "API_ERROR"},
      {{{"api_error_type", endless}, {"api_error_status", 400}}, "API_ERROR"},
      {{{"api_error_type", sentence}, {"subtype", "error_max_turns"}},
       "ERROR_MAX_TURNS"},
      {{{"api_error_type", 7}, {"subtype", "error_during_execution"}},
       "ERROR_DURING_EXECUTION"},
      {{{"subtype", sentence}, {"terminal_reason", "max_turns"}}, "MAX_TURNS"},
      {{{"subtype", "5xx"}, {"terminal_reason", "caf\u00e9"}}, "ERROR"},
      {{{"subtype", "_"}, {"terminal_reason", endless}}, "ERROR"},
      {{{"subtype", nullptr}, {"terminal_reason", nullptr}}, "ERROR"},
      {Json::object(), "ERROR"},
  };
  MustStart();
  for (const auto& [members, reason] : cases) {
    Send(kTurn1);
    Begin(kTurn1);
    Json result = Result(kTurn1, sentence);
    result["is_error"] = true;
    result.update(members);
    Say(result);
    ASSERT_FALSE(owner_.ends.empty());
    EXPECT_EQ(owner_.ends.back().outcome, v1::TURN_OUTCOME_FAILED) << members;
    EXPECT_EQ(owner_.ends.back().error_reason, reason) << members;
    owner_.ends.clear();
  }
}

TEST_F(ClaudeTurnTest, AResultWithoutTheUuidThatEndsTheOnlyTurnIsItsResult) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  Say(Result("", "hi"));
  EXPECT_THAT(owner_.log, Contains(Ended(kTurn1, "SUCCEEDED end_turn \"hi\"")));
}

TEST_P(ClaudeTurnVersionsTest, UsageAndCostAreToldAsTheProcessTellsThem) {
  MustStart();
  Send(kTurn1);
  Say(Data("turn", kTurn1));
  ASSERT_THAT(owner_.ends, SizeIs(1));
  const TurnEnd& end = owner_.ends.back();
  EXPECT_EQ(end.usage.input_tokens(), 100);
  EXPECT_EQ(end.usage.output_tokens(), 10);
  EXPECT_EQ(end.usage.cache_read_tokens(), 30);
  EXPECT_EQ(end.usage.cache_write_tokens(), 7);
  EXPECT_EQ(end.total_cost_usd, 0.25);
}

// --- Interrupting -----------------------------------------------------------

TEST_P(ClaudeTurnVersionsTest, A14_InterruptingAnIdleAgentDoesNothing) {
  MustStart();
  agent().Interrupt();
  loop_.Advance(profile_.interrupt_timeout);
  EXPECT_EQ(Requests("interrupt"), 0);
  EXPECT_THAT(owner_.log, IsEmpty());
  // Also not to the turn after it.
  Send(kTurn1);
  Say(Data("turn", kTurn1));
  EXPECT_EQ(Requests("interrupt"), 0);
}

TEST_P(ClaudeTurnVersionsTest, AnInterruptWaitsForTheTurnToBegin) {
  MustStart();
  Send(kTurn1);
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_EQ(Requests("interrupt"), 0) << "it would be lost";
  Begin(kTurn1);
  EXPECT_GE(Requests("interrupt"), 1);
  Say(Data("interrupted", kTurn1));
  EXPECT_THAT(owner_.log,
              Contains(Ended(kTurn1, "INTERRUPTED aborted_streaming")));
  loop_.Advance(profile_.interrupt_timeout);
  EXPECT_EQ(owner_.loss, std::nullopt);
}

TEST_P(ClaudeTurnVersionsTest, ARunningTurnIsInterruptedAtOnceAndOnce) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  agent().Interrupt();
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_EQ(Requests("interrupt"), 1);
}

TEST_P(ClaudeTurnVersionsTest, AnInterruptThatIsNotDoneInTimeEndsTheAgent) {
  for (const bool begun : {false, true}) {
    ready_.reset();
    MustStart();
    Send(kTurn1);
    if (begun) Begin(kTurn1);
    agent().Interrupt();
    loop_.RunUntilIdle();
    loop_.Advance(profile_.interrupt_timeout - absl::Milliseconds(1));
    EXPECT_THAT(owner_.log, Not(Contains(HasSubstr("lost"))));
    loop_.Advance(absl::Milliseconds(1));
    EXPECT_EQ(owner_.Take().back(), "lost AGENT_UNRESPONSIVE");
    EXPECT_EQ(launcher_.alive(), 0u);
  }
}

TEST_F(ClaudeTurnTest, AMessageCancelledInTheQueueHasNoResult) {
  MustStart();
  Send(kTurn1);
  agent().Interrupt();
  Say(Lines{Lifecycle(kTurn1, "queued").dump(),
            Lifecycle(kTurn1, "cancelled").dump()});
  EXPECT_THAT(owner_.log, ElementsAre(Ended(kTurn1, "INTERRUPTED cancelled")));
  loop_.Advance(profile_.interrupt_timeout);
  EXPECT_EQ(owner_.loss, std::nullopt);
}

TEST_F(ClaudeTurnTest, ATurnCancelledAfterItBeganEndsWithoutAResultAsWell) {
  MustStart();
  Send(kTurn1);
  Say(Lines{Lifecycle(kTurn1, "queued").dump(),
            Lifecycle(kTurn1, "started").dump()});
  agent().Interrupt();
  Say(Lifecycle(kTurn1, "cancelled"));
  EXPECT_THAT(owner_.Take(), ElementsAre(Started(kTurn1)));
  const int quiet = owner_.quiet;
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(owner_.log, ElementsAre(Ended(kTurn1, "INTERRUPTED cancelled")));
  EXPECT_EQ(owner_.quiet, quiet + 1);
  loop_.Advance(profile_.interrupt_timeout);
  EXPECT_EQ(owner_.loss, std::nullopt);
}

TEST_P(ClaudeTurnVersionsTest, ATurnOfItsOwnIsInterruptedAndNotTheNextOne) {
  MustStart();
  Say(Init(""));
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_EQ(Requests("interrupt"), 1);
  Send(kTurn1);
  Json aborted = Foreign(Result("", ""));
  aborted.update({{"is_error", true},
                  {"subtype", "error_during_execution"},
                  {"terminal_reason", "aborted_streaming"},
                  {"stop_reason", nullptr}});
  Say(aborted);
  Begin(kTurn1);
  EXPECT_EQ(Requests("interrupt"), 1);
  loop_.Advance(profile_.interrupt_timeout);
  EXPECT_THAT(owner_.log, ElementsAre("started -", "usage 0 0",
                                      "ended - INTERRUPTED aborted_streaming",
                                      Started(kTurn1)));
}

TEST_F(ClaudeTurnTest, AnInterruptReachesAMessageThatWaitsBehindAnotherTurn) {
  MustStart();
  Say(Init(""));
  Send(kTurn1);
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_EQ(Requests("interrupt"), 1);
  Say(Foreign(Result("", "other")));
  Begin(kTurn1);
  EXPECT_GE(Requests("interrupt"), 2);
}

}  // namespace
}  // namespace understudy::session
