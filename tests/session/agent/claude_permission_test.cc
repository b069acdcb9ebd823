// The permissions that a ClaudeAgent asks for, and what the answers grant.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/agent/agent.h"
#include "tests/session/agent/claude_fixture.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ClaudePermissionTest : public ClaudeFixture {
 protected:
  void Ask() {
    MustStart();
    Send(kTurn1);
    Say(Data("permission", kTurn1));
  }
  Json Answered(const PermissionAnswer& answer) {
    agent().AnswerPermission("permission-1", answer);
    loop_.RunUntilIdle();
    const Json line = LastWritten();
    EXPECT_EQ(line["type"], "control_response");
    EXPECT_EQ(line["response"]["subtype"], "success");
    EXPECT_EQ(line["response"]["request_id"], "permission-1");
    return line["response"]["response"];
  }
};

TEST_F(ClaudePermissionTest, IsAskedForWithWhatMayBeAnswered) {
  Ask();
  const v1::PermissionRequested& asked = owner_.permission;
  EXPECT_EQ(asked.permission_id(), "permission-1");
  EXPECT_EQ(asked.tool_name(), "Bash");
  EXPECT_EQ(asked.input_json(), R"({"command":"touch made"})");
  EXPECT_EQ(asked.description(), "make a file");
  ASSERT_EQ(asked.options_size(), 3);
  EXPECT_EQ(asked.options(0).kind(), v1::PERMISSION_OPTION_KIND_ALLOW_ONCE);
  EXPECT_EQ(asked.options(1).kind(), v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS);
  EXPECT_EQ(asked.options(2).kind(), v1::PERMISSION_OPTION_KIND_DENY_ONCE);
}

TEST_F(ClaudePermissionTest, IsGivenOnceWithTheSameInput) {
  Ask();
  const Json answer = Answered({.decision = v1::PERMISSION_DECISION_ALLOW});
  EXPECT_EQ(answer["behavior"], "allow");
  EXPECT_EQ(answer["updatedInput"], Json({{"command", "touch made"}}));
  EXPECT_FALSE(answer.contains("updatedPermissions"));
}

TEST_F(ClaudePermissionTest, IsGivenForTheSessionAndForNoLonger) {
  for (const bool by_option : {false, true}) {
    ready_.reset();
    Ask();
    PermissionAnswer answer{.decision = v1::PERMISSION_DECISION_ALLOW,
                            .scope = v1::PERMISSION_SCOPE_SESSION};
    if (by_option)
      answer = {.option_id = owner_.permission.options(1).option_id()};
    const Json rules = Answered(answer)["updatedPermissions"];
    ASSERT_EQ(rules.size(), 2u);
    EXPECT_EQ(rules[0]["type"], "addRules");
    EXPECT_EQ(rules[0]["rules"][0]["ruleContent"], "touch made *");
    EXPECT_EQ(rules[0]["behavior"], "allow");
    for (const Json& rule : rules) EXPECT_EQ(rule["destination"], "session");
  }
}

TEST_F(ClaudePermissionTest, D12_AnAnswerForTheSessionSaysWhatItGrants) {
  const std::vector<std::string> granted = {"allow:Bash(touch made *)",
                                            "directory:/w"};
  for (const char* option : {"", "allow_session"}) {
    ready_.reset();
    Ask();
    PermissionAnswer answer{.decision = v1::PERMISSION_DECISION_ALLOW,
                            .scope = v1::PERMISSION_SCOPE_SESSION};
    answer.option_id = option;
    EXPECT_EQ(agent().AnswerPermission("permission-1", answer), granted);
    EXPECT_THAT(agent().AnswerPermission("permission-1", answer), IsEmpty());
  }
}

TEST_F(ClaudePermissionTest, AnyOtherAnswerGrantsNothing) {
  const std::vector<PermissionAnswer> answers = {
      {.decision = v1::PERMISSION_DECISION_ALLOW},
      {.decision = v1::PERMISSION_DECISION_DENY,
       .scope = v1::PERMISSION_SCOPE_SESSION},
      {.decision = v1::PERMISSION_DECISION_ALLOW,
       .scope = v1::PERMISSION_SCOPE_SESSION,
       .option_id = "allow"},
      {.decision = v1::PERMISSION_DECISION_ALLOW,
       .scope = v1::PERMISSION_SCOPE_SESSION,
       .updated_input_json = "no object"},
  };
  for (const PermissionAnswer& answer : answers) {
    ready_.reset();
    Ask();
    EXPECT_THAT(agent().AnswerPermission("permission-1", answer), IsEmpty());
  }
}

TEST_F(ClaudePermissionTest, IsDeniedWithAReason) {
  Ask();
  const Json answer = Answered(
      {.decision = v1::PERMISSION_DECISION_DENY, .message = "not \"now\"\n"});
  EXPECT_EQ(answer["behavior"], "deny");
  EXPECT_EQ(answer["message"], "not \"now\"\n");
}

TEST_F(ClaudePermissionTest, AnOptionWinsOverTheDecision) {
  Ask();
  EXPECT_EQ(
      Answered(
          {.decision = v1::PERMISSION_DECISION_ALLOW,
           .option_id = owner_.permission.options(2).option_id()})["behavior"],
      "deny");
}

TEST_F(ClaudePermissionTest, AnOptionThatWasNotOfferedAllowsNothing) {
  Ask();
  EXPECT_EQ(Answered({.decision = v1::PERMISSION_DECISION_ALLOW,
                      .option_id = "everything"})["behavior"],
            "deny");
}

TEST_F(ClaudePermissionTest, AChangedInputIsPassedOnOnOneLine) {
  Ask();
  const Json answer =
      Answered({.decision = v1::PERMISSION_DECISION_ALLOW,
                .updated_input_json = "{\n  \"command\": \"touch  other\"\n}"});
  EXPECT_EQ(answer["updatedInput"], Json({{"command", "touch  other"}}));
  EXPECT_THAT(child().lines().back(), Not(HasSubstr("\n")));
}

TEST_F(ClaudePermissionTest, AChangedInputThatIsNoObjectAllowsNothing) {
  for (const char* input : {"[]", "1", "{", "{\"a\":\"\\x\"}", "{}\n{}"}) {
    ready_.reset();
    Ask();
    EXPECT_EQ(Answered({.decision = v1::PERMISSION_DECISION_ALLOW,
                        .updated_input_json = input})["behavior"],
              "deny")
        << input;
  }
}

TEST_F(ClaudePermissionTest, E3_ARequestThatIsTakenBackIsVoid) {
  Ask();
  owner_.Take();
  Say(Json{{"type", "control_cancel_request"}, {"request_id", "permission-1"}});
  Say(Json{{"type", "control_cancel_request"}, {"request_id", "another"}});
  EXPECT_THAT(owner_.log, ElementsAre("withdrawn permission-1"));
  const size_t written = child().lines().size();
  agent().AnswerPermission("permission-1", {});
  loop_.RunUntilIdle();
  EXPECT_EQ(child().lines().size(), written);
}

TEST_F(ClaudePermissionTest, E3_AnInterruptedTurnTakesItsRequestsWithIt) {
  Ask();
  agent().Interrupt();
  owner_.Take();
  Say(Data("interrupted", kTurn1));
  EXPECT_THAT(owner_.log,
              ElementsAre("usage 0 0", "withdrawn permission-1",
                          absl::StrCat("ended ", kTurn1,
                                       " INTERRUPTED aborted_streaming")));
}

TEST_F(ClaudePermissionTest, ARequestThatIsNotKnownIsRefused) {
  MustStart();
  Say(Json{{"type", "control_request"},
           {"request_id", "h1"},
           {"request", {{"subtype", "hook_callback"}}}});
  const Json line = LastWritten();
  EXPECT_EQ(line["type"], "control_response");
  EXPECT_EQ(line["response"]["subtype"], "error");
  EXPECT_EQ(line["response"]["request_id"], "h1");
}

}  // namespace
}  // namespace understudy::session
