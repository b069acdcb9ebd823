// What happens inside a turn of the rehearsal agent: the special words of a
// message, tools and permissions, interruptions, background tasks.

#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/processes.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Json = nlohmann::json;

const auto kAsks = LineOf("control_request");
const auto kAssistant = LineOf("assistant");

bool IsTextDelta(const Json& line) {
  return line["type"] == "stream_event" &&
         line["event"]["type"] == "content_block_delta";
}

class RehearsalTurnTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      RehearsalProcess::Arguments arguments = {}) {
    return {.program = UNDERSTUDY_REHEARSAL_PROGRAM,
            .arguments = std::move(arguments)};
  }
  static Json ToolResult(const std::vector<Json>& lines) {
    return FirstOf(lines, "user")["message"]["content"][0];
  }
  // The process tree that the agent started last.
  std::vector<pid_t> Tool() {
    std::string group =
        std::to_string(home_.Log("tool").back()["child"].get<pid_t>());
    std::vector<pid_t> tree;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      pid_t pid = atoi(entry.path().filename().c_str());
      if (pid > 0 && StatField(pid, 5) == group) tree.push_back(pid);
    }
    return tree;
  }

  RehearsalHome home_;
};

TEST_F(RehearsalTurnTest, ThinksAloud) {
  RehearsalProcess agent(home_, With());
  agent.User("!think of trees");
  std::vector<Json> lines = agent.UntilResult();
  Json block = FirstOf(lines, "assistant")["message"]["content"][0];
  EXPECT_EQ(block["type"], "thinking");
  EXPECT_EQ(block["thinking"], "of trees");
}

TEST_F(RehearsalTurnTest, DeltasAddUpToTheMessage) {
  RehearsalProcess agent(home_, With());
  agent.User("!deltas 2000 5");
  std::string text;
  std::vector<Json> lines = agent.UntilResult();
  for (const Json& line : lines) {
    if (!IsTextDelta(line) || line["event"]["index"] != 0) continue;
    text += line["event"]["delta"]["text"];
  }
  EXPECT_EQ(text.size(), 10000);
  EXPECT_EQ(FirstOf(lines, "assistant")["message"]["content"][0]["text"], text);
}

TEST_F(RehearsalTurnTest, ALongReplyIsOneLineAndOneResult) {
  RehearsalProcess agent(home_, With());
  agent.User("!long 3000000");
  std::vector<Json> lines = agent.UntilResult();
  std::string text =
      FirstOf(lines, "assistant")["message"]["content"][0]["text"];
  EXPECT_EQ(text.size(), 3000000);
  EXPECT_EQ(lines.back()["result"], text);
}

TEST_F(RehearsalTurnTest, WritesLinesThatNobodyKnows) {
  RehearsalProcess agent(home_, With());
  agent.User("!unknown\n!line {\"type\":\"mine\",\"n\":1}");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_NE(FirstOf(lines, "rehearsal_novelty"), Json());
  EXPECT_EQ(FirstOf(lines, "mine")["n"], 1);
}

TEST_F(RehearsalTurnTest, AnOverloadedApiIsTriedAgainAndThenFails) {
  RehearsalProcess agent(home_, With());
  agent.User("first");
  agent.Result();
  agent.User("!error 529");
  std::vector<Json> lines = agent.UntilResult();
  Json retry = FirstOf(lines, "system", "api_retry");
  EXPECT_EQ(retry["error_status"], 529);
  EXPECT_EQ(retry["max_retries"], 2);
  EXPECT_EQ(FirstOf(lines, "assistant")["message"]["model"], "<synthetic>");
  EXPECT_EQ(lines.back()["is_error"], true);
  EXPECT_EQ(lines.back()["subtype"], "success");
  EXPECT_EQ(lines.back()["terminal_reason"], "api_error");
  EXPECT_EQ(lines.back()["api_error_status"], 529);
  // The message is out of the conversation, and the next turn works.
  agent.User("next");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=2 text=next"));
}

TEST_F(RehearsalTurnTest, ABadRequestIsNotTriedAgain) {
  RehearsalProcess agent(home_, With());
  agent.User("!error 400");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(FirstOf(lines, "system", "api_retry"), Json());
  EXPECT_EQ(lines.back()["api_error_status"], 400);
}

TEST_F(RehearsalTurnTest, AsksBeforeItUsesATool) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Bash {\"command\":\"touch a\",\"description\":\"d\"}");
  Json request = agent.Until(kAsks).back();
  EXPECT_EQ(request["request"]["subtype"], "can_use_tool");
  EXPECT_EQ(request["request"]["tool_name"], "Bash");
  EXPECT_EQ(request["request"]["input"]["command"], "touch a");
  EXPECT_EQ(request["request"]["description"], "d");
  EXPECT_THAT(request["request"]["permission_suggestions"], SizeIs(3));
  agent.Permit(request, {{"behavior", "allow"},
                         {"updatedInput", {{"command", "touch b"}}}});
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(ToolResult(lines)["is_error"], false);
  EXPECT_EQ(ToolResult(lines)["tool_use_id"],
            request["request"]["tool_use_id"]);
  EXPECT_EQ(lines.back()["num_turns"], 2);
}

TEST_F(RehearsalTurnTest, ADeniedToolIsAnErrorAndTheTurnGoesOn) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Edit {}");
  agent.Permit(agent.Until(kAsks).back(),
               {{"behavior", "deny"}, {"message", "not today"}});
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(ToolResult(lines)["content"], "not today");
  EXPECT_EQ(ToolResult(lines)["is_error"], true);
  EXPECT_EQ(lines.back()["is_error"], false);
  EXPECT_EQ(lines.back()["permission_denials"][0]["tool_name"], "Edit");
}

TEST_F(RehearsalTurnTest, ADenialMayEndTheTurn) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Edit {}");
  agent.Permit(
      agent.Until(kAsks).back(),
      {{"behavior", "deny"}, {"message", "stop"}, {"interrupt", true}});
  Json result = agent.Result();
  EXPECT_EQ(result["terminal_reason"], "aborted_tools");
  EXPECT_THAT(result["permission_denials"], SizeIs(1));
}

TEST_F(RehearsalTurnTest, WhatIsAlwaysAllowedSurvivesClear) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Bash {\"command\":\"touch a\"}");
  Json rules =
      Json::array({{{"toolName", "Bash"}, {"ruleContent", "touch *"}}});
  agent.Permit(
      agent.Until(kAsks).back(),
      {{"behavior", "allow"},
       {"updatedInput", Json::object()},
       {"updatedPermissions", Json::array({{{"type", "addRules"},
                                            {"rules", rules},
                                            {"behavior", "allow"},
                                            {"destination", "session"}}})}});
  agent.Result();
  agent.User("/clear");
  agent.Result();
  agent.User("!tool Bash {\"command\":\"touch b\"}");
  EXPECT_EQ(FirstOf(agent.UntilResult(), "control_request"), Json());
  agent.User("!tool Bash {\"command\":\"rm b\"}");
  agent.Until(kAsks);
}

TEST_F(RehearsalTurnTest, PermissionModesAskOrDoNot) {
  struct Case {
    const char* mode;
    const char* tool;
    bool asks_host;
    bool asked;
    bool allowed;
  };
  for (const Case& c : {Case{"bypassPermissions", "Bash", true, false, true},
                        Case{"acceptEdits", "Edit", true, false, true},
                        Case{"acceptEdits", "Bash", true, true, false},
                        Case{"dontAsk", "Bash", true, false, false},
                        Case{"default", "Bash", false, false, false}}) {
    RehearsalProcess::Options options =
        With({std::string("--permission-mode=") + c.mode});
    options.asks_permission = c.asks_host;
    RehearsalProcess agent(home_, options);
    agent.User(std::string("!tool ") + c.tool + " {}");
    std::vector<Json> lines = agent.Until([](const Json& line) {
      return line["type"] == "control_request" || line["type"] == "result";
    });
    EXPECT_EQ(lines.back()["type"] == "control_request", c.asked) << c.mode;
    if (c.asked) continue;
    EXPECT_EQ(ToolResult(lines)["is_error"], !c.allowed) << c.mode;
    bool told = FirstOf(lines, "system", "permission_denied") != Json();
    EXPECT_EQ(told, !c.allowed) << c.mode;
  }
}

TEST_F(RehearsalTurnTest, AnOpenQuestionFailsAtTheEndOfInput) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Edit {}");
  agent.Until(kAsks);
  agent.CloseInput();
  EXPECT_THAT(ToolResult(agent.UntilResult())["content"].get<std::string>(),
              HasSubstr("stream closed before response received"));
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalTurnTest, AnInterruptionWithdrawsAnOpenQuestion) {
  RehearsalProcess agent(home_, With());
  agent.User("!tool Edit {}");
  Json request = agent.Until(kAsks).back();
  agent.Request("interrupt");
  Json cancel = agent.Next();
  EXPECT_EQ(cancel["type"], "control_cancel_request");
  EXPECT_EQ(cancel["request_id"], request["request_id"]);
  EXPECT_EQ(agent.Next()["type"], "control_response");
  EXPECT_EQ(agent.Result()["terminal_reason"], "aborted_tools");
}

TEST_F(RehearsalTurnTest, AnInterruptionEndsTheStream) {
  RehearsalProcess agent(home_, With());
  std::string uuid = agent.User("!deltas 1000000 8 1");
  agent.Until(IsTextDelta);
  std::string id = agent.Request("interrupt");
  EXPECT_EQ(agent.Response(id)["response"]["still_queued"], Json::array());
  std::vector<Json> lines = agent.UntilResult();
  Json result = lines.back();
  EXPECT_EQ(result["subtype"], "error_during_execution");
  EXPECT_EQ(result["terminal_reason"], "aborted_streaming");
  EXPECT_EQ(result["is_error"], true);
  EXPECT_EQ(result["user_message_uuid"], uuid);
  EXPECT_EQ(FirstOf(lines, "assistant")["aborted"], true);
  EXPECT_EQ(agent.Next()["state"], "cancelled");
  agent.User("still there?");
  EXPECT_EQ(agent.Result()["is_error"], false);
}

TEST_F(RehearsalTurnTest, AnInterruptionEndsTheTreeOfACommand) {
  RehearsalProcess agent(home_, With());
  agent.User("!sleep 100");
  agent.Until(kAssistant);
  agent.Ask("mcp_status");
  std::vector<pid_t> tool = Tool();
  EXPECT_THAT(tool, Not(IsEmpty()));
  agent.Ask("interrupt");
  EXPECT_EQ(agent.Result()["terminal_reason"], "aborted_tools");
  EXPECT_TRUE(WaitUntilGone(tool, absl::Seconds(30)));
}

TEST_F(RehearsalTurnTest, ACommandRunsInASessionOfItsOwn) {
  RehearsalProcess agent(home_, With());
  agent.User("!sleep 100");
  agent.Until(kAssistant);
  agent.Ask("mcp_status");
  pid_t tool = home_.Log("tool").back()["child"];
  EXPECT_EQ(getsid(tool), tool);
  EXPECT_NE(getsid(agent.pid()), tool);
  agent.Signal(SIGKILL);
  EXPECT_EQ(agent.Wait(), -SIGKILL);
  EXPECT_TRUE(IsAlive(tool));
}

TEST_F(RehearsalTurnTest, WaitingMessagesSurviveAnInterruption) {
  RehearsalProcess agent(home_, With());
  agent.User("!deltas 1000000 8 1");
  agent.Until(IsTextDelta);
  std::string waiting = agent.User("next");
  Json answer = agent.Ask("interrupt")["response"];
  EXPECT_EQ(answer["still_queued"], Json({waiting}));
  agent.Result();
  EXPECT_EQ(agent.Result()["user_message_uuid"], waiting);
}

TEST_F(RehearsalTurnTest, CancelQueuedWithdrawsWaitingMessages) {
  RehearsalProcess agent(home_, With());
  agent.User("!deltas 1000000 8 1");
  agent.Until(IsTextDelta);
  std::string waiting = agent.User("next");
  Json answer = agent.Ask("interrupt", {{"cancel_queued", true}})["response"];
  EXPECT_EQ(answer["still_queued"], Json::array());
  EXPECT_EQ(answer["cancelled"], Json({waiting}));
  agent.Result();
  agent.CloseInput();
  agent.Wait();
  EXPECT_THAT(home_.Log("turn"), SizeIs(1));
}

TEST_F(RehearsalTurnTest, AnInterruptionBesideItsMessageIsLost) {
  RehearsalProcess agent(home_, With());
  agent.User("first");
  agent.Result();
  Json message = {{"type", "user"},
                  {"message", {{"role", "user"}, {"content", "second"}}}};
  Json interrupt = {{"type", "control_request"},
                    {"request_id", "i"},
                    {"request", {{"subtype", "interrupt"}}}};
  agent.Write(message.dump() + "\n" + interrupt.dump() + "\n");
  EXPECT_EQ(agent.Response("i")["subtype"], "success");
  EXPECT_THAT(agent.Result()["result"].get<std::string>(),
              HasSubstr("turns=2 text=second"));
}

TEST_F(RehearsalTurnTest, AnInterruptionOfNothingChangesNothing) {
  RehearsalProcess agent(home_, With());
  EXPECT_EQ(agent.Ask("interrupt")["subtype"], "success");
  agent.User("hi");
  EXPECT_EQ(agent.Result()["is_error"], false);
}

TEST_F(RehearsalTurnTest, ABackgroundTaskStartsATurnOfItsOwn) {
  RehearsalProcess agent(home_, With());
  agent.User("!background 0.01");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_THAT(FirstOf(lines, "system", "background_tasks_changed")["tasks"],
              SizeIs(1));
  EXPECT_NE(FirstOf(lines, "system", "task_started"), Json());
  EXPECT_FALSE(lines.back().contains("origin"));
  std::vector<Json> more = agent.UntilResult();
  lines.insert(lines.end(), more.begin(), more.end());
  EXPECT_EQ(FirstOf(lines, "system", "task_notification")["status"],
            "completed");
  EXPECT_NE(FirstOf(more, "system", "init"), Json());
  EXPECT_EQ(more.back()["origin"]["kind"], "task-notification");
  EXPECT_FALSE(more.back().contains("user_message_uuid"));
}

TEST_F(RehearsalTurnTest, ABackgroundTaskCanBeStopped) {
  RehearsalProcess agent(home_, With());
  agent.User("!background 100");
  Json started = FirstOf(agent.UntilResult(), "system", "task_started");
  agent.Ask("stop_task", {{"task_id", started["task_id"]}});
  Json notification =
      agent
          .Until([](const Json& line) {
            return line.value("subtype", "") == "task_notification";
          })
          .back();
  EXPECT_EQ(notification["status"], "stopped");
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
}

}  // namespace
}  // namespace understudy::session
