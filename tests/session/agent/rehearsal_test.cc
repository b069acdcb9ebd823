// The rehearsal agent speaks Claude Code's stream-json: what a host may rely
// on, spoken to the real program over pipes.

#include <signal.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

const auto kAsks = LineOf("control_request");
const auto kAssistant = LineOf("assistant");
const auto kDelta = LineOf("stream_event");

class RehearsalTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      RehearsalProcess::Arguments arguments = {}) {
    return {.program = UNDERSTUDY_REHEARSAL_PROGRAM,
            .arguments = std::move(arguments)};
  }
  static std::vector<std::string> Types(const std::vector<Json>& lines) {
    std::vector<std::string> types;
    for (const Json& line : lines) {
      std::string type = line["type"];
      if (line.contains("subtype") && type == "system") type = line["subtype"];
      if (type == "stream_event") type = line["event"]["type"];
      if (type == "command_lifecycle") type = line["state"];
      types.push_back(type);
    }
    return types;
  }
  RehearsalHome home_;
};

TEST_F(RehearsalTest, SaysNothingBeforeItIsSpokenTo) {
  RehearsalProcess agent(home_, With());
  std::string id = agent.Request("initialize", {{"hooks", nullptr}});
  Json first = agent.Next();
  EXPECT_EQ(first["type"], "control_response");
  EXPECT_EQ(first["response"]["request_id"], id);
}

TEST_F(RehearsalTest, InitializeTellsVersionModelsAndCapabilities) {
  RehearsalProcess agent(home_, With());
  Json response = agent.Ask("initialize")["response"];
  EXPECT_EQ(response["claude_code_version"], "2.1.329");
  EXPECT_EQ(response["pid"], agent.pid());
  EXPECT_EQ(response["current_permission_mode"], "default");
  EXPECT_EQ(response["session_state"], "idle");
  EXPECT_THAT(response["capabilities"].get<std::vector<std::string>>(),
              testing::IsSupersetOf({"interrupt_receipt_v1",
                                     "interrupt_cancel_queued_v1",
                                     "msg_lifecycle_v1"}));
  std::map<std::string, std::string> models;
  for (const Json& model : response["models"]) {
    models[model["value"]] = model["resolvedModel"];
  }
  EXPECT_EQ(models["default"], "claude-opus-5-5");
  EXPECT_EQ(models["sonnet"], "claude-sonnet-5-5");
}

TEST_F(RehearsalTest, ATurnHasTheRealLinesInTheirOrder) {
  RehearsalProcess agent(home_, With());
  std::string uuid = agent.User("hi");
  std::vector<Json> lines = agent.UntilResult();
  lines.push_back(agent.Next());
  std::vector<std::string> types = Types(lines);
  types.erase(std::unique(types.begin(), types.end()), types.end());
  EXPECT_THAT(
      types, ElementsAre("queued", "started", "init", "status", "message_start",
                         "content_block_start", "content_block_delta",
                         "assistant", "content_block_stop", "message_delta",
                         "message_stop", "result", "completed"));
  EXPECT_EQ(FirstOf(lines, "system", "init")["user_message_uuids"],
            Json({uuid}));
  EXPECT_EQ(FirstOf(lines, "assistant")["user_message_uuid"], uuid);
  Json result = FirstOf(lines, "result");
  EXPECT_EQ(result["user_message_uuids"], Json({uuid}));
  EXPECT_EQ(result["result"], "model=claude-opus-5-5 turns=1 text=hi");
  EXPECT_EQ(result["is_error"], false);
}

TEST_F(RehearsalTest, AResultNamesItsTypeLate) {
  RehearsalProcess agent(home_, With());
  agent.User("hi");
  std::string line;
  do {
    line = agent.NextBytes();
  } while (line.find("\"type\":\"result\"") == std::string::npos);
  EXPECT_THAT(line, testing::StartsWith("{\"duration_api_ms\":"));
}

TEST_F(RehearsalTest, EchoesNothingOfAMessageWithoutUuid) {
  RehearsalProcess agent(home_, With());
  agent.Send(
      {{"type", "user"}, {"message", {{"role", "user"}, {"content", "hi"}}}});
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(FirstOf(lines, "command_lifecycle"), Json());
  EXPECT_FALSE(lines.back().contains("user_message_uuid"));
}

TEST_F(RehearsalTest, ReplaysUserLinesOnlyIfAskedTo) {
  RehearsalProcess silent(home_, With());
  silent.User("hi");
  EXPECT_EQ(FirstOf(silent.UntilResult(), "user"), Json());
  RehearsalProcess replaying(home_, With({"--replay-user-messages"}));
  std::string uuid = replaying.User("hi");
  Json replay = FirstOf(replaying.UntilResult(), "user");
  EXPECT_EQ(replay["isReplay"], true);
  EXPECT_EQ(replay["uuid"], uuid);
}

TEST_F(RehearsalTest, CountsCostsAndTokensOfTheProcess) {
  RehearsalProcess agent(home_, With({"--model", "sonnet"}));
  agent.User("one");
  Json first = agent.Result();
  agent.User("two");
  Json second = agent.Result();
  EXPECT_GT(second["total_cost_usd"], first["total_cost_usd"]);
  int64_t input = second["modelUsage"]["claude-sonnet-5-5"]["inputTokens"];
  EXPECT_EQ(input, first["usage"]["input_tokens"].get<int64_t>() +
                       second["usage"]["input_tokens"].get<int64_t>());
}

TEST_F(RehearsalTest, SwitchesTheModelAndKeepsTheConversation) {
  RehearsalProcess agent(home_, With({"--model=sonnet"}));
  agent.User("remember 4711");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("I will remember 4711. model=claude-sonnet-5-5"));
  std::string id = agent.Request("set_model", {{"model", "haiku"}});
  std::vector<Json> lines = agent.Until(LineOf("control_response"));
  EXPECT_EQ(FirstOf(lines, "user")["isReplay"], true);
  EXPECT_EQ(lines.back()["response"]["response"]["model"], "claude-haiku-5-5");
  agent.User("what is the number?");
  lines = agent.UntilResult();
  EXPECT_EQ(FirstOf(lines, "system", "init")["model"], "claude-haiku-5-5");
  EXPECT_EQ(lines.back()["result"],
            "The number is 4711. model=claude-haiku-5-5 turns=2 text=what is "
            "the number?");
}

TEST_F(RehearsalTest, RefusesModelsThatDoNotExistAndNamesTheCurrentOne) {
  RehearsalProcess agent(home_, With({"--model=haiku", "--bad-model=opus-x",
                                      "--models=opus-x,mine"}));
  auto set = [&](Json model) {
    return agent.Ask("set_model", {{"model", std::move(model)}});
  };
  Json bogus = set("claude-bogus-9");
  EXPECT_EQ(bogus["error"], "Model 'claude-bogus-9' not found");
  EXPECT_EQ(bogus["error_code"], "not_found");
  EXPECT_EQ(bogus["model"], "claude-haiku-5-5");
  EXPECT_EQ(set("opus-x")["error_code"], "not_found");
  EXPECT_EQ(set("")["error_code"], "catalog_unknown");
  EXPECT_EQ(set(5)["error_code"], "invalid_request");
  EXPECT_EQ(set("mine")["response"]["model"], "mine");
  EXPECT_EQ(set(nullptr)["response"]["model"], "claude-opus-5-5");
  EXPECT_EQ(agent.Ask("get_settings")["response"]["applied"]["model"],
            "claude-opus-5-5");
}

TEST_F(RehearsalTest, ATurnWithAModelThatDoesNotExistFails) {
  RehearsalProcess agent(home_, With({"--model=claude-bogus-9"}));
  agent.User("hi");
  Json result = agent.Result();
  EXPECT_EQ(result["is_error"], true);
  EXPECT_EQ(result["subtype"], "success");
  EXPECT_EQ(result["api_error_status"], 404);
  EXPECT_THAT(result["result"].get<std::string>(),
              HasSubstr("issue with the selected model (claude-bogus-9)"));
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 1);
}

TEST_F(RehearsalTest, ClearForgetsTheConversationAndKeepsTheModel) {
  RehearsalProcess agent(home_, With({"--model=sonnet"}));
  agent.User("remember 4711");
  std::string old_id = agent.Result()["session_id"];
  std::string uuid = agent.User("/clear");
  std::vector<Json> lines = agent.UntilResult();
  Json reset = FirstOf(lines, "conversation_reset");
  EXPECT_EQ(reset["session_id"], old_id);
  Json init = FirstOf(lines, "system", "init");
  EXPECT_NE(init["session_id"], old_id);
  EXPECT_NE(init["session_id"], reset["new_conversation_id"]);
  EXPECT_EQ(init["model"], "claude-sonnet-5-5");
  EXPECT_EQ(lines.back()["local_command"], "clear");
  EXPECT_EQ(lines.back()["session_id"], init["session_id"]);
  EXPECT_EQ(lines.back()["user_message_uuid"], uuid);
  EXPECT_EQ(lines.back()["total_cost_usd"], 0);
  agent.User("what is the number?");
  EXPECT_THAT(
      agent.Result()["result"].get<std::string>(),
      HasSubstr("I know of no number. model=claude-sonnet-5-5 turns=1"));
}

TEST_F(RehearsalTest, ComposedOrIndentedTextIsNoCommand) {
  RehearsalProcess agent(home_, With());
  agent.User("/clear", {{"client_composed", true}});
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=1 text=/clear"));
  agent.User(" /clear");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=2 text= /clear"));
  agent.User("\n/clear");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=3 text=\n/clear"));
  agent.User("/no-such-command");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=4"));
}

TEST_F(RehearsalTest, OtherCommandsAreNotAvailable) {
  RehearsalProcess agent(home_, With());
  agent.User("/resume 5bbe5673-5c5c-46c5-a908-cde650a6dfa8");
  Json result = agent.Result();
  EXPECT_EQ(result["result"], "/resume isn't available in this environment.");
  EXPECT_EQ(result["is_error"], false);
  agent.User("/model haiku");
  EXPECT_EQ(agent.Result()["result"],
            "Set model to `Haiku 5.5` for this session only");
  agent.User("/model claude-bogus-9");
  EXPECT_EQ(agent.Result()["result"], "Model 'claude-bogus-9' not found");
}

TEST_F(RehearsalTest, UnknownControlRequestsAreRefused) {
  RehearsalProcess agent(home_, With());
  for (const char* subtype : {"clear", "resume", "load_session", ""}) {
    Json answer = agent.Ask(subtype);
    EXPECT_EQ(answer["subtype"], "error");
    EXPECT_EQ(answer["error_code"], "unsupported_request");
  }
}

TEST_F(RehearsalTest, PermissionModeChangesAndIsChecked) {
  RehearsalProcess agent(home_, With());
  EXPECT_EQ(agent.Ask("set_permission_mode", {{"mode", "plan"}})["response"],
            Json({{"mode", "plan"}}));
  EXPECT_EQ(agent.Next()["permissionMode"], "plan");
  EXPECT_EQ(agent.Ask("set_permission_mode", {{"mode", "x"}})["error_code"],
            "invalid_mode");
  EXPECT_EQ(agent.Ask("set_permission_mode",
                      {{"mode", "bypassPermissions"}})["error_code"],
            "bypass_not_launched");
}

TEST_F(RehearsalTest, RequestsAreAnsweredWhileATurnStreams) {
  RehearsalProcess agent(home_, With());
  agent.User("!deltas 1000000 8 1");
  agent.Until(kDelta);
  EXPECT_EQ(agent.Ask("initialize")["response"]["session_state"], "running");
  EXPECT_EQ(agent.Ask("set_model", {{"model", "haiku"}})["subtype"], "success");
}

TEST_F(RehearsalTest, MergesWaitingMessagesIntoOneTurn) {
  RehearsalProcess agent(home_, With({"--fault=delay@turn-start=50"}));
  agent.User("one");
  std::string two = agent.User("two");
  std::string three = agent.User("three");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=1 text=one"));
  Json merged = agent.Result();
  EXPECT_THAT(merged["result"].get<std::string>(),
              HasSubstr("turns=2 text=two\nthree"));
  EXPECT_EQ(merged["user_message_uuids"], Json({two, three}));
  EXPECT_EQ(merged["user_message_uuid"], three);
}

TEST_F(RehearsalTest, AWaitingMessageJoinsATurnThatUsesTools) {
  RehearsalProcess agent(home_, With());
  std::string first = agent.User("!tool Edit {}");
  Json request = agent.Until(kAsks).back();
  std::string folded = agent.User("more");
  agent.Ask("mcp_status");
  agent.Permit(request, {{"behavior", "deny"}, {"message", "no"}});
  Json result = agent.Result();
  EXPECT_EQ(result["user_message_uuids"], Json({first, folded}));
  EXPECT_THAT(result["result"].get<std::string>(), HasSubstr("turns=2"));
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalTest, ASecondMessageWithTheSameUuidIsDropped) {
  RehearsalProcess agent(home_, With());
  std::string uuid = agent.User("one");
  agent.Result();
  agent.User("again", {{"uuid", uuid}});
  std::string next = agent.User("next");
  Json result = agent.Result();
  EXPECT_EQ(result["user_message_uuid"], next);
  EXPECT_THAT(result["result"].get<std::string>(), HasSubstr("turns=2"));
}

TEST_F(RehearsalTest, MalformedLinesKillIt) {
  std::map<std::string, std::string> lines = {
      {"{\"type\":\"user\", oops",
       "Error parsing streaming input line (type=user, 20 chars): "
       "SyntaxError\n"},
      {"null", "Error parsing streaming input line"},
      {"{\"type\":\"user\"}",
       "Error: Expected message role 'user', got 'undefined'\n"},
      {"{\"type\":\"control_request\",\"request_id\":\"x\"}",
       "Error: Missing request on control_request\n"}};
  for (const auto& [line, error] : lines) {
    RehearsalProcess agent(home_, With());
    agent.Write(line + "\n");
    EXPECT_EQ(agent.NextBytes(), "");
    EXPECT_EQ(agent.Wait(), 1) << line;
    EXPECT_THAT(agent.Stderr(), HasSubstr(error));
  }
}

TEST_F(RehearsalTest, StrangeLinesAreIgnored) {
  RehearsalProcess agent(home_, With());
  agent.Write("\n[1]\n\"text\"\n{\"type\":\"keep_alive\"}\n{\"a\":1}\r\n");
  agent.Write("{\"type\":\"control_response\",\"response\":{}}\n");
  agent.Write(
      "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":"
      "\"\xff\"}}\r\n");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("text=\xef\xbf\xbd"));
}

TEST_F(RehearsalTest, EndOfInputFinishesTheTurnAndTheQueue) {
  RehearsalProcess agent(home_, With());
  agent.User("!sleep 0.05");
  agent.User("/model");
  agent.User("last");
  agent.CloseInput();
  agent.Result();
  agent.Result();
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("text=last"));
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalTest, SigtermEndsItAtOnceWithoutAResult) {
  RehearsalProcess agent(home_, With());
  agent.User("!sleep 100");
  agent.Until(kAssistant);
  agent.Ask("mcp_status");
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.NextBytes(), "");
  EXPECT_EQ(agent.Wait(), 143);
}

TEST_F(RehearsalTest, SigintAbortsTheTurnAndEndsProperly) {
  RehearsalProcess agent(home_, With());
  agent.User("!sleep 100");
  agent.Until(kAssistant);
  agent.Ask("mcp_status");
  agent.Signal(SIGINT);
  EXPECT_EQ(agent.Result()["terminal_reason"], "aborted_tools");
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalTest, EndSessionAnswersAndEnds) {
  RehearsalProcess idle(home_, With());
  EXPECT_EQ(idle.Ask("end_session")["subtype"], "success");
  EXPECT_EQ(idle.Wait(), 0);
  RehearsalProcess busy(home_, With());
  busy.User("!sleep 100");
  busy.Until(kAssistant);
  EXPECT_EQ(busy.Ask("end_session")["subtype"], "success");
  EXPECT_EQ(busy.Result()["is_error"], true);
  EXPECT_EQ(busy.Wait(), 1);
}

TEST_F(RehearsalTest, UnknownOptionsAreRefused) {
  RehearsalProcess agent(home_, With({"--frobnicate"}));
  EXPECT_EQ(agent.Wait(), 1);
  EXPECT_EQ(agent.Stderr(), "error: unknown option '--frobnicate'\n");
}

TEST_F(RehearsalTest, TakesItsOptionsFromTheEnvironmentToo) {
  RehearsalProcess::Options options = With();
  options.environment = "--models 'a b' --fault=\"stderr@spawn=two words\"";
  RehearsalProcess agent(home_, options);
  EXPECT_EQ(agent.Ask("set_model", {{"model", "a b"}})["subtype"], "success");
  EXPECT_THAT(agent.Stderr(), HasSubstr("two words\n"));
}

TEST_F(RehearsalTest, LegacyTellsLessAndAcceptsMore) {
  RehearsalProcess agent(home_, With({"--legacy"}));
  Json initialized = agent.Ask("initialize")["response"];
  EXPECT_FALSE(initialized.contains("claude_code_version"));
  EXPECT_FALSE(initialized.contains("capabilities"));
  Json set = agent.Ask("set_model", {{"model", "claude-bogus-9"}});
  EXPECT_EQ(set["subtype"], "success");
  EXPECT_FALSE(set.contains("response"));
  agent.User("hi");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(lines.back()["api_error_status"], 404);
  EXPECT_FALSE(lines.back().contains("user_message_uuid"));
  EXPECT_THAT(Types(lines), Not(testing::Contains("queued")));
  std::string before = lines.back()["session_id"];
  agent.User("/clear", {{"client_composed", true}});
  lines = agent.UntilResult();
  EXPECT_NE(lines.back()["session_id"], before);
  EXPECT_THAT(Types(lines), ElementsAre("init", "assistant", "result"));
}

TEST_F(RehearsalTest, LegacyRunsWaitingMessagesOneByOne) {
  RehearsalProcess agent(home_, With({"--legacy", "--model=haiku"}));
  for (const char* text : {"one", "two", "three"}) agent.User(text);
  for (const char* text : {"one", "two", "three"}) {
    EXPECT_THAT(agent.Result()["result"].get<std::string>(),
                testing::EndsWith(text));
  }
}

}  // namespace
}  // namespace understudy::session
