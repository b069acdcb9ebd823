// How a ClaudeAgent starts, changes and ends.

#include <errno.h>
#include <signal.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/base/id.h"
#include "tests/session/agent/claude_fixture.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::Pair;
using Cause = ExitStatus::Cause;

class ClaudeTest : public ClaudeFixture {};
class ClaudeVersionsTest : public EachClaude {};
INSTANTIATE_TEST_SUITE_P(Versions, ClaudeVersionsTest,
                         ::testing::Values(kNewClaude, kOldClaude),
                         VersionName);

// --- The kind and the command -----------------------------------------------

TEST(ClaudeKindTest, IsRegistered) {
  ASSERT_NE(FindAgentKind("claude"), nullptr);
  EXPECT_THAT(AgentKindNames(), Contains("claude"));
  EXPECT_EQ(FindAgentKind("nobody"), nullptr);
  EXPECT_TRUE(FindAgentKind("claude")->valid_conversation(kEarlier));
  EXPECT_FALSE(FindAgentKind("claude")->valid_conversation("--resume"));
}

TEST_F(ClaudeTest, A4_TheModelIsPassedWhenItStarts) {
  profile_.args = {"--setting-sources="};
  ASSERT_THAT(Make(), IsOk());
  const std::vector<std::string>& argv = child().command().argv;
  ASSERT_GE(argv.size(), 2u);
  EXPECT_EQ(argv[0], "claude-program");
  EXPECT_EQ(argv[1], "--setting-sources=");
  EXPECT_THAT(Argument("--model"), Optional<std::string>("claude-sonnet-5-5"));
  EXPECT_TRUE(IsUuid(Argument("--session-id").value_or("")));
  EXPECT_EQ(Argument("--resume"), std::nullopt);
  EXPECT_EQ(Argument("--permission-mode"), std::nullopt);
  for (const char* option :
       {"--verbose", "--include-partial-messages", "--permission-prompt-tool",
        "--input-format", "--output-format"}) {
    EXPECT_THAT(argv, Contains(option));
  }
  // From the first moment on.
  EXPECT_EQ(agent().current().conversation, Argument("--session-id"));
}

TEST_F(ClaudeTest, A4_TheModelIsPassedWhenItResumes) {
  opening_.conversation = kEarlier;
  opening_.permission_mode = "plan";
  ASSERT_THAT(Make(), IsOk());
  EXPECT_THAT(Argument("--model"), Optional<std::string>("claude-sonnet-5-5"));
  EXPECT_THAT(Argument("--resume"), Optional<std::string>(kEarlier));
  EXPECT_EQ(Argument("--session-id"), std::nullopt);
  EXPECT_THAT(Argument("--permission-mode"), Optional<std::string>("plan"));
  EXPECT_EQ(agent().current().conversation, kEarlier);
}

TEST_F(ClaudeTest, A5_TheDefaultModelIsTheProfilesElseTheAgentsOwn) {
  opening_.model.clear();
  ASSERT_THAT(Make(), IsOk());
  EXPECT_THAT(Argument("--model"), Optional<std::string>("default"));
  owner_.agent.reset();
  profile_.default_model = "haiku";
  ASSERT_THAT(Make(), IsOk());
  EXPECT_THAT(Argument("--model"), Optional<std::string>("haiku"));
}

TEST_F(ClaudeTest, TheEnvironmentIsTheProfilesWithDefaultsOfOurs) {
  profile_.env = {{"HOME", "/home/agent"}, {"CLAUDE_CODE_EAGER_FLUSH", "0"}};
  ASSERT_THAT(Make(), IsOk());
  EXPECT_THAT(child().command().env,
              AllOf(Contains(Pair("HOME", "/home/agent")),
                    Contains(Pair("CLAUDE_CODE_EAGER_FLUSH", "0")),
                    Contains(Pair("DISABLE_AUTOUPDATER", "1"))));
  EXPECT_EQ(child().command().env.count("PATH"), 0u);
}

TEST_F(ClaudeTest, D11_NothingUncheckedReachesTheArguments) {
  const Opening good = opening_;
  for (const char* model : {"-p", "a b", "x\n--resume", "m;ls"}) {
    opening_ = good;
    opening_.model = model;
    EXPECT_THAT(Make(), HasReason(Reason::kFieldInvalid)) << model;
  }
  for (const char* conversation : {"--continue", "title", "../x"}) {
    opening_ = good;
    opening_.conversation = conversation;
    EXPECT_THAT(Make(), HasReason(Reason::kFieldInvalid)) << conversation;
  }
  for (const char* mode : {"-x", "accept edits", "plan=1"}) {
    opening_ = good;
    opening_.permission_mode = mode;
    EXPECT_THAT(Make(), HasReason(Reason::kFieldInvalid)) << mode;
  }
  EXPECT_EQ(launcher_.children(), 0u);
}

// --- The handshake ----------------------------------------------------------

TEST_P(ClaudeVersionsTest, IsReadyWhenItHasNamedTheModelInEffect) {
  Start();
  ASSERT_TRUE(ready_.has_value());
  EXPECT_THAT(*ready_, IsOk());
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_TRUE(agent().current().verified);
  EXPECT_EQ(agent().version(), old() ? "" : kNewClaude);
  ASSERT_EQ(agent().models().size(), 2u);
  EXPECT_TRUE(agent().models()[0].is_default);
  EXPECT_EQ(agent().models()[0].name, "Default (recommended)");
  EXPECT_EQ(agent().models()[1].resolved,
            old() ? "claude-sonnet-5" : "claude-haiku-5-5");
  EXPECT_EQ(agent().pid(), child().pid());
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_F(ClaudeTest, C9_TheModelIsTheOneThatTheProcessNames) {
  instead_["get_settings"] = "set_model";  // an answer that names none
  opening_.model = "haiku";
  MustStart();
  EXPECT_EQ(agent().current().model, "haiku");
  EXPECT_FALSE(agent().current().verified);
  // Then the next turn tells.
  model_ = "claude-haiku-5-5";
  Send(kTurn1);
  Say(Init(kTurn1));
  EXPECT_EQ(agent().current().model, "claude-haiku-5-5");
  EXPECT_TRUE(agent().current().verified);
  EXPECT_THAT(owner_.log, ElementsAre("state claude-haiku-5-5 " + conversation_,
                                      absl::StrCat("started ", kTurn1)));
}

TEST_F(ClaudeTest, AProcessThatIsNotReadyInTimeIsEnded) {
  for (const char* request : {"initialize", "get_settings"}) {
    unanswered_ = {request};
    owner_.agent.reset();
    owner_.Take();
    ready_.reset();
    Start();
    EXPECT_FALSE(ready_.has_value());
    loop_.Advance(profile_.start_timeout);
    ASSERT_TRUE(ready_.has_value());
    EXPECT_THAT(*ready_, HasReason(Reason::kAgentStartTimeout));
    EXPECT_THAT(owner_.Take(), ElementsAre("lost AGENT_START_TIMEOUT"));
    EXPECT_EQ(launcher_.alive(), 0u);
  }
}

TEST_P(ClaudeVersionsTest, D9_AnUnknownConversationIsReportedInItsOwnWords) {
  opening_.conversation = kEarlier;
  unanswered_ = {"initialize"};
  Start();
  child().Say(Data("no_conversation"));
  child().Exit({.exit_code = 1});
  loop_.RunUntilIdle();
  ASSERT_TRUE(ready_.has_value());
  EXPECT_THAT(*ready_, HasReason(Reason::kConversationNotFound));
  EXPECT_THAT(std::string(ready_->message()),
              HasSubstr(absl::StrCat("No conversation found with session ID: ",
                                     kEarlier)));
  EXPECT_THAT(owner_.log, ElementsAre("lost CONVERSATION_NOT_FOUND"));
}

TEST_F(ClaudeTest, D9_StderrAloneTellsAnUnknownConversationToo) {
  opening_.conversation = kEarlier;
  unanswered_ = {"initialize"};
  Start();
  child().Exit({.exit_code = 1,
                .stderr_tail =
                    "warning\nNo conversation found with session ID: x\nbye"});
  loop_.RunUntilIdle();
  EXPECT_THAT(*ready_, HasReason(Reason::kConversationNotFound));
  EXPECT_THAT(std::string(ready_->message()),
              ::testing::EndsWith("No conversation found with session ID: x"));
}

TEST_F(ClaudeTest, AProcessThatLeavesInTheHandshakeHasFailedToStart) {
  unanswered_ = {"initialize"};
  Start();
  child().Exit({.exit_code = 3, .stderr_tail = "hello\nError: no key"});
  loop_.RunUntilIdle();
  ASSERT_TRUE(ready_.has_value());
  EXPECT_THAT(*ready_, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(ready_->message(), "start claude: exited 3: Error: no key");
  EXPECT_THAT(MetadataOf(*ready_), Contains(Pair("exit_code", "3")));
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_START_FAILED"));
}

TEST_F(ClaudeTest, AProgramThatIsMissingIsSaidToBe) {
  launcher_.RefuseNext(ENOENT);
  Start();
  ASSERT_TRUE(ready_.has_value());
  EXPECT_THAT(*ready_, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(ready_->message(), "start claude: claude-program is not installed");
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_START_FAILED"));
}

TEST_F(ClaudeTest, AnErrorOfTheLauncherIsAFailureToStart) {
  launcher_.FailNext(absl::ResourceExhaustedError("no descriptors"));
  EXPECT_THAT(Make(), HasReason(Reason::kAgentStartFailed));
}

TEST_F(ClaudeTest, ARefusedHandshakeIsAFailureToStart) {
  instead_["initialize"] = "set_model_unknown";
  Start();
  EXPECT_THAT(*ready_, HasReason(Reason::kAgentStartFailed));
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_START_FAILED"));
}

// --- Changing the model -----------------------------------------------------

TEST_P(ClaudeVersionsTest, A1_TheModelIsChangedByARequestAndNotByACommand) {
  MustStart();
  Apply({.model = "haiku"});
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_EQ(agent().current().model, "claude-haiku-5-5");
  EXPECT_TRUE(agent().current().verified);
  EXPECT_EQ(agent().current().conversation, conversation_);
  EXPECT_EQ(Requests("set_model"), 1);
  for (const Json& line : Written()) {
    EXPECT_EQ(line["type"], "control_request");
    if (line["request"]["subtype"] == "set_model") {
      EXPECT_EQ(line["request"]["model"], "haiku");
    }
  }
  EXPECT_THAT(owner_.log, IsEmpty()) << "asked for, so no news";
}

TEST_F(ClaudeTest, A20_TheIdOfARequestIsFoundInsideTheResponse) {
  unanswered_ = {"set_model"};
  MustStart();
  Apply({.model = "haiku"});
  const std::string id = LastWritten()["request_id"];
  Json answer = {{"type", "control_response"},
                 {"request_id", id},
                 {"response",
                  {{"subtype", "success"},
                   {"request_id", "another"},
                   {"response", {{"model", "claude-opus-5-5"}}}}}};
  Say(answer);
  EXPECT_FALSE(changed_.has_value());
  answer["response"]["request_id"] = id;
  answer["request_id"] = "another";
  Say(answer);
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_EQ(agent().current().model, "claude-opus-5-5");
}

TEST_F(ClaudeTest, B2_TheEmptyModelIsTheAgentsDefault) {
  MustStart();
  Apply({.model = ""});
  EXPECT_THAT(*changed_, IsOk());
  for (const Json& line : Written()) {
    if (line["request"]["subtype"] == "set_model") {
      EXPECT_EQ(line["request"]["model"], "default");
    }
  }
  EXPECT_EQ(Requests("set_model"), 1);
}

TEST_F(ClaudeTest, AModelThatDoesNotExistIsRejectedAndNothingChanges) {
  instead_["set_model"] = "set_model_unknown";
  MustStart();
  Apply({.model = "claude-bogus-9"});
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kModelRejected));
  EXPECT_THAT(std::string(changed_->message()),
              HasSubstr("Model 'claude-bogus-9' not found"));
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_TRUE(agent().current().verified);
}

TEST_F(ClaudeTest, OnlyWhatIsTheModelsFaultRejectsIt) {
  MustStart();
  unanswered_ = {"set_model"};
  const std::vector<std::pair<std::string, Reason>> cases = {
      {"not_found", Reason::kModelRejected},
      {"check_rejected", Reason::kModelRejected},
      {"catalog_unknown", Reason::kModelRejected},
      {"unsupported_request", Reason::kCapabilityMissing},
      {"rate_limit", Reason::kAgentUnresponsive},
      {"check_server_error", Reason::kAgentUnresponsive},
      {"auth_failed", Reason::kAgentUnresponsive},
      {"never_heard_of", Reason::kAgentUnresponsive}};
  for (const auto& [code, reason] : cases) {
    Apply({.model = "x"});
    Say(Json{{"type", "control_response"},
             {"response",
              {{"subtype", "error"},
               {"request_id", LastWritten()["request_id"]},
               {"error", "it says why"},
               {"error_code", code},
               {"model", "claude-sonnet-5-5"}}}});
    ASSERT_TRUE(changed_.has_value()) << code;
    EXPECT_THAT(*changed_, HasReason(reason)) << code;
    EXPECT_THAT(std::string(changed_->message()), HasSubstr("it says why"));
  }
}

TEST_F(ClaudeTest, A2_AChangeEndsWithinItsBound) {
  unanswered_ = {"set_model"};
  MustStart();
  Apply({.model = "haiku"});
  const Json request = LastWritten();
  loop_.Advance(profile_.switch_timeout - absl::Milliseconds(1));
  EXPECT_FALSE(changed_.has_value());
  loop_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentUnresponsive));
  // Its answer comes too late to mean anything.
  Say(Data("set_model", "", request["request_id"]));
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
}

TEST_P(ClaudeVersionsTest, A2_TheCheckOfTheModelIsWithinTheSameBound) {
  MustStart();
  unanswered_ = {"get_settings"};
  Apply({.model = "haiku"});
  EXPECT_EQ(changed_.has_value(), !old());
  loop_.Advance(profile_.switch_timeout);
  ASSERT_TRUE(changed_.has_value());
  EXPECT_EQ(changed_->ok(), !old());
}

TEST_F(ClaudeTest, AProfileMayForbidNativeChanges) {
  profile_.native_switch = false;
  profile_.native_clear = false;
  MustStart();
  EXPECT_FALSE(agent().capabilities().switch_model);
  EXPECT_THAT(*Apply({.model = "haiku"}),
              HasReason(Reason::kCapabilityMissing));
  EXPECT_THAT(*Apply({.conversation = ""}),
              HasReason(Reason::kCapabilityMissing));
  EXPECT_EQ(Requests("set_model"), 0);
}

TEST_F(ClaudeTest, A23_AnAgentThatDiesDuringAChangeEndsIt) {
  unanswered_ = {"set_model"};
  MustStart();
  Apply({.model = "haiku"});
  owner_.on_call = [this](const std::string&) {
    EXPECT_TRUE(changed_.has_value()) << "the change ends before OnLost";
  };
  child().Exit({.cause = Cause::kSignaled, .signal = SIGSEGV});
  loop_.RunUntilIdle();
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentLost));
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_LOST"));
}

// --- What was granted, and what was spent, before ---------------------------

TEST_P(ClaudeVersionsTest, D12_WhatWasGrantedIsSaidAndNotPutInTheArguments) {
  opening_.conversation = kEarlier;
  opening_.grants = {"allow:Bash(npm test *)", "directory:/w",
                     "of a newer server"};
  MustStart();
  ASSERT_EQ(Requests("apply_flag_settings"), 1);
  const std::vector<Json> written = Written();
  ASSERT_GE(written.size(), 2u);
  EXPECT_EQ(written[1]["request"]["settings"],
            Json::parse(R"json({"permissions":{
                "allow":["Bash(npm test *)"],
                "additionalDirectories":["/w"]}})json"));
  for (const std::string& argument : child().command().argv) {
    EXPECT_THAT(argument, Not(HasSubstr("npm")));
  }
}

TEST_F(ClaudeTest, D12_AVersionThatTakesNoGrantsStartsNevertheless) {
  opening_.grants = {"allow:Bash"};
  instead_["apply_flag_settings"] = "set_model_unknown";
  MustStart();
  EXPECT_EQ(Requests("apply_flag_settings"), 1);
}

TEST_F(ClaudeTest, WithoutGrantsNothingIsSaidOfThem) {
  opening_.grants = {"of a newer server"};
  MustStart();
  EXPECT_EQ(Requests("apply_flag_settings"), 0);
}

TEST_P(ClaudeVersionsTest, E8_WhoResumesIsAskedWhatWasSpentBefore) {
  opening_.conversation = kEarlier;
  MustStart();
  EXPECT_EQ(Requests("get_usage"), 1);
  EXPECT_THAT(agent().current().total_cost_usd, Optional(old() ? 0 : 0.5));
}

TEST_F(ClaudeTest, E8_WhoBeginsHasSpentNothing) {
  MustStart();
  EXPECT_EQ(Requests("get_usage"), 0);
  EXPECT_THAT(agent().current().total_cost_usd, Optional(0.0));
}

TEST_F(ClaudeTest, E8_WhoDoesNotTellWhatWasSpentIsNotWaitedForLong) {
  opening_.conversation = kEarlier;
  unanswered_ = {"get_usage"};
  Start();
  EXPECT_FALSE(ready_.has_value());
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(ready_.has_value());
  EXPECT_THAT(*ready_, IsOk());
  EXPECT_EQ(agent().current().total_cost_usd, std::nullopt);
}

TEST_P(ClaudeVersionsTest, E8_AClearTellsWhereTheTotalGoesOn) {
  MustStart();
  Apply({.conversation = ""});
  Say(Data("clear", LastWritten()["uuid"]));
  EXPECT_THAT(agent().current().total_cost_usd, Optional(old() ? 0.75 : 0));
}

// --- Changing the conversation ----------------------------------------------

TEST_P(ClaudeVersionsTest, D1_AClearBeginsANewConversationOnTheSameModel) {
  MustStart();
  Apply({.conversation = ""});
  EXPECT_FALSE(changed_.has_value());
  const Json line = LastWritten();
  EXPECT_EQ(line["message"]["content"], "/clear");
  EXPECT_FALSE(line.contains("client_composed"));
  EXPECT_TRUE(IsUuid(line["uuid"].get<std::string>()));
  Say(Data("clear", line["uuid"]));
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_EQ(agent().current().conversation, kNext);
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_THAT(owner_.log, IsEmpty()) << "it is no turn";
}

TEST_P(ClaudeVersionsTest, AClearWithAModelEndsOnThatModel) {
  MustStart();
  Apply({.model = "haiku", .conversation = ""});
  EXPECT_EQ(Requests("set_model"), 1);
  EXPECT_FALSE(changed_.has_value());
  Say(Data("clear", LastWritten()["uuid"]));
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_EQ(agent().current().model, "claude-haiku-5-5");
  EXPECT_EQ(agent().current().conversation, kNext);
}

TEST_P(ClaudeVersionsTest, AClearDoesNotAskForTheModelThatIsThereAlready) {
  MustStart();
  Apply({.model = "claude-sonnet-5-5", .conversation = ""});
  EXPECT_EQ(Requests("set_model"), 0);
  Say(Data("clear", LastWritten()["uuid"]));
  EXPECT_THAT(*changed_, IsOk());
}

TEST_F(ClaudeTest, ARejectedModelLeavesTheConversationAsItWas) {
  instead_["set_model"] = "set_model_unknown";
  MustStart();
  Apply({.model = "claude-bogus-9", .conversation = ""});
  EXPECT_THAT(*changed_, HasReason(Reason::kModelRejected));
  for (const Json& line : Written()) EXPECT_NE(line["type"], "user");
}

TEST_P(ClaudeVersionsTest, AClearThatGivesNoNewConversationHasFailed) {
  MustStart();
  Apply({.conversation = ""});
  const std::string uuid = LastWritten()["uuid"];
  Begin(uuid);
  Say(Result(uuid, "/clear isn't available in this environment."));
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentProtocol));
}

TEST_P(ClaudeVersionsTest, A2_AClearEndsWithinItsBoundAndALateOneIsNews) {
  MustStart();
  Apply({.conversation = ""});
  const std::string uuid = LastWritten()["uuid"];
  loop_.Advance(profile_.switch_timeout);
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentUnresponsive));
  Say(Data("clear", uuid));
  EXPECT_THAT(owner_.log,
              ElementsAre(absl::StrCat("state claude-sonnet-5-5 ", kNext)));
}

TEST_F(ClaudeTest, AnotherConversationIsNotLoadedIntoARunningProcess) {
  MustStart();
  EXPECT_FALSE(agent().capabilities().load_conversation);
  Apply({.conversation = kEarlier});
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kCapabilityMissing));
}

// --- Its end ----------------------------------------------------------------

TEST_F(ClaudeTest, StopIsGentleAndEndsWithOnLost) {
  MustStart();
  agent().Stop(absl::Seconds(3));
  EXPECT_EQ(child().grace(), absl::Seconds(3));
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_LOST"));
  EXPECT_EQ(owner_.loss->exit.cause, Cause::kStopped);
}

TEST_F(ClaudeTest, A23_ADeadAgentTakesWhatIsStillSaidToIt) {
  MustStart();
  Send(kTurn1);
  child().Exit({.exit_code = 1, .stderr_tail = "boom"});
  agent().Interrupt();
  agent().AnswerPermission("x", {});
  agent().set_reading(false);
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_LOST"));
  EXPECT_THAT(std::string(owner_.loss->why.message()),
              HasSubstr("exited 1: boom"));
  EXPECT_THAT(MetadataOf(owner_.loss->why), Contains(Pair("exit_code", "1")));
  agent().Interrupt();
  agent().Stop(absl::ZeroDuration());
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_LOST"));
}

TEST_F(ClaudeTest, ALineThatIsTooLongIsTheReasonOfTheLoss) {
  MustStart();
  child().Exit({.cause = Cause::kLineTooLong, .signal = SIGKILL});
  loop_.RunUntilIdle();
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_LINE_TOO_LONG"));
}

TEST_F(ClaudeTest, AnAgentThatDoesNotReadIsEnded) {
  MustStart();
  child().set_reads_stdin(false);
  Send(kTurn1, std::string(17 << 20, 'x'));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_NO);
  EXPECT_THAT(owner_.log, IsEmpty()) << "one line may be of any size";
  agent().Interrupt();
  Say(Json{{"type", "control_request"},
           {"request_id", "r"},
           {"request", {{"subtype", "hook_callback"}}}});
  EXPECT_THAT(owner_.log, ElementsAre("lost AGENT_STALLED"));
}

TEST_F(ClaudeTest, TheOwnerMayDestroyItFromInsideEveryCall) {
  for (int at = 0;; ++at) {
    ready_.reset();
    MustStart();
    int calls = 0;
    owner_.on_call = [&](const std::string&) {
      if (calls++ == at) owner_.agent.reset();
    };
    Send(kTurn1);
    Lines lines = Data("turn", kTurn1);
    for (const char* more : {"permission", "notices", "unknown"}) {
      for (std::string& line : Data(more, kTurn2)) lines.push_back(line);
    }
    Json changed = Init("");
    changed["model"] = "another";
    changed["session_id"] = kNext;
    changed["slash_commands"] = {"other"};
    changed["permissionMode"] = "acceptEdits";
    lines.push_back(changed.dump());
    for (std::string& line : Data("interrupted", kTurn2)) {
      lines.push_back(line);
    }
    Say(lines);
    owner_.on_call = nullptr;
    if (owner_.agent != nullptr) {
      EXPECT_GT(at, 20) << "all of them were tried";
      break;
    }
    EXPECT_EQ(calls, at + 1) << "nothing is said after its end";
    EXPECT_EQ(launcher_.alive(), 0u);
  }
}

TEST_F(ClaudeTest, TheOwnerMayDestroyItFromInsideADone) {
  instead_["set_model"] = "set_model_unknown";
  MustStart();
  agent().Apply({.model = "x"}, [this](absl::Status) { owner_.agent.reset(); });
  loop_.RunUntilIdle();
  EXPECT_EQ(owner_.agent, nullptr);

  ready_.reset();
  unanswered_ = {"get_settings"};
  ASSERT_THAT(Make(), IsOk());
  agent().Start([this](absl::Status) { owner_.agent.reset(); });
  loop_.RunUntilIdle();
  loop_.Advance(profile_.start_timeout);
  EXPECT_EQ(owner_.agent, nullptr);
  EXPECT_THAT(owner_.log, IsEmpty()) << "it ended silently";
}

}  // namespace
}  // namespace understudy::session
