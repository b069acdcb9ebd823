// A session's messages and turns, its agents' ends, and its permissions, on
// fake agents, a fake loop and a fake clock.

#include "session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using SessionTest = SessionFixture;

// ---- Sending ----

TEST_F(SessionTest, CreatingStartsNoProcess) {
  const std::string s = engine.Create();
  EXPECT_EQ(engine.world.started, 0);
  EXPECT_THAT(engine.Kinds(s), ElementsAre("session_created"));
  EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
}

TEST_F(SessionTest, AMessageIsAcceptedStartedAnsweredAndCompleted) {
  const std::string s = engine.Create();
  const Pending<SendResult> sent = engine.Send(s, "hello");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_THAT(
      engine.Kinds(s),
      ElementsAre("session_created", "message_accepted", "agent_started",
                  "turn_started", "message", "usage", "turn_completed"));
  EXPECT_EQ(sent->sequence, 2u);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_id(), sent->turn_id);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().delivered(),
            v1::DELIVERED_YES);
  EXPECT_EQ(engine.Info(s).state, SessionState::kIdle);
}

TEST_F(SessionTest, A4_A5_TheModelIsPassedAtEveryStart) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->Crash();
  engine.Run();
  engine.Switch(s, "model-b");
  engine.world.live().front()->Crash();
  engine.Run();
  engine.Send(s, "two");
  // The second death in a row: the restart waits a moment.
  engine.loop.Advance(absl::Seconds(1));
  std::vector<std::string> models;
  for (const Opening& opening : engine.world.openings) {
    models.push_back(opening.model);
  }
  EXPECT_THAT(models, ElementsAre("model-a", "model-b", "model-b"));
}

TEST_F(SessionTest, WaitingForTheEndBringsTheAnswer) {
  const std::string s = engine.Create();
  const Pending<SendResult> sent = engine.SendAndWait(s, "hello");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  ASSERT_TRUE(sent->completed.has_value());
  EXPECT_EQ(sent->completed->outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(sent->completed->text(), "model=model-a turns=1");
}

TEST_F(SessionTest, MessagesSentDuringATurnWaitAndKeepTheirOrder) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two");
  engine.Send(s, "three");
  EXPECT_EQ(engine.Info(s).queued_messages, 2);
  EXPECT_THAT(engine.world.deliveries, SizeIs(1));
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  ASSERT_THAT(engine.world.deliveries, SizeIs(3));
  EXPECT_EQ(engine.world.deliveries[1].text, "two");
  EXPECT_EQ(engine.world.deliveries[2].text, "three");
}

TEST_F(SessionTest, AFullQueueRefusesAndSaysSo) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "first");
  for (int i = 0; i < 64; ++i) {
    ASSERT_TRUE(engine.Send(s, "waits").status().ok());
  }
  EXPECT_EQ(ReasonOf(engine.Send(s, "too many").status()), Reason::kQueueFull);
}

TEST_F(SessionTest, B1_AnAgentThatWillNotStartFailsTheTurn) {
  const std::string s = engine.Create();
  Let(FakeStep::kStart, FakeFate::Kind::kRefuse);
  const Pending<SendResult> sent = engine.SendAndWait(s, "hello");
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentStartFailed);
  const v1::TurnCompleted completed =
      engine.Last(s, "turn_completed").turn_completed();
  EXPECT_EQ(completed.outcome(), v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(completed.delivered(), v1::DELIVERED_NO);
  EXPECT_EQ(engine.Last(s, "transition_failed").transition_failed().operation(),
            v1::OPERATION_START);
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "again").status().ok());
}

// ---- Agents that die ----

TEST_F(SessionTest, AnAgentThatDiesMidTurnEndsItAtOnceAndTheNextResumes) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> waiting = engine.SendAndWait(s, "one");
  const std::string conversation = engine.Info(s).record.agent_session_id();
  LetAllBeFine();
  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_EQ(ReasonOf(waiting.status()), Reason::kAgentLost);
  EXPECT_EQ(MetadataOf(waiting.status())["delivered"], "YES");
  EXPECT_EQ(MetadataOf(waiting.status())["signal"], "9");
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_AGENT_LOST);
  EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.openings.back().conversation, conversation);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionTest, A23_AnAgentThatDiesIdleIsNoCrashLoop) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->Crash();
  engine.Run();
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(engine.world.started, 1);
  EXPECT_EQ(Count(s, "agent_exited"), 1u);
}

TEST_F(SessionTest, E9_AnUnsolicitedTurnIsATurnOfItsOwn) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  FakeAgent& agent = *engine.world.live().front();
  agent.BeginUnsolicitedTurn();
  engine.Run();
  EXPECT_TRUE(engine.Last(s, "turn_started").turn_started().unsolicited());
  EXPECT_EQ(engine.Info(s).state, SessionState::kRunning);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_FALSE(moved.done());
  agent.EndUnsolicitedTurn();
  engine.Run();
  EXPECT_TRUE(moved.status().ok());
  EXPECT_EQ(Count(s, "turn_completed"), 2u);
}

TEST_F(SessionTest, APreparedProcessIsDiscardedWhenATurnHasRunMeanwhile) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.capabilities.switch_model = false;
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return FakeFate{.kind = FakeFate::Kind::kFine,
                    .delay = step == FakeStep::kStart ? absl::Seconds(1)
                                                      : absl::ZeroDuration()};
  };
  FakeAgent& old = *engine.world.live().front();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  old.BeginUnsolicitedTurn();
  old.EndUnsolicitedTurn();
  engine.loop.Advance(absl::Seconds(5));
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 2u);
}

// ---- The store and the server ----

TEST_F(SessionTest, A17_TheConversationSurvivesARestartOfTheServer) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Switch(s, "model-b");
  const std::string conversation = engine.Info(s).record.agent_session_id();
  engine.Restart();
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
  EXPECT_EQ(engine.Last(s, "agent_exited").agent_exited().cause(),
            v1::EXIT_CAUSE_SERVER_LOST);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().conversation, conversation);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
}

TEST_F(SessionTest, OpenTurnsAreCompletedWhenTheServerStarts) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> one = engine.Send(s, "one");
  const Pending<SendResult> two = engine.Send(s, "two");
  engine.Restart();
  std::map<std::string, v1::TurnCompleted> completed;
  for (const v1::Event& event : engine.Events(s)) {
    if (event.has_turn_completed()) {
      completed[event.turn_id()] = event.turn_completed();
    }
  }
  EXPECT_EQ(completed[one->turn_id].outcome(), v1::TURN_OUTCOME_INDETERMINATE);
  EXPECT_EQ(completed[one->turn_id].delivered(), v1::DELIVERED_MAYBE);
  EXPECT_EQ(completed[two->turn_id].delivered(), v1::DELIVERED_NO);
  EXPECT_EQ(engine.world.deliveries.size(), 1u);
}

TEST_F(SessionTest, ARepeatedRequestIdGetsTheFirstAnswer) {
  const std::string s = engine.Create();
  const Pending<SendResult> first = engine.Send(s, "one", {}, "r1");
  const Pending<SendResult> again = engine.Send(s, "one", {}, "r1");
  EXPECT_EQ(again->turn_id, first->turn_id);
  EXPECT_EQ(ReasonOf(engine.Send(s, "other", {}, "r1").status()),
            Reason::kRequestIdReused);
  const Pending<MoveResult> moved =
      engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, "r2");
  engine.Restart();
  EXPECT_EQ(engine.Send(s, "one", {}, "r1")->turn_id, first->turn_id);
  EXPECT_EQ(engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, "r2")->sequence,
            moved->sequence);
  EXPECT_THAT(engine.world.deliveries, SizeIs(1));
}

TEST_F(SessionTest, ARepeatJoinsTheCallInFlight) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  const Pending<MoveResult> first =
      engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, "r");
  const Pending<MoveResult> second =
      engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, "r");
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  ASSERT_TRUE(first.status().ok());
  ASSERT_TRUE(second.status().ok());
  EXPECT_EQ(first->sequence, second->sequence);
  EXPECT_EQ(Count(s, "model_changed"), 1u);
}

TEST_F(SessionTest, DeletingEndsTheAgentAndErasesTheSession) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> waiting = engine.SendAndWait(s, "one");
  const Pending<bool> deleted = engine.Delete(s);
  engine.loop.Advance(absl::Minutes(1));
  ASSERT_TRUE(deleted.status().ok()) << deleted.status();
  EXPECT_EQ(ReasonOf(waiting.status()), Reason::kSessionNotFound);
  EXPECT_THAT(engine.world.live(), IsEmpty());
  EXPECT_EQ(ReasonOf(engine.Send(s, "two").status()), Reason::kSessionNotFound);
  EXPECT_EQ(ReasonOf(engine.Delete(s).status()), Reason::kSessionNotFound);
}

// ---- Ends that are told ----

TEST_F(SessionTest, WhoWaitsForATurnThatEndsBeforeItsAnswerIsToldItsEnd) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.Interrupt(s);
  engine.committing.ReleaseOne();
  engine.Run();
  EXPECT_FALSE(sent.done());
  engine.committing.Release();
  engine.Run();
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->outcome(), v1::TURN_OUTCOME_INTERRUPTED);
}

TEST_F(SessionTest, AnAnswerIsNoLongerThanItsEvent) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  engine.loop.Advance(absl::Seconds(1));
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn(
      {.turn_id = agent.turn_id(), .text = std::string(5 << 20, 'x')});
  engine.Run();
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->text().size(), size_t{1} << 20);
}

TEST_F(SessionTest, ARepeatAfterALossIsToldHowTheAgentEnded) {
  const std::string id = "55555555-5555-4555-8555-555555555555";
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kCrash);
  engine.Send(s, "one", {}, id);
  engine.loop.Advance(absl::Seconds(1));
  Pending<SendResult> repeat;
  engine.manager->SendMessage(
      {.tenant = "", .request_id = id, .fingerprint = s + "one" + "-"},
      {.session_id = s, .text = "one", .wait_completed = true}, repeat.reply());
  engine.Run();
  EXPECT_EQ(ReasonOf(repeat.status()), Reason::kAgentLost);
  EXPECT_EQ(MetadataOf(repeat.status())["signal"], "9");
}

TEST_F(SessionTest, ATurnThatTheServerLostIsAnAnswerOfItsOwn) {
  const std::string id = "66666666-6666-4666-8666-666666666666";
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one", {}, id);
  engine.Restart();
  Pending<SendResult> repeat;
  engine.manager->SendMessage(
      {.tenant = "", .request_id = id, .fingerprint = s + "one" + "-"},
      {.session_id = s, .text = "one", .wait_completed = true}, repeat.reply());
  engine.Run();
  ASSERT_TRUE(repeat.status().ok()) << repeat.status();
  EXPECT_EQ(repeat->completed->outcome(), v1::TURN_OUTCOME_INDETERMINATE);
}

TEST_F(SessionTest, AMessageThatNoAgentLivesToGetIsGivenUp) {
  const std::string s = engine.Create();
  engine.committing.Hold();
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  // Every agent dies before the turn is stored, and so before it gets it.
  for (int i = 0; i < 10 && !engine.world.live().empty(); ++i) {
    engine.world.live().front()->Crash();
    engine.loop.Advance(absl::Seconds(1));
  }
  engine.committing.Release();
  engine.Run();
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentLost);
  EXPECT_THAT(engine.world.deliveries, IsEmpty());
  EXPECT_EQ(engine.world.started, 3);
}

class ShortTurnsTest : public ::testing::Test {
 protected:
  static SessionManager::Options ShortTurns() {
    SessionManager::Options options;
    options.profiles = {Engine::FakeProfile()};
    options.profiles.front().turn_timeout = absl::Minutes(1);
    return options;
  }
  Engine engine{ShortTurns()};
};

TEST_F(ShortTurnsTest, ATurnOverItsTimeFails) {
  const std::string s = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd ? Fate(FakeFate::Kind::kSilent) : FakeFate{};
  };
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  engine.loop.Advance(absl::Minutes(2));
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->outcome(), v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(sent->completed->error().reason(), "AGENT_UNRESPONSIVE");
}

TEST_F(ShortTurnsTest, ATurnOfTheAgentsOwnHasTheSameBound) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.live().front()->BeginUnsolicitedTurn();
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  EXPECT_FALSE(sent.done());
  engine.loop.Advance(absl::Minutes(2));
  EXPECT_TRUE(sent.status().ok()) << sent.status();
}

// ---- Permissions ----

TEST_F(SessionTest, APermissionIsAskedForAnsweredOnceAndTold) {
  const std::string s = engine.Create();
  bool asked = false;
  engine.world.decide = [&asked](FakeStep step, FakeAgent&) {
    return step == FakeStep::kMiddle && !std::exchange(asked, true)
               ? Fate(FakeFate::Kind::kAsk)
               : FakeFate{};
  };
  engine.Send(s, "use a tool");
  ASSERT_THAT(engine.Info(s).pending_permission_ids, SizeIs(1));
  const std::string id = engine.Info(s).pending_permission_ids.front();
  EXPECT_TRUE(
      engine.Resolve(s, id, v1::PERMISSION_DECISION_ALLOW).status().ok());
  EXPECT_TRUE(
      engine.Resolve(s, id, v1::PERMISSION_DECISION_ALLOW).status().ok());
  EXPECT_EQ(
      ReasonOf(engine.Resolve(s, id, v1::PERMISSION_DECISION_DENY).status()),
      Reason::kPermissionResolved);
  EXPECT_EQ(
      ReasonOf(
          engine.Resolve(s, "other", v1::PERMISSION_DECISION_DENY).status()),
      Reason::kPermissionNotFound);
  EXPECT_EQ(Count(s, "permission_resolved"), 1u);
  EXPECT_EQ(Count(s, "turn_completed"), 1u);
}

TEST_F(SessionTest, APermissionIsVoidWhenItsAgentDies) {
  const std::string s = engine.Create();
  Let(FakeStep::kMiddle, FakeFate::Kind::kAsk);
  engine.Send(s, "use a tool");
  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_TRUE(
      engine.Last(s, "permission_resolved").permission_resolved().withdrawn());
  EXPECT_THAT(engine.Info(s).pending_permission_ids, IsEmpty());
}

}  // namespace
}  // namespace understudy::session
