#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;

using SessionWatchTest = SessionFixture;

TEST_F(SessionWatchTest, A24_AStartThatKeepsNoBoundIsLetGo) {
  const std::string s = engine.Create();
  Let(FakeStep::kStart, FakeFate::Kind::kDeaf);
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  engine.loop.Advance(absl::Minutes(5));
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentUnresponsive);
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
}

TEST_F(SessionWatchTest, A24_ASwitchThatKeepsNoBoundIsLetGo) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  Let(FakeStep::kModel, FakeFate::Kind::kDeaf);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const Pending<SendResult> waiting = engine.SendAndWait(s, "two");
  engine.loop.Advance(absl::Minutes(5));
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kAgentUnresponsive);
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  // The agent that held the session is gone; what waited went to the next.
  EXPECT_TRUE(waiting.status().ok()) << waiting.status();
  EXPECT_EQ(engine.world.started, 2);
}

TEST_F(SessionWatchTest, A24_ATurnThatEvenAnInterruptDoesNotEndIsLetGo) {
  const std::string s = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd || step == FakeStep::kInterrupt
               ? Fate(FakeFate::Kind::kDeaf)
               : FakeFate{};
  };
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  engine.loop.Advance(Engine::FakeProfile().turn_timeout + absl::Minutes(5));
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentUnresponsive);
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
}

TEST_F(SessionWatchTest, A24_AProcessThatDoesNotEndHoldsUpNoMessage) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  Let(FakeStep::kStop, FakeFate::Kind::kDeaf);
  ASSERT_TRUE(engine.Switch(s, "model-b").status().ok());
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  EXPECT_FALSE(sent.done());
  engine.loop.Advance(absl::Minutes(5));
  EXPECT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(Count(s, "agent_exited"), 1u);
  EXPECT_EQ(engine.world.live().size(), 1u);
  LetAllBeFine();
}

TEST_F(SessionWatchTest, AnAgentThatDoesNotTakeUpAMessageIsEnded) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  Let(FakeStep::kTurn, FakeFate::Kind::kDeaf);
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.loop.Advance(4 * Engine::FakeProfile().start_timeout);
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentUnresponsive);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_AGENT_LOST);
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "three").status().ok());
}

TEST_F(SessionWatchTest, AnInterruptThatCostsTheAgentHasInterrupted) {
  const std::string s = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd || step == FakeStep::kInterrupt
               ? Fate(FakeFate::Kind::kSilent)
               : FakeFate{};
  };
  const Pending<SendResult> sent = engine.Send(s, "one");
  const Pending<InterruptResult> interrupted = engine.Interrupt(s);
  engine.loop.Advance(Engine::FakeProfile().interrupt_timeout);
  ASSERT_TRUE(interrupted.status().ok()) << interrupted.status();
  EXPECT_TRUE(interrupted->interrupted);
  EXPECT_EQ(interrupted->turn_id, sent->turn_id);
  LetAllBeFine();
  EXPECT_EQ(engine.Interrupt(s, "no-such-turn")->turn_id, "");
}

TEST_F(SessionWatchTest, NobodyWaitsForAStoreForEver) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> running = engine.SendAndWait(s, "one");
  const absl::Status full = MakeError(Reason::kStoreFull, "no room");
  engine.store.FailWrites(1000000, full);
  const char kId[] = "11111111-1111-4111-8111-111111111111";
  const Pending<SendResult> queued = engine.Send(s, "two", {}, kId);
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  EXPECT_FALSE(queued.done());
  engine.loop.Advance(absl::Seconds(30));
  EXPECT_EQ(ReasonOf(queued.status()), Reason::kStoreFull);
  EXPECT_EQ(ReasonOf(running.status()), Reason::kStoreFull);
  // There is room again: what was asked for is done, once.
  engine.store.FailWrites(0, absl::OkStatus());
  engine.loop.Advance(absl::Seconds(30));
  const Pending<SendResult> again = engine.Send(s, "two", {}, kId);
  ASSERT_TRUE(again.status().ok()) << again.status();
  EXPECT_EQ(Count(s, "message_accepted"), 2u);
  EXPECT_EQ(Count(s, "turn_completed"), 2u);
}

TEST_F(SessionWatchTest, A2_AMoveDoesNotWaitForATurnForEver) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const Pending<SendResult> sent = engine.Send(s, "two", "model-c");
  engine.loop.Advance(Engine::FakeProfile().quiesce_timeout);
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kTurnRunning);
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kTurnRunning);
  EXPECT_EQ(engine.Info(s).queued_messages, 0);
  EXPECT_EQ(Count(s, "transition_failed"), 2u);
  EXPECT_EQ(Count(s, "message_accepted"), 1u);
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
}

TEST_F(SessionWatchTest, ATurnIsOverItsTimeAlsoBehindOneOfTheAgentsOwn) {
  engine.options.profiles[0].turn_timeout = absl::Minutes(3);
  engine.Restart();
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return FakeFate{.delay = step == FakeStep::kTurn ? absl::Seconds(200)
                                                     : absl::ZeroDuration()};
  };
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.loop.Advance(absl::Minutes(1));
  FakeAgent& agent = *engine.world.live().front();
  agent.BeginUnsolicitedTurn();
  engine.loop.Advance(absl::Seconds(130));
  agent.EndUnsolicitedTurn();
  engine.loop.Advance(absl::Minutes(2));
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->error().reason(), "AGENT_UNRESPONSIVE");
}

TEST_F(SessionWatchTest, B13_AStoredModelThatIsGoneOpensOnTheDefault) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one", "model-b");
  engine.Restart();
  engine.world.gone_models = {"model-b"};
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  const v1::ModelChanged changed =
      engine.Last(s, "model_changed").model_changed();
  EXPECT_EQ(changed.previous_model(), "model-b");
  EXPECT_EQ(changed.model(), "model-a");
  EXPECT_EQ(changed.cause(), v1::CAUSE_RECOVERY);
  EXPECT_EQ(engine.Info(s).record.model_override(), "");
}

TEST_F(SessionWatchTest, B13_AStoredModelThatFailsATurnGivesWayToTheDefault) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one", "model-b");
  engine.Restart();
  engine.world.bad_models = {"model-b"};
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->error().reason(), "MODEL_REJECTED");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(engine.Last(s, "model_changed").model_changed().cause(),
            v1::CAUSE_RECOVERY);
  EXPECT_TRUE(engine.SendAndWait(s, "three").status().ok());
}

TEST_F(SessionWatchTest, AWayBackLeadsPastModelsThatNeverProved) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.bad_models = {"model-bad", "model-worse"};
  engine.world.capabilities.switch_model = false;
  engine.Switch(s, "model-bad");
  engine.Switch(s, "model-worse");
  engine.SendAndWait(s, "two");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
}

}  // namespace
}  // namespace understudy::session
