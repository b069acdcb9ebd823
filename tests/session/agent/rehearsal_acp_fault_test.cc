// The rehearsal agent's scripts and faults in the Agent Client Protocol: each
// happens, where it was asked for, and to whom.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/processes.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

class RehearsalAcpFaultTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      RehearsalProcess::Arguments arguments = {}) {
    return {.program = UNDERSTUDY_REHEARSAL_PROGRAM,
            .arguments = std::move(arguments),
            .acp = true};
  }
  static RehearsalProcess::Options Faults(
      const std::vector<std::string>& faults) {
    RehearsalProcess::Options options = With();
    for (const std::string& fault : faults) {
      options.arguments.push_back("--fault=" + fault);
    }
    return options;
  }
  static Json Opening(const std::string& id = "") {
    Json params = {{"cwd", "/x"}, {"mcpServers", Json::array()}};
    if (!id.empty()) params["sessionId"] = id;
    return params;
  }
  // With what is said after it.
  static std::string New(RehearsalProcess& agent) {
    std::string id = agent.Do("session/new", Opening())["result"]["sessionId"];
    agent.Next();
    return id;
  }
  static int Prompt(RehearsalProcess& agent, const std::string& id,
                    const std::string& text) {
    Json block = {{"type", "text"}, {"text", text}};
    return agent.Call("session/prompt",
                      {{"sessionId", id}, {"prompt", Json::array({block})}});
  }
  static Json Turn(RehearsalProcess& agent, const std::string& id,
                   const std::string& text) {
    return agent.Answer(Prompt(agent, id, text));
  }
  static Json SetModel(RehearsalProcess& agent, const std::string& id) {
    return agent.Do(
        "session/set_config_option",
        {{"sessionId", id}, {"configId", "model"}, {"value", "haiku"}});
  }
  static bool IsChunk(const Json& line) {
    return line.value("method", "") == "session/update" &&
           line["params"]["update"]["sessionUpdate"] == "agent_message_chunk";
  }
  static bool IsEnd(const Json& answer) {
    return answer["result"]["stopReason"] == "end_turn";
  }
  static std::string Text(const Json& chunk) {
    return chunk["params"]["update"]["content"]["text"];
  }
  // Every line, as it is, until there are no more.
  static std::string Rest(RehearsalProcess& agent) {
    std::string all;
    for (std::string line; !(line = agent.NextBytes()).empty();) all += line;
    return all;
  }
  static size_t Count(const std::string& all, const std::string& part) {
    size_t count = 0;
    for (size_t at = 0; (at = all.find(part, at)) != std::string::npos; ++at) {
      ++count;
    }
    return count;
  }

  RehearsalHome home_;
};

TEST_F(RehearsalAcpFaultTest, OptionsWithoutMeaningAreRefused) {
  for (const char* option :
       {"--resume=x", "--session-id=x", "--fork-session", "--legacy",
        "--include-partial-messages", "--replay-user-messages",
        "--input-format=stream-json", "--permission-prompt-tool=stdio"}) {
    RehearsalProcess agent(home_, With({option}));
    EXPECT_EQ(agent.Wait(), 1) << option;
    EXPECT_THAT(agent.Stderr(),
                EndsWith(" has no meaning with --protocol=acp\n"))
        << option;
  }
}

TEST_F(RehearsalAcpFaultTest, WrongOptionsAreRefused) {
  for (const char* option :
       {"--acp-without=speech", "--acp-models=none", "--acp-modes=x",
        "--fault=refuse@user", "--fault=crash@moon",
        "--fault=lie-model@close=x"}) {
    RehearsalProcess agent(home_, With({option}));
    EXPECT_EQ(agent.Wait(), 1) << option;
    EXPECT_THAT(agent.Stderr(), StartsWith("error: ")) << option;
  }
  RehearsalProcess silent(
      home_, With({"--acp-models=legacy", "--fault=lie-model@turn-start=x"}));
  EXPECT_EQ(silent.Wait(), 1);
}

TEST_F(RehearsalAcpFaultTest, OptionsOfTheProtocolNeedIt) {
  for (const char* option : {"--acp-exclusive", "--acp-models=legacy"}) {
    RehearsalProcess::Options options = With({option});
    options.acp = false;
    RehearsalProcess agent(home_, options);
    EXPECT_EQ(agent.Wait(), 1);
    EXPECT_THAT(agent.Stderr(), HasSubstr("needs --protocol=acp"));
  }
  RehearsalProcess::Options options = Faults({"crash@load"});
  options.acp = false;
  RehearsalProcess agent(home_, options);
  EXPECT_EQ(agent.Wait(), 1);
}

TEST_F(RehearsalAcpFaultTest, CrashesAtEveryPointOfATurn) {
  struct Case {
    const char* point;
    size_t chunks;
    size_t responses;
  };
  for (const Case& c :
       {Case{"user", 0, 0}, Case{"turn-start", 0, 0}, Case{"mid-turn", 1, 0},
        Case{"before-result", 3, 0}, Case{"after-result", 3, 1}}) {
    RehearsalProcess agent(home_, Faults({std::string("crash@") + c.point}));
    std::string other = New(agent);
    std::string id = New(agent);
    Prompt(agent, id, "remember 4711");
    std::string all = Rest(agent);
    EXPECT_EQ(agent.Wait(), -SIGKILL) << c.point;
    EXPECT_EQ(Count(all, "agent_message_chunk"), c.chunks) << c.point;
    EXPECT_EQ(Count(all, "stopReason"), c.responses) << c.point;
  }
}

TEST_F(RehearsalAcpFaultTest, CrashesWhereAConversationIsOpenedOrClosed) {
  for (const char* point : {"new", "load", "close", "clear"}) {
    RehearsalProcess agent(home_,
                           Faults({"crash@" + std::string(point) + "=9"}));
    agent.Do("initialize", Json::object());
    for (const char* method : {"new", "load", "close", "new"}) {
      agent.Call(std::string("session/") + method, Opening(RandomUuid()));
    }
    std::string all = Rest(agent);
    EXPECT_EQ(agent.Wait(), 9) << point;
    EXPECT_EQ(Count(all, "\"jsonrpc\"") > 2, *point == 'c') << point;
  }
}

TEST_F(RehearsalAcpFaultTest, AFaultOfAMessageIsThatOfItsConversation) {
  RehearsalProcess agent(home_, With());
  std::string bad = New(agent);
  std::string good = New(agent);
  Turn(agent, bad, "!fault delay@turn-start=600000");
  int hangs = Prompt(agent, bad, "hi");
  EXPECT_TRUE(IsEnd(Turn(agent, good, "hi")));
  Turn(agent, good, "!fault crash@turn-start=9");
  agent.Notify("session/cancel", {{"sessionId", bad}});
  EXPECT_EQ(agent.Answer(hangs)["result"]["stopReason"], "cancelled");
  EXPECT_TRUE(IsEnd(Turn(agent, bad, "hi")));
  Prompt(agent, good, "hi");
  EXPECT_EQ(agent.Wait(), 9);
  EXPECT_EQ(home_.Log("fault").back()["session_id"], good);
}

TEST_F(RehearsalAcpFaultTest, AMessageCanArmWhatConcernsNoConversation) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  Turn(agent, id, "!fault refuse@clear=not now\n!fault refuse@load=nor this");
  EXPECT_EQ(agent.Do("session/new", Opening())["error"]["message"],
            "Internal error: not now");
  EXPECT_EQ(agent.Do("session/load", Opening(id))["error"]["message"],
            "Internal error: nor this");
}

TEST_F(RehearsalAcpFaultTest, ALatePromptHoldsUpNoOther) {
  RehearsalProcess agent(home_, Faults({"delay@user=600000"}));
  std::string late = New(agent);
  std::string other = New(agent);
  int turn = Prompt(agent, late, "hi");
  EXPECT_TRUE(IsEnd(Turn(agent, other, "hi")));
  agent.Notify("session/cancel", {{"sessionId", late}});
  EXPECT_EQ(agent.Answer(turn)["result"]["stopReason"], "cancelled");
}

TEST_F(RehearsalAcpFaultTest, WritesBytesThatAreNoMessages) {
  RehearsalProcess agent(
      home_, Faults({"invalid-utf8@turn-start", "nul@turn-start",
                     "deep@turn-start=7", "garbage@turn-start",
                     "half-line@before-result", "flood@after-result=100000"}));
  std::string id = New(agent);
  Prompt(agent, id, "hi");
  agent.CloseInput();
  std::string all = Rest(agent);
  EXPECT_THAT(all, HasSubstr("\"status\":\"\xff\xc0\xaf\xed\xa0\x80\"}}\n"));
  EXPECT_NE(all.find(std::string("\"\0\"}}\n", 6)), std::string::npos);
  EXPECT_THAT(all, HasSubstr("\"params\":[[[[[[[]]]]]]]}\n"));
  EXPECT_THAT(all, HasSubstr("Segmentation fault (core dumped)\n"));
  EXPECT_THAT(all, HasSubstr("session/upd{\"jsonrpc\""));
  EXPECT_THAT(all, HasSubstr(std::string(100000, 'x')));
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalAcpFaultTest, RefusesWhatItIsAsked) {
  RehearsalProcess agent(
      home_, Faults({"refuse@initialize=no", "refuse@new", "refuse@load",
                     "refuse@set-model", "refuse@set-mode", "refuse@close",
                     "refuse@clear=not now"}));
  auto refused = [&](const std::string& method, const Json& params) {
    Json error = agent.Do(method, params)["error"];
    return error["code"] == -32603 ? error["message"].get<std::string>() : "";
  };
  EXPECT_EQ(refused("initialize", Json::object()), "Internal error: no");
  EXPECT_NE(refused("session/new", Opening()), "");
  EXPECT_EQ(refused("session/new", Opening()), "Internal error: not now");
  std::string id = New(agent);
  EXPECT_NE(refused("session/load", Opening(id)), "");
  EXPECT_NE(
      refused("session/set_mode", {{"sessionId", id}, {"modeId", "plan"}}), "");
  EXPECT_NE(refused("session/close", {{"sessionId", id}}), "");
  EXPECT_EQ(SetModel(agent, id)["error"]["code"], -32603);
  EXPECT_TRUE(SetModel(agent, id).contains("result"));
  EXPECT_TRUE(IsEnd(Turn(agent, id, "hi")));
}

TEST_F(RehearsalAcpFaultTest, ACancellationCanBeIgnoredOrLate) {
  RehearsalProcess agent(home_,
                         Faults({"refuse@interrupt", "delay@interrupt:2=50"}));
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!tool Bash {\"command\":\"a\"}");
  Json request =
      agent
          .Until([](const Json& line) {
            return line.value("method", "") == "session/request_permission";
          })
          .back();
  agent.Notify("session/cancel", {{"sessionId", id}});
  agent.Send(
      {{"jsonrpc", "2.0"},
       {"id", request["id"]},
       {"result",
        {{"outcome", {{"outcome", "selected"}, {"optionId", "once"}}}}}});
  EXPECT_TRUE(IsEnd(agent.Answer(turn)));
  turn = Prompt(agent, id, "!deltas 9 8 600000");
  agent.Until(IsChunk);
  agent.Notify("session/cancel", {{"sessionId", id}});
  EXPECT_EQ(agent.Answer(turn)["result"]["stopReason"], "cancelled");
}

TEST_F(RehearsalAcpFaultTest, ACancellationComesTooLateForAFinishedTurn) {
  RehearsalProcess agent(home_, Faults({"delay@before-result=100"}));
  std::string id = New(agent);
  int turn = Prompt(agent, id, "hi");
  for (int i = 0; i < 3; ++i) agent.Until(IsChunk);
  agent.Notify("session/cancel", {{"sessionId", id}});
  EXPECT_TRUE(IsEnd(agent.Answer(turn)));
}

TEST_F(RehearsalAcpFaultTest, ALateAnswerLeavesOtherRequestsAlone) {
  RehearsalProcess agent(home_,
                         Faults({"delay@set-model=600000", "delay@clear=1"}));
  std::string id = New(agent);
  agent.Call("session/set_config_option",
             {{"sessionId", id}, {"configId", "model"}, {"value", "haiku"}});
  EXPECT_TRUE(IsEnd(Turn(agent, id, "hi")));
  EXPECT_TRUE(agent.Do("session/new", Opening()).contains("result"));
}

TEST_F(RehearsalAcpFaultTest, AModelSwitchCanWedgeTheWholeProcess) {
  RehearsalProcess agent(home_, Faults({"wedge@set-model"}));
  std::string id = New(agent);
  std::string other = New(agent);
  agent.Call("session/set_config_option",
             {{"sessionId", id}, {"configId", "model"}, {"value", "haiku"}});
  Prompt(agent, other, "hi");
  agent.CloseInput();
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.NextBytes(), "");
  EXPECT_EQ(agent.Wait(), 143);
}

TEST_F(RehearsalAcpFaultTest, LiesAboutTheModel) {
  RehearsalProcess agent(
      home_, Faults({"lie-model@new=a", "lie-model@load=b",
                     "lie-model@set-model=c", "lie-model@turn-start=d"}));
  auto told = [](const Json& in) {
    return in["configOptions"][0]["currentValue"];
  };
  Json result = agent.Do("session/new", Opening())["result"];
  EXPECT_EQ(told(result), "a");
  std::string id = result["sessionId"];
  EXPECT_EQ(told(agent.Do("session/load", Opening(id))["result"]), "b");
  EXPECT_EQ(told(SetModel(agent, id)["result"]), "c");
  std::vector<Json> lines = agent.UntilAnswer(Prompt(agent, id, "hi"));
  EXPECT_EQ(told(lines[0]["params"]["update"]), "d");
  EXPECT_EQ(home_.Log("turn").back()["model"], "claude-opus-5-5");
}

TEST_F(RehearsalAcpFaultTest, ADeafAgentReadsNothingMore) {
  RehearsalProcess agent(home_, Faults({"stop-reading@after-result"}));
  std::string id = New(agent);
  Turn(agent, id, "hi");
  Prompt(agent, id, "again");
  agent.CloseInput();
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(), 143);
  EXPECT_THAT(home_.Log("user"), SizeIs(1));
}

TEST_F(RehearsalAcpFaultTest, TheApiFailsAndTheConversationLivesOn) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  Json error = Turn(agent, id, "!error 529")["error"];
  EXPECT_EQ(error["code"], -32603);
  EXPECT_EQ(error["message"],
            "Internal error: API Error: 529 scripted failure");
  EXPECT_EQ(Turn(agent, id, "!error 401")["error"]["code"], -32000);
  EXPECT_TRUE(IsEnd(Turn(agent, id, "hi")));
  EXPECT_THAT(home_.Log("turn").back()["result"].get<std::string>(),
              HasSubstr("turns=1"));
}

TEST_F(RehearsalAcpFaultTest, ABlindModelCannotReadWhatAnotherAnswered) {
  RehearsalProcess agent(home_, With({"--blind-model=claude-haiku-5-5"}));
  std::string id = New(agent);
  Turn(agent, id, "hi");
  SetModel(agent, id);
  EXPECT_EQ(Turn(agent, id, "hi")["error"]["code"], -32603);
  std::string other = New(agent);
  SetModel(agent, other);
  EXPECT_TRUE(IsEnd(Turn(agent, other, "hi")));
}

TEST_F(RehearsalAcpFaultTest, StreamsAnyNumberOfDeltasInEitherWay) {
  for (const char* write : {"--write=bulk", "--write=line"}) {
    RehearsalProcess agent(home_,
                           With({"--deltas=3000", "--delta-bytes=16", write}));
    std::string id = New(agent);
    int64_t next = 0;
    for (const Json& line : agent.UntilAnswer(Prompt(agent, id, "hi"))) {
      if (!IsChunk(line) || Text(line).size() != 16 || next == 3000) continue;
      EXPECT_EQ(line["params"]["sessionId"], id);
      EXPECT_EQ(std::stoll(Text(line)), next++);
    }
    EXPECT_EQ(next, 3000);
  }
}

TEST_F(RehearsalAcpFaultTest, SaysWhatNobodyKnows) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  std::vector<Json> lines = agent.UntilAnswer(
      Prompt(agent, id, "!unknown\n!line {\"mine\":1}\n!long 5000"));
  EXPECT_EQ(lines[0]["params"]["update"]["sessionUpdate"], "rehearsal_novelty");
  EXPECT_EQ(lines[1]["method"], "rehearsal/novelty");
  EXPECT_EQ(lines[2], Json({{"mine", 1}}));
  EXPECT_EQ(home_.Log("turn").back()["result"].get<std::string>().size(), 5000);
}

TEST_F(RehearsalAcpFaultTest, APlanIsATodoList) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  std::vector<Json> lines = agent.UntilAnswer(
      Prompt(agent, id,
             "!tool TodoWrite {\"todos\":[{\"content\":\"dig\","
             "\"status\":\"in_progress\"}]}"));
  const Json& plan = lines[0]["params"]["update"];
  EXPECT_EQ(plan["sessionUpdate"], "plan");
  EXPECT_EQ(plan["entries"][0], Json({{"content", "dig"},
                                      {"priority", "medium"},
                                      {"status", "in_progress"}}));
}

TEST_F(RehearsalAcpFaultTest, WhatRunsInTheBackgroundIsToldOutsideOfATurn) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  EXPECT_TRUE(IsEnd(Turn(agent, id, "!background 600")));
  kill(-home_.Log("tool").back()["child"].get<pid_t>(), SIGKILL);
  EXPECT_THAT(Text(agent.Until(IsChunk).back()),
              HasSubstr("failed (exit code 137)"));
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalAcpFaultTest, ACancelledToolEndsWithItsProcesses) {
  RehearsalProcess agent(home_, With());
  std::string id = New(agent);
  int turn = Prompt(agent, id, "!sleep 600");
  agent.Until([](const Json& line) {
    return line["params"]["update"].value("status", "") == "in_progress";
  });
  pid_t tool = home_.Log("tool").back()["child"];
  agent.Notify("session/cancel", {{"sessionId", id}});
  std::vector<Json> lines = agent.UntilAnswer(turn);
  EXPECT_EQ(lines[0]["params"]["update"]["status"], "failed");
  EXPECT_TRUE(WaitUntilGone({tool}, absl::Seconds(30)));
}

TEST_F(RehearsalAcpFaultTest, EndsBySignalsLikeOthers) {
  RehearsalProcess terminated(home_, With());
  std::string id = New(terminated);
  Prompt(terminated, id, "!deltas 9 8 600000");
  terminated.Until(IsChunk);
  terminated.Signal(SIGTERM);
  EXPECT_EQ(terminated.Wait(), 143);
  RehearsalProcess interrupted(home_, With());
  id = New(interrupted);
  int turn = Prompt(interrupted, id, "!deltas 9 8 600000");
  interrupted.Until(IsChunk);
  interrupted.Signal(SIGINT);
  EXPECT_EQ(interrupted.Answer(turn)["result"]["stopReason"], "cancelled");
  EXPECT_EQ(interrupted.Wait(), 0);
}

TEST_F(RehearsalAcpFaultTest, LogsWhatItIsToldByConversation) {
  RehearsalProcess agent(home_, With({"--log-lines"}));
  std::string first = New(agent);
  std::string second = New(agent);
  int turn = agent.Call(
      "session/prompt",
      {{"sessionId", second},
       {"messageId", "mine"},
       {"prompt", Json::array({{{"type", "text"}, {"text", "hi"}}})}});
  agent.Answer(turn);
  agent.Do("session/close", {{"sessionId", first}});
  EXPECT_EQ(home_.Log("spawn").back()["model"], "claude-opus-5-5");
  EXPECT_EQ(home_.Log("new").front()["session_id"], first);
  EXPECT_EQ(home_.Log("user").back()["uuid"], "mine");
  EXPECT_EQ(home_.Log("turn").back()["session_id"], second);
  EXPECT_EQ(home_.Log("turn").back()["uuids"], Json({"mine"}));
  EXPECT_EQ(home_.Log("close").back()["session_id"], first);
  EXPECT_EQ(home_.Log("line").size(), 10);
}

TEST_F(RehearsalAcpFaultTest, EitherProtocolContinuesTheOthersConversations) {
  RehearsalProcess first(home_, With());
  std::string id = New(first);
  Turn(first, id, "remember 4711");
  first.CloseInput();
  first.Wait();
  RehearsalProcess::Options options = With({"--resume=" + id});
  options.acp = false;
  RehearsalProcess second(home_, options);
  second.User("what is the number?");
  EXPECT_THAT(second.Result()["result"].get<std::string>(),
              HasSubstr("The number is 4711. model=claude-opus-5-5 turns=2"));
  RehearsalProcess third(home_, With());
  int load = third.Call("session/load", Opening(id));
  EXPECT_THAT(third.UntilAnswer(load), SizeIs(5));
}

}  // namespace
}  // namespace understudy::session
