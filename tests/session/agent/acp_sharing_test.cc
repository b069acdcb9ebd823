// Two AcpAgents in one process: what becomes of one is not the other's matter.

#include "session/agent/shared_process.h"
#include "tests/session/agent/acp_fixture.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kTurn2[] = "22222222-2222-4222-8222-222222222222";

class AcpSharingTest : public AcpFixture {
 protected:
  AcpSharingTest() { through_ = shared_.get(); }

  // Two agents that rest, in c-1 and c-2.
  void StartBoth() {
    MustStart();
    auto made = FindAgentKind("acp")->make(loop_, *shared_, profile_, opening_,
                                           &neighbour_);
    ASSERT_THAT(made.status(), IsOk());
    neighbour_.agent = *std::move(made);
    neighbour_.agent->Start(
        [](absl::Status ready) { EXPECT_THAT(ready, IsOk()); });
    loop_.RunUntilIdle();
    ASSERT_EQ(conversation(), "c-1");
    ASSERT_EQ(neighbour_.agent->current().conversation, "c-2");
    ASSERT_EQ(launcher_.children(), 1u);
  }

  void ExpectNeighbourWell() {
    EXPECT_FALSE(neighbour_.loss.has_value());
    neighbour_.Take();
    neighbour_.agent->Send({kTurn2, "and now?"});
    loop_.RunUntilIdle();
    Say(Chunk("c-2", "well"));
    EndTurn();
    EXPECT_THAT(neighbour_.log, Contains("message \"well\""));
    EXPECT_EQ(neighbour_.ends.back().outcome, v1::TURN_OUTCOME_SUCCEEDED);
  }

  std::vector<std::string> Cancelled() {
    std::vector<std::string> cancelled;
    for (const Json& line : Written("session/cancel")) {
      cancelled.push_back(line["params"]["sessionId"]);
    }
    return cancelled;
  }

  std::shared_ptr<SharedProcess> shared_ =
      SharedProcess::Create(loop_, launcher_);
  AgentOwner neighbour_;
};

TEST_F(AcpSharingTest, EachHearsItsOwnTurn) {
  StartBoth();
  EXPECT_THAT(Written("initialize"), SizeIs(1));
  EXPECT_EQ(neighbour_.agent->version(), "1.0");
  EXPECT_TRUE(neighbour_.agent->capabilities().acknowledges);
  Send();
  const Json first = Prompt();
  neighbour_.agent->Send({kTurn2, "hello"});
  loop_.RunUntilIdle();
  Say(Lines{Chunk("c-1", "one").dump(), Chunk("c-2", "two").dump(),
            AsksPermission(0, "c-2").dump(), Chunk("c-1", " more").dump(),
            Result(first, {{"stopReason", "end_turn"}}).dump()});
  EXPECT_EQ(owner_.ends.back().text, "one more");
  EXPECT_THAT(neighbour_.ends, IsEmpty());
  EXPECT_EQ(neighbour_.permission.tool_name(), "execute");
  EXPECT_EQ(owner_.permission.tool_name(), "");
  EndTurn();
  EXPECT_EQ(neighbour_.ends.back().text, "two");
}

TEST_F(AcpSharingTest, OneThatIsStoppedInATurnEndsIt) {
  StartBoth();
  Send();
  const Json prompt = Prompt();
  Say(AsksPermission(0, "c-1"));
  agent().Stop(absl::Seconds(5));
  loop_.RunUntilIdle();
  EXPECT_THAT(Cancelled(), ElementsAre("c-1"));
  EXPECT_THAT(Closed(), ElementsAre("c-1"));
  const auto answered = [this] {
    for (const std::string& line : child().lines()) {
      Json json = Json::parse(line);
      if (json["id"] == 0) return json["result"]["outcome"]["outcome"];
    }
    return Json();
  };
  EXPECT_EQ(answered(), "cancelled");
  EXPECT_FALSE(owner_.loss.has_value());
  Say(Result(prompt, {{"stopReason", "cancelled"}}));
  ASSERT_TRUE(owner_.loss.has_value());
  EXPECT_EQ(owner_.loss->exit.cause, ExitStatus::Cause::kStopped);
  EXPECT_TRUE(shared_->MayJoin(""));
  ExpectNeighbourWell();
}

TEST_F(AcpSharingTest, OneThatIsDestroyedInATurnEndsIt) {
  StartBoth();
  Send();
  owner_.agent.reset();
  loop_.RunUntilIdle();
  EXPECT_THAT(Cancelled(), ElementsAre("c-1"));
  EXPECT_THAT(Closed(), ElementsAre("c-1"));
  EXPECT_FALSE(shared_->MayJoin("")) << "nobody knows what becomes of the turn";
  ExpectNeighbourWell();
}

TEST_F(AcpSharingTest, OneThatCannotBeInterruptedEndsAlone) {
  StartBoth();
  Send();
  agent().Interrupt();
  loop_.Advance(profile_.interrupt_timeout + absl::Seconds(1));
  ASSERT_TRUE(owner_.loss.has_value());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentUnresponsive));
  EXPECT_FALSE(shared_->MayJoin(""));
  EXPECT_FALSE(child().stopping());
  ExpectNeighbourWell();
}

TEST_F(AcpSharingTest, OneThatHasLostItsConversationEndsAlone) {
  StartBoth();
  Send();
  Say(Error(Prompt(), -32002, "Resource not found"));
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(owner_.loss.has_value());
  EXPECT_TRUE(shared_->MayJoin(""));
  ExpectNeighbourWell();
}

TEST_F(AcpSharingTest, OneThatCannotStartEndsAlone) {
  StartBoth();
  AgentOwner third;
  opening_.conversation = "unknown";
  refused_["session/load"] = {{"code", -32603}, {"message", "no such"}};
  auto made =
      FindAgentKind("acp")->make(loop_, *shared_, profile_, opening_, &third);
  ASSERT_THAT(made.status(), IsOk());
  third.agent = *std::move(made);
  third.agent->Start([](absl::Status ready) {
    EXPECT_THAT(ready, HasReason(Reason::kConversationNotFound));
  });
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(third.loss.has_value());
  EXPECT_TRUE(shared_->MayJoin(""));
  ExpectNeighbourWell();
}

TEST_F(AcpSharingTest, NonsenseEndsNobodyWhoShares) {
  StartBoth();
  Say(Lines(20, "nonsense"));
  EXPECT_FALSE(owner_.loss.has_value());
  EXPECT_THAT(owner_.log, SizeIs(20));
  neighbour_.agent.reset();
  Say(Lines(20, "nonsense"));
  ASSERT_TRUE(owner_.loss.has_value());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentProtocol));
}

TEST_F(AcpSharingTest, TheEndOfTheProcessIsTheEndOfBoth) {
  StartBoth();
  Send();
  Say(Chunk("c-1", "hi"));
  ExitStatus status;
  status.cause = ExitStatus::Cause::kSignaled;
  status.signal = 9;
  child().Exit(status);
  loop_.RunUntilIdle();
  for (AgentOwner* const owner : {&owner_, &neighbour_}) {
    ASSERT_TRUE(owner->loss.has_value());
    EXPECT_THAT(owner->loss->why, HasReason(Reason::kAgentLost));
    EXPECT_EQ(owner->log.back(), "lost AGENT_LOST");
  }
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
}

}  // namespace
}  // namespace understudy::session
