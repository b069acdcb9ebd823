// The rehearsal agent in the Agent Client Protocol: its methods, and many
// conversations in one process.

#include <signal.h>

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr int kInvalidParams = -32602;
constexpr int kMethodNotFound = -32601;
constexpr int kNotFound = -32002;

class RehearsalAcpTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      RehearsalProcess::Arguments arguments = {}) {
    return {.program = UNDERSTUDY_REHEARSAL_PROGRAM,
            .arguments = std::move(arguments),
            .acp = true};
  }
  static std::string New(RehearsalProcess& agent) {
    return agent.Do("session/new", kOpening)["result"]["sessionId"];
  }
  static Json Opening(const std::string& id) {
    Json params = kOpening;
    params["sessionId"] = id;
    return params;
  }
  static int Prompt(RehearsalProcess& agent, const std::string& id,
                    const std::string& text) {
    Json block = {{"type", "text"}, {"text", text}};
    return agent.Call("session/prompt",
                      {{"sessionId", id}, {"prompt", Json::array({block})}});
  }
  // The text of a whole turn.
  static std::string Say(RehearsalProcess& agent, const std::string& id,
                         const std::string& text) {
    return Text(agent.UntilAnswer(Prompt(agent, id, text)), id);
  }
  static void Cancel(RehearsalProcess& agent, const std::string& id) {
    agent.Notify("session/cancel", {{"sessionId", id}});
  }
  static Json SetModel(RehearsalProcess& agent, const std::string& id,
                       const std::string& model) {
    return agent.Do(
        "session/set_config_option",
        {{"sessionId", id}, {"configId", "model"}, {"value", model}});
  }
  static void Select(RehearsalProcess& agent, const Json& request,
                     const std::string& kind) {
    for (const Json& option : request["params"]["options"]) {
      if (option["kind"] != kind) continue;
      agent.Send(
          {{"jsonrpc", "2.0"},
           {"id", request["id"]},
           {"result",
            {{"outcome",
              {{"outcome", "selected"}, {"optionId", option["optionId"]}}}}}});
    }
  }
  static bool Asks(const Json& line) {
    return line.value("method", "") == "session/request_permission";
  }
  static bool IsAnswer(const Json& line) { return !line.contains("method"); }
  static bool IsChunk(const Json& line) {
    return line.value("method", "") == "session/update" &&
           line["params"]["update"]["sessionUpdate"] == "agent_message_chunk";
  }
  // The updates of this conversation and kind; of every kind if it is "".
  static std::vector<Json> Updates(const std::vector<Json>& lines,
                                   const std::string& id,
                                   const std::string& kind = "") {
    std::vector<Json> updates;
    for (const Json& line : lines) {
      if (line.value("method", "") != "session/update") continue;
      const Json& update = line["params"]["update"];
      if (line["params"]["sessionId"] != id) continue;
      if (kind.empty() || update["sessionUpdate"] == kind) {
        updates.push_back(update);
      }
    }
    return updates;
  }
  static std::string Text(const std::vector<Json>& lines, const std::string& id,
                          const std::string& kind = "agent_message_chunk") {
    std::string text;
    for (const Json& update : Updates(lines, id, kind)) {
      text += update["content"]["text"];
    }
    return text;
  }
  static Json StopReason(const Json& answer) {
    return answer["result"]["stopReason"];
  }
  static Json CurrentModel(const Json& answer) {
    return answer["result"]["configOptions"][0]["currentValue"];
  }

  static inline const Json kOpening = {{"cwd", "/x"},
                                       {"mcpServers", Json::array()}};
  RehearsalHome home_;
};

TEST_F(RehearsalAcpTest, SpeaksVersionOneWhateverIsAskedFor) {
  RehearsalProcess agent(home_, With());
  Json result = agent.Do("initialize", {{"protocolVersion", 99}})["result"];
  EXPECT_EQ(result["protocolVersion"], 1);
  EXPECT_EQ(result["agentInfo"]["name"], "understudy-rehearsal");
  const Json& able = result["agentCapabilities"];
  EXPECT_EQ(able["loadSession"], true);
  EXPECT_EQ(able["promptCapabilities"]["image"], true);
  for (const char* method : {"close", "list", "resume"}) {
    EXPECT_TRUE(able["sessionCapabilities"].contains(method)) << method;
  }
}

TEST_F(RehearsalAcpTest, ATurnStreamsTextTellsUsageAndThenItsStopReason) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  std::vector<Json> lines = agent.UntilAnswer(Prompt(agent, id, "hi"));
  EXPECT_EQ(Text(lines, id), "model=claude-opus-5-5 turns=1 text=hi");
  std::vector<Json> usage = Updates(lines, id, "usage_update");
  ASSERT_THAT(usage, SizeIs(1));
  EXPECT_EQ(usage[0]["size"], 1000000);
  EXPECT_GT(usage[0]["cost"]["amount"], 0);
  Json result = lines.back()["result"];
  EXPECT_EQ(result["stopReason"], "end_turn");
  EXPECT_EQ(result["usage"]["totalTokens"], usage[0]["used"]);
}

TEST_F(RehearsalAcpTest, ANewConversationTellsItsModelsModesAndCommands) {
  RehearsalProcess agent(home_, With({"--model=haiku"}));
  std::vector<Json> lines =
      agent.UntilAnswer(agent.Call("session/new", kOpening));
  Json result = lines.back()["result"];
  EXPECT_EQ(result["configOptions"][0]["category"], "model");
  EXPECT_EQ(CurrentModel(lines.back()), "claude-haiku-5-5");
  EXPECT_THAT(result["configOptions"][0]["options"], SizeIs(4));
  EXPECT_EQ(result["modes"]["currentModeId"], "default");
  EXPECT_EQ(agent.Next()["params"]["update"]["sessionUpdate"],
            "available_commands_update");
}

TEST_F(RehearsalAcpTest, WhatIsWrongIsRefusedByItsCode) {
  RehearsalProcess agent(home_, With());
  const std::string id = New(agent);
  agent.Next();
  auto code = [&](const std::string& method, Json params) {
    return agent.Do(method, std::move(params))["error"]["code"];
  };
  EXPECT_EQ(code("session/new", {{"cwd", "/x"}}), kInvalidParams);
  EXPECT_EQ(code("session/new", {{"mcpServers", Json::array()}}),
            kInvalidParams);
  EXPECT_EQ(code("session/new", {{"cwd", "x"}, {"mcpServers", Json::array()}}),
            kInvalidParams);
  EXPECT_EQ(code("session/prompt", {{"sessionId", id}}), kInvalidParams);
  EXPECT_EQ(code("session/prompt", {{"prompt", Json::array()}}),
            kInvalidParams);
  EXPECT_EQ(code("session/nope", Json::object()), kMethodNotFound);
  for (const char* method :
       {"session/prompt", "session/load", "session/resume", "session/close",
        "session/set_config_option", "session/set_mode"}) {
    EXPECT_EQ(code(method, Opening("nobody")), kNotFound) << method;
    EXPECT_EQ(code(method, Opening(RandomUuid())), kNotFound) << method;
  }
  agent.Write("this is no JSON\n");
  Json answer = agent.Next();
  EXPECT_EQ(answer["error"]["code"], -32700);
  EXPECT_EQ(answer["id"], Json());
  agent.Write("[]\n\r\n\n");
  EXPECT_EQ(agent.Next()["error"]["code"], -32600);
  agent.Notify("session/nope", Json::object());
  EXPECT_THAT(Say(agent, id, "hi"), EndsWith("turns=1 text=hi"));
}

TEST_F(RehearsalAcpTest, IdsOfRequestsMayBeText) {
  RehearsalProcess agent(home_, With());
  agent.Send({{"jsonrpc", "2.0"},
              {"id", "one"},
              {"method", "initialize"},
              {"params", {{"protocolVersion", 1}}}});
  EXPECT_EQ(agent.Next()["id"], "one");
}

TEST_F(RehearsalAcpTest, ReadsPicturesAndLinks) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  Json prompt = Json::array(
      {{{"type", "text"}, {"text", "see"}},
       {{"type", "image"}, {"mimeType", "image/png"}, {"data", "AAAA"}},
       {{"type", "resource_link"}, {"name", "a"}, {"uri", "file:///a"}}});
  int call =
      agent.Call("session/prompt", {{"sessionId", id}, {"prompt", prompt}});
  EXPECT_THAT(Text(agent.UntilAnswer(call), id),
              EndsWith("text=see\n[image image/png 3 bytes]\n@file:///a"));
}

TEST_F(RehearsalAcpTest, ASwitchedModelAnswersAndANewConversationHasTheFirst) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int call = agent.Call(
      "session/set_config_option",
      {{"sessionId", id}, {"configId", "model"}, {"value", "haiku"}});
  std::vector<Json> lines = agent.UntilAnswer(call);
  EXPECT_THAT(Updates(lines, id, "config_option_update"), SizeIs(1));
  EXPECT_EQ(CurrentModel(lines.back()), "claude-haiku-5-5");
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("model=claude-haiku-5-5"));
  EXPECT_EQ(CurrentModel(agent.Do("session/new", kOpening)), "claude-opus-5-5");
}

TEST_F(RehearsalAcpTest, ASwitchDuringATurnTakesEffectOnTheNext) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"a\"}");
  Json request = agent.Until(Asks).back();
  EXPECT_EQ(CurrentModel(SetModel(agent, id, "haiku")), "claude-haiku-5-5");
  Select(agent, request, "allow_once");
  agent.Answer(turn);
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("model=claude-haiku-5-5"));
}

TEST_F(RehearsalAcpTest, ABadModelIsRefusedAndHarmsNothing) {
  RehearsalProcess agent(home_, With({"--bad-model=claude-haiku-5-5"}));
  std::string id = New(agent);
  for (const char* model : {"bogus", "haiku", ""}) {
    EXPECT_EQ(SetModel(agent, id, model)["error"]["code"], kInvalidParams);
  }
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("model=claude-opus-5-5"));
}

TEST_F(RehearsalAcpTest, AnAgentThatTakesAnyModelFailsTheNextTurn) {
  RehearsalProcess agent(home_, With({"--acp-any-model"}));
  std::string id = New(agent);
  EXPECT_EQ(CurrentModel(SetModel(agent, id, "bogus")), "bogus");
  Json error = agent.Answer(Prompt(agent, id, "hi"))["error"];
  EXPECT_EQ(error["code"], -32603);
  EXPECT_EQ(error["message"], "Internal error: The model bogus does not exist");
  SetModel(agent, id, "opus");
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("turns=1"));
}

TEST_F(RehearsalAcpTest, ModelsMayBeOfTheOldKind) {
  RehearsalProcess agent(home_, With({"--acp-models=legacy"}));
  Json result = agent.Do("session/new", kOpening)["result"];
  EXPECT_FALSE(result.contains("configOptions"));
  EXPECT_EQ(result["models"]["currentModelId"], "claude-opus-5-5");
  EXPECT_THAT(result["models"]["availableModels"], SizeIs(4));
  std::string id = result["sessionId"];
  EXPECT_EQ(SetModel(agent, id, "haiku")["error"]["code"], kMethodNotFound);
  Json answer = agent.Do("session/set_model",
                         {{"sessionId", id}, {"modelId", "claude-haiku-5-5"}});
  EXPECT_EQ(answer["result"], Json::object());
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("model=claude-haiku-5-5"));
}

TEST_F(RehearsalAcpTest, ModelsMayBeOfBothKindsOrOfNone) {
  RehearsalProcess both(home_, With({"--acp-models=both"}));
  Json result = both.Do("session/new", kOpening)["result"];
  EXPECT_TRUE(result.contains("configOptions") && result.contains("models"));
  Json params = {{"sessionId", result["sessionId"]}, {"modelId", "haiku"}};
  EXPECT_TRUE(both.Do("session/set_model", params).contains("result"));
  RehearsalProcess none(home_, With({"--acp-without=models"}));
  result = none.Do("session/new", kOpening)["result"];
  EXPECT_FALSE(result.contains("configOptions") || result.contains("models"));
  EXPECT_EQ(none.Do("session/set_model", params)["error"]["code"],
            kMethodNotFound);
}

TEST_F(RehearsalAcpTest, AModeDecidesWhatIsAsked) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int call = agent.Call("session/set_mode",
                        {{"sessionId", id}, {"modeId", "acceptEdits"}});
  EXPECT_EQ(Updates(agent.UntilAnswer(call), id).back()["currentModeId"],
            "acceptEdits");
  std::vector<Json> lines =
      agent.UntilAnswer(Prompt(agent, id, "!tool Write {\"file_path\":\"a\"}"));
  EXPECT_EQ(Updates(lines, id, "tool_call")[0]["kind"], "edit");
  EXPECT_EQ(Updates(lines, id, "tool_call_update").back()["status"],
            "completed");
  Json bad =
      agent.Do("session/set_mode", {{"sessionId", id}, {"modeId", "anarchy"}});
  EXPECT_EQ(bad["error"]["code"], kInvalidParams);
}

TEST_F(RehearsalAcpTest, ModesMayBeAConfigOption) {
  RehearsalProcess agent(home_, With({"--acp-modes=config"}));
  Json result = agent.Do("session/new", kOpening)["result"];
  EXPECT_FALSE(result.contains("modes"));
  EXPECT_EQ(result["configOptions"][1]["category"], "mode");
  Json answer =
      agent.Do("session/set_config_option", {{"sessionId", result["sessionId"]},
                                             {"configId", "mode"},
                                             {"value", "plan"}});
  EXPECT_EQ(answer["result"]["configOptions"][1]["currentValue"], "plan");
  EXPECT_EQ(agent.Do("session/set_mode", Json::object())["error"]["code"],
            kMethodNotFound);
}

TEST_F(RehearsalAcpTest, AsksBeforeItUsesATool) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"touch a\"}");
  std::vector<Json> lines = agent.Until(Asks);
  Json request = lines.back();
  EXPECT_EQ(request["id"], 0);
  EXPECT_EQ(request["params"]["sessionId"], id);
  EXPECT_EQ(request["params"]["toolCall"]["title"], "touch a");
  EXPECT_EQ(request["params"]["toolCall"]["toolCallId"],
            Updates(lines, id, "tool_call")[0]["toolCallId"]);
  std::vector<std::string> kinds;
  for (const Json& option : request["params"]["options"]) {
    kinds.push_back(option["kind"]);
  }
  EXPECT_THAT(kinds, ElementsAre("allow_once", "allow_always", "reject_once",
                                 "reject_always"));
  Select(agent, request, "allow_once");
  lines = agent.UntilAnswer(turn);
  std::vector<Json> updates = Updates(lines, id, "tool_call_update");
  ASSERT_THAT(updates, SizeIs(2));
  EXPECT_EQ(updates[0]["status"], "in_progress");
  EXPECT_EQ(updates[1]["status"], "completed");
  EXPECT_EQ(StopReason(lines.back()), "end_turn");
  EXPECT_EQ(home_.Log("permission").back()["behaviour"], "allow_once");
}

TEST_F(RehearsalAcpTest, ARejectedToolFailsAndTheTurnGoesOn) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"touch a\"}");
  Select(agent, agent.Until(Asks).back(), "reject_once");
  std::vector<Json> lines = agent.UntilAnswer(turn);
  EXPECT_EQ(Updates(lines, id, "tool_call_update").back()["status"], "failed");
  EXPECT_EQ(StopReason(lines.back()), "end_turn");
}

TEST_F(RehearsalAcpTest, AlwaysAndNeverAreRememberedInTheirConversation) {
  RehearsalProcess agent(home_, With());
  const std::string text = "!tool Bash {\"command\":\"touch a\"}";
  for (const char* kind : {"allow_always", "reject_always"}) {
    std::string id = New(agent);
    int turn = Prompt(agent, id, text);
    Select(agent, agent.Until(Asks).back(), kind);
    Json first = Updates(agent.UntilAnswer(turn), id, "tool_call_update");
    Json again = Updates(agent.UntilAnswer(Prompt(agent, id, text)), id,
                         "tool_call_update");
    EXPECT_EQ(first.back()["status"], again.back()["status"]) << kind;
  }
  std::string another = New(agent);
  Prompt(agent, another, text);
  EXPECT_EQ(agent.Until(Asks).back()["params"]["sessionId"], another);
}

TEST_F(RehearsalAcpTest, ACancellationEndsATurnThatWaitsForAPermission) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"touch a\"}");
  Json request = agent.Until(Asks).back();
  Cancel(agent, id);
  EXPECT_EQ(StopReason(agent.Answer(turn)), "cancelled");
  // What comes now answers nothing.
  agent.Send({{"jsonrpc", "2.0"},
              {"id", request["id"]},
              {"result", {{"outcome", {{"outcome", "cancelled"}}}}}});
  EXPECT_THAT(Say(agent, id, "hi"), HasSubstr("turns=2"));
}

TEST_F(RehearsalAcpTest, ACancelledPermissionCancelsTheTurn) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"touch a\"}");
  agent.Send({{"jsonrpc", "2.0"},
              {"id", agent.Until(Asks).back()["id"]},
              {"result", {{"outcome", {{"outcome", "cancelled"}}}}}});
  EXPECT_EQ(StopReason(agent.Answer(turn)), "cancelled");
}

TEST_F(RehearsalAcpTest, CancellingAnIdleConversationIsHarmless) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  Cancel(agent, id);
  Cancel(agent, "nobody");
  EXPECT_THAT(Say(agent, id, "hi"), EndsWith("text=hi"));
}

TEST_F(RehearsalAcpTest, ATurnThatHangsHoldsUpNoOtherConversation) {
  RehearsalProcess agent(home_, With());
  std::string asking = New(agent);
  std::string streaming = New(agent);
  std::string hanging = New(agent);
  std::string working = New(agent);
  std::string quick = New(agent);
  int asks = Prompt(agent, asking, "!tool Bash {\"command\":\"a\"}");
  int streams = Prompt(agent, streaming, "!deltas 9 8 600000");
  int hangs =
      Prompt(agent, hanging, "!fault delay@mid-turn=600000\n!think of it");
  int works = Prompt(agent, working, "!sleep 600");
  for (int i = 1; i < 3; ++i) {
    EXPECT_THAT(Say(agent, quick, "hi"),
                HasSubstr("turns=" + std::to_string(i)));
  }
  for (const std::string& id : {asking, streaming, hanging, working}) {
    Cancel(agent, id);
  }
  std::set<int> left = {asks, streams, hangs, works};
  while (!left.empty()) {
    Json answer = agent.Until(IsAnswer).back();
    EXPECT_EQ(StopReason(answer), "cancelled");
    ASSERT_EQ(left.erase(answer["id"]), 1);
  }
}

TEST_F(RehearsalAcpTest, ASecondPromptWaitsForTheFirstTurn) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int first = Prompt(agent, id, "!tool Bash {\"command\":\"a\"}");
  int second = Prompt(agent, id, "second");
  Select(agent, agent.Until(Asks).back(), "allow_once");
  EXPECT_EQ(StopReason(agent.Answer(first)), "end_turn");
  EXPECT_THAT(Text(agent.UntilAnswer(second), id), HasSubstr("turns=2"));
}

TEST_F(RehearsalAcpTest, ACancellationEndsThePromptsThatWaitToo) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int first = Prompt(agent, id, "!deltas 9 8 600000");
  int second = Prompt(agent, id, "second");
  agent.Until(IsChunk);
  Cancel(agent, id);
  std::vector<Json> lines = {agent.Next(), agent.Next()};
  std::vector<int> answered;
  for (const Json& line : lines) {
    EXPECT_EQ(StopReason(line), "cancelled");
    answered.push_back(line["id"]);
  }
  EXPECT_THAT(answered, testing::UnorderedElementsAre(first, second));
}

TEST_F(RehearsalAcpTest, ALoadReplaysTheConversationBeforeItAnswers) {
  std::string id;
  {
    RehearsalProcess agent(home_, With());
    id = New(agent);
    Say(agent, id, "!error 400");
    SetModel(agent, id, "haiku");
    Say(agent, id, "!think of trees\n!tool TodoWrite {}\nremember 4711");
  }
  RehearsalProcess agent(home_, With());
  std::vector<Json> lines =
      agent.UntilAnswer(agent.Call("session/load", Opening(id)));
  EXPECT_THAT(Text(lines, id, "user_message_chunk"), EndsWith("remember 4711"));
  EXPECT_EQ(Text(lines, id, "user_message_chunk").find("!error"),
            std::string::npos);
  EXPECT_EQ(Text(lines, id, "agent_thought_chunk"), "of trees");
  EXPECT_THAT(Text(lines, id), HasSubstr("I will remember 4711."));
  EXPECT_EQ(CurrentModel(lines.back()), "claude-haiku-5-5");
  EXPECT_EQ(agent.Next()["params"]["update"]["sessionUpdate"],
            "available_commands_update");
  EXPECT_THAT(Say(agent, id, "what is the number?"),
              HasSubstr("The number is 4711. model=claude-haiku-5-5 turns=2"));
}

TEST_F(RehearsalAcpTest, AResumeReplaysNothing) {
  RehearsalProcess first(home_, With());
  std::string id = New(first);
  Say(first, id, "remember 4711");
  RehearsalProcess agent(home_, With());
  std::vector<Json> lines =
      agent.UntilAnswer(agent.Call("session/resume", Opening(id)));
  EXPECT_THAT(lines, SizeIs(1));
  EXPECT_THAT(Say(agent, id, "what is the number?"), HasSubstr("4711"));
}

TEST_F(RehearsalAcpTest, ModelsMayBeForgotten) {
  RehearsalProcess first(home_, With());
  std::string id = New(first);
  SetModel(first, id, "haiku");
  Say(first, id, "hi");
  RehearsalProcess agent(home_, With({"--acp-forgets-model"}));
  EXPECT_EQ(CurrentModel(agent.Do("session/resume", Opening(id))),
            "claude-opus-5-5");
}

TEST_F(RehearsalAcpTest, AConversationThatNeverSpokeCannotBeLoadedElsewhere) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  RehearsalProcess other(home_, With());
  for (const char* method : {"session/load", "session/resume"}) {
    EXPECT_EQ(other.Do(method, Opening(id))["error"]["code"], kNotFound);
  }
  EXPECT_TRUE(agent.Do("session/resume", Opening(id)).contains("result"));
}

TEST_F(RehearsalAcpTest, ATurnIsOnDiskBeforeItsResponse) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  Say(agent, id, "remember 4711");
  agent.Signal(SIGKILL);
  agent.Wait();
  RehearsalProcess other(home_, With());
  other.Do("session/resume", Opening(id));
  EXPECT_THAT(Say(other, id, "what is the number?"), HasSubstr("4711"));
}

TEST_F(RehearsalAcpTest, AClosedConversationIsGoneUntilItIsLoaded) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "remember 4711\n!deltas 9 8 600000");
  agent.Until(IsChunk);
  int close = agent.Call("session/close", {{"sessionId", id}});
  EXPECT_EQ(StopReason(agent.Answer(turn)), "cancelled");
  EXPECT_EQ(agent.Answer(close)["result"], Json::object());
  EXPECT_EQ(agent.Answer(Prompt(agent, id, "hi"))["error"]["code"], kNotFound);
  agent.Do("session/resume", Opening(id));
  EXPECT_THAT(Say(agent, id, "what is the number?"), HasSubstr("4711"));
}

TEST_F(RehearsalAcpTest, ListsTheConversationsThatSpoke) {
  RehearsalProcess agent(home_, With());
  std::string first = New(agent);
  std::string second = New(agent);
  New(agent);
  Say(agent, first, "hello");
  Say(agent, second, "there");
  RehearsalProcess other(home_, With());
  Json all = other.Do("session/list", Json::object())["result"]["sessions"];
  ASSERT_THAT(all, SizeIs(2));
  for (const Json& one : all) {
    EXPECT_EQ(one["title"], one["sessionId"] == first ? "hello" : "there");
    EXPECT_EQ(one["cwd"], "/x");
  }
  Json none = other.Do("session/list", {{"cwd", "/y"}});
  EXPECT_THAT(none["result"]["sessions"], IsEmpty());
}

TEST_F(RehearsalAcpTest, WhatTheAgentIsWithoutItDoesNotKnow) {
  RehearsalProcess agent(home_, With({"--acp-without=load,resume,close,list"}));
  Json able = agent.Do("initialize", Json::object())["result"];
  EXPECT_EQ(able["agentCapabilities"]["loadSession"], false);
  EXPECT_EQ(able["agentCapabilities"]["sessionCapabilities"], Json::object());
  std::string id = New(agent);
  for (const char* method : {"load", "resume", "close", "list"}) {
    Json answer = agent.Do(std::string("session/") + method, Opening(id));
    EXPECT_EQ(answer["error"]["code"], kMethodNotFound) << method;
  }
}

TEST_F(RehearsalAcpTest, ToolCallsAndUsageMayRemainUntold) {
  RehearsalProcess agent(home_, With({"--acp-without=tool_call,usage"}));
  std::string id = New(agent);
  agent.Next();
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"a\"}");
  std::vector<Json> lines = agent.Until(Asks);
  EXPECT_THAT(lines, SizeIs(1));
  Select(agent, lines.back(), "allow_once");
  lines = agent.UntilAnswer(turn);
  EXPECT_THAT(Updates(lines, id, "usage_update"), IsEmpty());
  EXPECT_FALSE(lines.back()["result"].contains("usage"));
}

TEST_F(RehearsalAcpTest, AnExclusiveWriterHasAConversationUntilItIsGone) {
  RehearsalProcess holder(home_, With({"--acp-exclusive"}));
  std::string id = New(holder);
  Say(holder, id, "remember 4711");
  RehearsalProcess other(home_, With({"--acp-exclusive"}));
  auto refused = [&] {
    Json error = other.Do("session/resume", Opening(id))["error"];
    return error["code"] == -32603 &&
           error["data"]["reason"] == "thread_active_writer";
  };
  EXPECT_TRUE(refused());
  holder.Do("session/close", {{"sessionId", id}});
  EXPECT_TRUE(refused());
  EXPECT_TRUE(holder.Do("session/load", Opening(id)).contains("result"));
  holder.Signal(SIGKILL);
  holder.Wait();
  EXPECT_TRUE(other.Do("session/resume", Opening(id)).contains("result"));
  EXPECT_THAT(Say(other, id, "what is the number?"), HasSubstr("4711"));
}

TEST_F(RehearsalAcpTest, TheEndOfItsInputEndsItWhenAllTurnsHave) {
  RehearsalProcess agent(home_, With());
  std::string first = New(agent);
  std::string second = New(agent);
  int asks = Prompt(agent, first, "!tool Bash {\"command\":\"a\"}");
  int waits = Prompt(agent, first, "!tool Bash {\"command\":\"b\"}");
  agent.Until(Asks);
  int works = Prompt(agent, second, "!sleep 0.1");
  agent.CloseInput();
  std::vector<Json> answers;
  for (Json line; !(line = agent.Next()).is_null();) {
    if (IsAnswer(line)) answers.push_back(line["id"]);
  }
  EXPECT_THAT(answers, testing::UnorderedElementsAre(asks, waits, works));
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalAcpTest, AnUnusedAgentEndsWithItsInputAtOnce) {
  RehearsalProcess agent(home_, With());
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
}

}  // namespace
}  // namespace understudy::session
