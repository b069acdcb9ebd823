// The rehearsal agent's conversations on disk: what --resume finds, and what
// it does not.

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/rehearsal_process.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class RehearsalTranscriptTest : public ::testing::Test {
 protected:
  static RehearsalProcess::Options With(
      RehearsalProcess::Arguments arguments = {},
      const std::string& working_directory = "/") {
    return {.program = UNDERSTUDY_REHEARSAL_PROGRAM,
            .arguments = std::move(arguments),
            .working_directory = working_directory};
  }
  std::string Say(RehearsalProcess& agent, const std::string& text) {
    agent.User(text);
    Json result = agent.Result();
    return result.value("result", "");
  }
  static int End(RehearsalProcess& agent) {
    agent.CloseInput();
    return agent.Wait();
  }
  // A conversation that knows 4711, of a process that is gone.
  std::string Remembering() {
    std::string id = RandomUuid();
    RehearsalProcess agent(home_, With({"--session-id=" + id}));
    Say(agent, "remember 4711");
    EXPECT_EQ(End(agent), 0);
    return id;
  }

  RehearsalHome home_;
};

TEST_F(RehearsalTranscriptTest, LiesInTheProjectOfTheWorkingDirectory) {
  std::string folder = home_.Folder("a.b_c");
  std::string id = RandomUuid();
  RehearsalProcess agent(home_, With({"--session-id=" + id}, folder));
  Say(agent, "hi");
  std::string key = std::filesystem::canonical(folder);
  for (char& c : key) {
    if (!isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  EXPECT_EQ(home_.FileOf(id),
            home_.path() + "/projects/" + key + "/" + id + ".jsonl");
}

TEST_F(RehearsalTranscriptTest, AResumedConversationKnowsEverything) {
  std::string id = Remembering();
  RehearsalProcess agent(home_, With({"--resume=" + id, "--model=haiku"}));
  agent.User("what is the number?");
  Json result = agent.Result();
  EXPECT_EQ(result["session_id"], id);
  EXPECT_THAT(result["result"].get<std::string>(),
              HasSubstr("The number is 4711. model=claude-haiku-5-5 turns=2"));
}

TEST_F(RehearsalTranscriptTest, ATurnIsOnDiskBeforeItsResult) {
  std::string id = RandomUuid();
  RehearsalProcess agent(home_, With({"--session-id=" + id}));
  Say(agent, "remember 4711");
  agent.Signal(SIGKILL);
  agent.Wait();
  RehearsalProcess resumed(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(resumed, "what is the number?"), HasSubstr("4711"));
}

TEST_F(RehearsalTranscriptTest, AnUnknownConversationEndsTheProcess) {
  std::string id = RandomUuid();
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  agent.Request("initialize");
  Json line = agent.Next();
  std::string error = "No conversation found with session ID: " + id;
  EXPECT_EQ(line["type"], "result");
  EXPECT_EQ(line["subtype"], "error_during_execution");
  EXPECT_EQ(line["errors"], Json({error}));
  EXPECT_EQ(line["session_id"], id);
  EXPECT_EQ(agent.NextBytes(), "");
  EXPECT_EQ(agent.Wait(), 1);
  EXPECT_EQ(agent.Stderr(), error + "\n");
}

TEST_F(RehearsalTranscriptTest, AConversationThatNeverSpokeCannotBeResumed) {
  std::string id = RandomUuid();
  {
    RehearsalProcess agent(home_, With({"--session-id=" + id}));
    agent.Ask("initialize");
    EXPECT_EQ(End(agent), 0);
  }
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_EQ(agent.Wait(), 1);
}

TEST_F(RehearsalTranscriptTest, AnIdInUseIsRefused) {
  std::string id = Remembering();
  RehearsalProcess agent(home_, With({"--session-id=" + id}));
  EXPECT_EQ(agent.Wait(), 1);
  EXPECT_EQ(agent.Stderr(),
            "Error: Session ID " + id + " is already in use.\n");
}

TEST_F(RehearsalTranscriptTest, IdsAreUuids) {
  for (const char* option : {"--resume=title", "--session-id=1"}) {
    RehearsalProcess agent(home_, With({option}));
    EXPECT_EQ(agent.Wait(), 1) << option;
  }
  RehearsalProcess agent(home_, With({"--resume=" + RandomUuid(),
                                      "--session-id=" + RandomUuid()}));
  EXPECT_EQ(agent.Wait(), 1);
  EXPECT_THAT(agent.Stderr(), HasSubstr("also needs --fork-session"));
}

TEST_F(RehearsalTranscriptTest, IsFoundFromAnotherWorkingDirectory) {
  std::string id = Remembering();
  std::string file = home_.FileOf(id);
  auto size = std::filesystem::file_size(file);
  std::string folder = home_.Folder("elsewhere");
  RehearsalProcess agent(home_, With({"--resume=" + id}, folder));
  agent.User("what is the number?");
  std::vector<Json> lines = agent.UntilResult();
  EXPECT_EQ(FirstOf(lines, "system", "init")["cwd"], folder);
  EXPECT_THAT(lines.back()["result"].get<std::string>(), HasSubstr("4711"));
  EXPECT_EQ(home_.FileOf(id), file);
  EXPECT_GT(std::filesystem::file_size(file), size);

  RehearsalProcess old(home_, With({"--resume=" + id, "--legacy"}, folder));
  EXPECT_EQ(old.Wait(), 1);
}

TEST_F(RehearsalTranscriptTest, WithoutAModelTheLastOneIsUsed) {
  std::string id = RandomUuid();
  {
    RehearsalProcess agent(home_,
                           With({"--session-id=" + id, "--model=sonnet"}));
    Say(agent, "hi");
    agent.Ask("set_model", {{"model", "haiku"}});  // not used in a turn
    EXPECT_EQ(End(agent), 0);
  }
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(agent, "hi"), HasSubstr("model=claude-sonnet-5-5"));
  RehearsalProcess old(home_, With({"--resume=" + id, "--legacy"}));
  EXPECT_THAT(Say(old, "hi"), HasSubstr("model=claude-opus-5-5"));
}

TEST_F(RehearsalTranscriptTest, AForkIsACopy) {
  std::string id = Remembering();
  std::string fork = RandomUuid();
  {
    RehearsalProcess agent(home_, With({"--resume=" + id, "--fork-session",
                                        "--session-id=" + fork}));
    EXPECT_THAT(Say(agent, "what is the number?"), HasSubstr("4711"));
    Say(agent, "remember 1");
    EXPECT_EQ(End(agent), 0);
  }
  RehearsalProcess forked(home_, With({"--resume=" + fork}));
  EXPECT_THAT(Say(forked, "what is the number?"),
              HasSubstr("The number is 1. model=claude-opus-5-5 turns=4"));
  RehearsalProcess original(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(original, "what is the number?"),
              HasSubstr("The number is 4711. model=claude-opus-5-5 turns=2"));
}

TEST_F(RehearsalTranscriptTest, BothSidesOfAClearCanBeResumed) {
  std::string id = RandomUuid();
  std::string cleared;
  {
    RehearsalProcess agent(home_, With({"--session-id=" + id}));
    Say(agent, "remember 4711");
    agent.User("/clear");
    cleared = agent.Result()["session_id"];
    agent.Signal(SIGKILL);
    agent.Wait();
  }
  RehearsalProcess before(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(before, "what is the number?"), HasSubstr("4711"));
  RehearsalProcess after(home_, With({"--resume=" + cleared}));
  EXPECT_THAT(Say(after, "what is the number?"), HasSubstr("I know of no"));
}

TEST_F(RehearsalTranscriptTest, CutAndForeignLinesAreTolerated) {
  std::string id = Remembering();
  std::ofstream(home_.FileOf(id), std::ios::app)
      << "not JSON\n{\"type\":\"user\",\"uuid";
  {
    RehearsalProcess agent(home_, With({"--resume=" + id}));
    EXPECT_THAT(Say(agent, "and 12? what is the number?"), HasSubstr("4711"));
    EXPECT_EQ(End(agent), 0);
  }
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(agent, "hi"), HasSubstr("turns=3"));
}

TEST_F(RehearsalTranscriptTest, AnEmptyFileIsNoConversation) {
  std::string id = Remembering();
  std::ofstream(home_.FileOf(id), std::ios::trunc);
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_EQ(agent.Wait(), 1);
}

TEST_F(RehearsalTranscriptTest, AFailedMessageIsNotResumed) {
  std::string id = Remembering();
  {
    RehearsalProcess agent(home_, With({"--resume=" + id}));
    Say(agent, "!error 400");
    EXPECT_EQ(End(agent), 1);
  }
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(agent, "hi"), HasSubstr("turns=2"));
}

TEST_F(RehearsalTranscriptTest, OfTwoWritersTheOneThatClosedProperlyWins) {
  std::string id = Remembering();
  RehearsalProcess killed(home_, With({"--resume=" + id}));
  RehearsalProcess closed(home_, With({"--resume=" + id}));
  killed.Ask("initialize");
  closed.Ask("initialize");
  Say(closed, "remember 1");
  Say(killed, "remember 2");
  EXPECT_EQ(End(closed), 0);
  Say(killed, "remember 3");
  killed.Signal(SIGKILL);
  killed.Wait();
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(agent, "what is the number?"),
              HasSubstr("The number is 1. model=claude-opus-5-5 turns=3"));
}

TEST_F(RehearsalTranscriptTest, AReplacementBesideAnIdleProcessSeesAllTurns) {
  std::string id = RandomUuid();
  RehearsalProcess first(home_, With({"--session-id=" + id}));
  Say(first, "remember 4711");
  RehearsalProcess second(home_, With({"--resume=" + id, "--model=haiku"}));
  second.Ask("initialize");
  first.Signal(SIGTERM);
  EXPECT_EQ(first.Wait(), 143);
  EXPECT_THAT(Say(second, "what is the number?"), HasSubstr("4711"));
  EXPECT_EQ(End(second), 0);
  RehearsalProcess third(home_, With({"--resume=" + id}));
  EXPECT_THAT(Say(third, "hi"), HasSubstr("turns=3"));
}

TEST_F(RehearsalTranscriptTest, AUuidOfAnEarlierProcessIsADuplicateToo) {
  std::string id = RandomUuid();
  std::string uuid;
  {
    RehearsalProcess agent(home_, With({"--session-id=" + id}));
    uuid = agent.User("once");
    agent.Result();
    EXPECT_EQ(End(agent), 0);
  }
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  agent.User("once", {{"uuid", uuid}});
  EXPECT_EQ(End(agent), 0);
  EXPECT_THAT(home_.Log("turn"), testing::SizeIs(1));
}

TEST_F(RehearsalTranscriptTest, CostsGoOnAfterAProperEnd) {
  std::string id = Remembering();
  RehearsalProcess agent(home_, With({"--resume=" + id}));
  agent.User("hi");
  Json result = agent.Result();
  int64_t input = result["modelUsage"]["claude-opus-5-5"]["inputTokens"];
  EXPECT_GT(input, result["usage"]["input_tokens"].get<int64_t>());
}

TEST_F(RehearsalTranscriptTest, TheLogTellsWhatTheAgentDid) {
  std::string id = RandomUuid();
  RehearsalProcess agent(home_, With({"--session-id=" + id}));
  std::string uuid = agent.User("hi");
  agent.Result();
  agent.Ask("set_model", {{"model", "haiku"}});
  agent.User("/clear");
  agent.Result();
  EXPECT_EQ(End(agent), 0);
  std::vector<std::string> events;
  for (const Json& entry : home_.Log()) {
    events.push_back(entry["event"]);
    EXPECT_EQ(entry["pid"], agent.pid());
  }
  EXPECT_THAT(events, testing::ElementsAre("spawn", "user", "turn", "set_model",
                                           "user", "clear", "turn", "exit"));
  Json turn = home_.Log("turn").front();
  EXPECT_EQ(turn["session_id"], id);
  EXPECT_EQ(turn["uuids"], Json({uuid}));
  EXPECT_EQ(home_.Log("clear").front()["previous_session_id"], id);
}

}  // namespace
}  // namespace understudy::session
