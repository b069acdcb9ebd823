// The rehearsal agent's faults: each happens, and happens where it was asked
// for.

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/processes.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

class RehearsalFaultTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      const std::vector<std::string>& faults) {
    RehearsalProcess::Options options{.program = UNDERSTUDY_REHEARSAL_PROGRAM};
    for (const std::string& fault : faults) {
      options.arguments.push_back("--fault=" + fault);
    }
    return options;
  }
  // Every line, as it is, until there are no more.
  static std::vector<std::string> Lines(RehearsalProcess& agent) {
    std::vector<std::string> lines;
    for (std::string line; !(line = agent.NextBytes()).empty();) {
      lines.push_back(line);
    }
    return lines;
  }
  static size_t Count(const std::vector<std::string>& lines,
                      const std::string& part) {
    size_t count = 0;
    for (const std::string& line : lines) {
      count += line.find(part) != std::string::npos ? 1 : 0;
    }
    return count;
  }
  static constexpr char kResult[] = "\"type\":\"result\"";
  static constexpr char kInit[] = "\"subtype\":\"init\"";
  static constexpr char kDelta[] = "\"type\":\"text_delta\"";

  RehearsalHome home_;
};

TEST_F(RehearsalFaultTest, WrongFaultsAreRefused) {
  for (const char* fault :
       {"crash", "boom@user", "crash@moon", "crash@user:0", "crash@user:x",
        "delay@user", "delay@user=soon", "refuse@user", "lie-model@user=x",
        "lie-model@set-model", "stderr@user", "hog@user", "deep@user=far",
        ""}) {
    RehearsalProcess agent(home_, With({fault}));
    EXPECT_EQ(agent.Wait(), 1) << fault;
    EXPECT_THAT(agent.Stderr(), StartsWith("error: fault '")) << fault;
  }
}

TEST_F(RehearsalFaultTest, CrashesAtEveryPointOfATurn) {
  struct Case {
    const char* point;
    size_t inits;
    size_t deltas;
    size_t results;
  };
  for (const Case& c :
       {Case{"user", 0, 0, 0}, Case{"turn-start", 0, 0, 0},
        Case{"mid-turn", 1, 1, 0}, Case{"before-result", 1, 3, 0},
        Case{"after-result", 1, 3, 1}}) {
    RehearsalProcess agent(home_, With({std::string("crash@") + c.point}));
    agent.User("remember 4711");
    std::vector<std::string> lines = Lines(agent);
    EXPECT_EQ(agent.Wait(), -SIGKILL) << c.point;
    EXPECT_EQ(Count(lines, kInit), c.inits) << c.point;
    EXPECT_EQ(Count(lines, kDelta), c.deltas) << c.point;
    EXPECT_EQ(Count(lines, kResult), c.results) << c.point;
  }
}

TEST_F(RehearsalFaultTest, ACrashMayBeAnExitCode) {
  RehearsalProcess agent(home_,
                         With({"stderr@spawn=no luck", "crash@spawn=7"}));
  EXPECT_EQ(agent.Wait(), 7);
  EXPECT_EQ(agent.Stderr(), "no luck\n");
}

TEST_F(RehearsalFaultTest, HappensAtTheVisitThatIsNamed) {
  RehearsalProcess agent(
      home_, With({"garbage@turn-start:2", "garbage@after-result:*=x"}));
  for (int i = 0; i < 3; ++i) agent.User("/context");
  agent.CloseInput();
  std::vector<std::string> lines = Lines(agent);
  EXPECT_EQ(Count(lines, "Segmentation fault (core dumped)\n"), 1);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "x\n"), 3);
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalFaultTest, AMessageCanArmAFault) {
  RehearsalProcess agent(home_, With({}));
  agent.User("!fault crash@turn-start=9");
  agent.Result();
  agent.User("hi");
  EXPECT_EQ(agent.Wait(), 9);
}

TEST_F(RehearsalFaultTest, WritesBytesThatAreNoLinesOfJson) {
  RehearsalProcess agent(
      home_, With({"invalid-utf8@turn-start", "nul@turn-start",
                   "half-line@before-result", "flood@after-result=100000"}));
  agent.User("hi");
  agent.CloseInput();
  std::string all;
  for (const std::string& line : Lines(agent)) all += line;
  EXPECT_THAT(all, HasSubstr("\xff\xc0\xaf"));
  EXPECT_NE(all.find('\0'), std::string::npos);
  EXPECT_THAT(all, HasSubstr("\"sta{\"duration_api_ms\""));
  EXPECT_THAT(all, HasSubstr(std::string(100000, 'x')));
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalFaultTest, NestsALineAsDeepAsItIsTold) {
  RehearsalProcess agent(home_,
                         With({"deep@turn-start=7", "deep@after-result"}));
  agent.User("hi");
  agent.CloseInput();
  std::vector<std::string> lines = Lines(agent);
  EXPECT_EQ(Count(lines, "{\"type\":[[[[[[[]]]]]]]}\n"), 1);
  EXPECT_EQ(Count(lines, std::string(10000, '[')), 1);
}

TEST_F(RehearsalFaultTest, TakesMemoryAndKeepsIt) {
  RehearsalProcess agent(home_, With({"hog@turn-start=64"}));
  agent.User("hi");
  agent.Result();
  EXPECT_GE(std::stol(StatField(agent.pid(), 24)) * getpagesize(), 64 << 20);
}

TEST_F(RehearsalFaultTest, AnEndlessFloodEndsWithSigterm) {
  RehearsalProcess agent(home_, With({"flood@initialize"}));
  agent.Request("initialize");
  EXPECT_THAT(agent.Some(), StartsWith("xxxx"));
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(), 143);
}

TEST_F(RehearsalFaultTest, RefusesWhatItIsAsked) {
  RehearsalProcess agent(home_,
                         With({"refuse@initialize=no", "refuse@set-model",
                               "refuse@interrupt", "refuse@clear=not now"}));
  EXPECT_EQ(agent.Ask("initialize")["error"], "no");
  EXPECT_EQ(agent.Ask("set_model", {{"model", "haiku"}})["subtype"], "error");
  EXPECT_EQ(agent.Ask("interrupt")["subtype"], "error");
  agent.User("hi");
  Json turn = agent.Result();
  agent.User("/clear");
  Json cleared = agent.Result();
  EXPECT_EQ(cleared["result"], "not now");
  EXPECT_EQ(cleared["session_id"], turn["session_id"]);
}

TEST_F(RehearsalFaultTest, ALateAnswerLeavesOtherRequestsAlone) {
  RehearsalProcess agent(home_, With({"delay@set-model=100"}));
  std::string late = agent.Request("set_model", {{"model", "haiku"}});
  EXPECT_EQ(agent.Ask("get_settings")["response"]["applied"]["model"],
            "claude-opus-5-5");
  EXPECT_EQ(agent.Response(late)["response"]["model"], "claude-haiku-5-5");
}

TEST_F(RehearsalFaultTest, AnInterruptionComesTooLateForAFinishedTurn) {
  RehearsalProcess agent(home_, With({"delay@before-result=100"}));
  agent.User("hi");
  agent.Until(LineOf("assistant"));
  EXPECT_EQ(agent.Ask("interrupt")["subtype"], "success");
  EXPECT_EQ(agent.Result()["is_error"], false);
}

TEST_F(RehearsalFaultTest, AWedgedAgentAnswersNothing) {
  RehearsalProcess agent(home_, With({"wedge@user"}));
  agent.Ask("initialize");
  agent.User("hi");
  agent.Request("initialize");
  agent.CloseInput();
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.NextBytes(), "");
  EXPECT_EQ(agent.Wait(), 143);
}

TEST_F(RehearsalFaultTest, SigtermCanBeIgnored) {
  RehearsalProcess agent(home_, With({"ignore-sigterm@spawn"}));
  agent.Ask("initialize");
  agent.Signal(SIGTERM);
  agent.Ask("initialize");
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
}

TEST_F(RehearsalFaultTest, LiesAboutTheModel) {
  RehearsalProcess agent(
      home_, With({"lie-model@set-model=elsewhere", "lie-model@turn-start=x"}));
  EXPECT_EQ(agent.Ask("set_model", {{"model", "haiku"}})["response"]["model"],
            "elsewhere");
  agent.User("hi");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(FirstOf(lines, "system", "init")["model"], "x");
  EXPECT_THAT(lines.back()["result"].get<std::string>(),
              HasSubstr("model=claude-opus-5-5"));
}

TEST_F(RehearsalFaultTest, ClosesItsStandardOutput) {
  RehearsalProcess agent(home_, With({"close-stdout@mid-turn"}));
  agent.User("hi");
  EXPECT_EQ(Count(Lines(agent), kDelta), 1);
  agent.CloseInput();
  EXPECT_EQ(agent.Wait(), 0);
  EXPECT_THAT(home_.Log("turn"), SizeIs(1));
}

TEST_F(RehearsalFaultTest, ClosesItsStandardInputAndLivesOn) {
  RehearsalProcess agent(home_, With({"close-stdin@mid-turn"}));
  agent.User("hi");
  agent.Result();
  agent.CloseInput();
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(), 143) << "the end of its input would be an exit by 0";
}

TEST_F(RehearsalFaultTest, StopsReading) {
  RehearsalProcess agent(home_, With({"stop-reading@after-result"}));
  agent.User("hi");
  agent.Result();
  // More than a pipe holds would block; a little is never read.
  agent.User("again");
  agent.CloseInput();
  agent.Signal(SIGTERM);
  EXPECT_EQ(agent.Wait(), 143);
  EXPECT_THAT(home_.Log("user"), SizeIs(1));
}

TEST_F(RehearsalFaultTest, AnOrphanHoldsThePipeOpen) {
  RehearsalProcess agent(home_, With({"orphan@turn-start"}));
  agent.User("hi");
  agent.Until(
      [](const Json& line) { return line.value("state", "") == "completed"; });
  agent.Signal(SIGKILL);
  pid_t orphan = home_.Log("orphan").front()["child"];
  EXPECT_EQ(kill(orphan, SIGTERM), 0);
  EXPECT_EQ(kill(orphan, 0), 0);
  EXPECT_EQ(getsid(orphan), orphan);
  // Only once it is gone, too, does the output end.
  kill(orphan, SIGKILL);
  EXPECT_EQ(agent.NextBytes(), "");
  EXPECT_EQ(agent.Wait(), -SIGKILL);
}

TEST_F(RehearsalFaultTest, TheNextFaultsAreThoseOfOneAgent) {
  const std::string file = home_.path() + "/next-faults";
  std::ofstream(file) << "refuse@initialize=no\nstderr@initialize=refused\n";
  RehearsalProcess::Options options = With({});
  options.arguments = {"--next-faults=" + file};
  {
    RehearsalProcess first(home_, options);
    EXPECT_EQ(first.Ask("initialize")["error"], "no");
  }
  EXPECT_THAT(home_.Log("fault"), SizeIs(2));
  EXPECT_EQ(home_.Log("fault").front()["fault"], "refuse@initialize=no");
  RehearsalProcess second(home_, options);
  EXPECT_EQ(second.Ask("initialize")["subtype"], "success");
}

TEST_F(RehearsalFaultTest, LogsTheLinesThatItWritesIfItIsAsked) {
  RehearsalProcess::Options options = With({});
  options.arguments = {"--log-lines"};
  RehearsalProcess agent(home_, options);
  agent.User("hi\n!unknown");
  std::vector<Json> written;
  for (Json& line : agent.UntilResult()) {
    if (line["type"] != "stream_event") written.push_back(std::move(line));
  }
  std::vector<Json> logged;
  for (const Json& entry : home_.Log("line")) {
    logged.push_back(Json::parse(entry["line"].get<std::string>()));
  }
  // What follows the result may be logged by now.
  ASSERT_GE(logged.size(), written.size());
  logged.resize(written.size());
  EXPECT_EQ(logged, written);
  EXPECT_THAT(written, SizeIs(testing::Gt(4u)));
}

TEST_F(RehearsalFaultTest, StreamsAnyNumberOfDeltasInEitherWay) {
  for (const char* write : {"--write=bulk", "--write=line"}) {
    RehearsalProcess::Options options = With({});
    options.arguments = {"--deltas=3000", "--delta-bytes=16", write};
    RehearsalProcess agent(home_, options);
    agent.User("hi");
    std::vector<Json> lines = agent.UntilResult();
    int64_t next = 0;
    std::string text;
    for (const Json& line : lines) {
      if (line["type"] != "stream_event") continue;
      if (line["event"]["type"] != "content_block_delta") continue;
      if (line["event"]["index"] != 0) continue;
      std::string delta = line["event"]["delta"]["text"];
      EXPECT_EQ(delta.size(), 16);
      EXPECT_EQ(std::stoll(delta), next++);
      text += delta;
    }
    EXPECT_EQ(next, 3000);
    EXPECT_EQ(FirstOf(lines, "assistant")["message"]["content"][0]["text"],
              text);
  }
}

}  // namespace
}  // namespace understudy::session
