// What a session keeps when its agent is replaced, and what it never does
// twice.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/grants.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SessionKeepsTest : public SessionFixture {
 protected:
  // How often an agent was given this text.
  ptrdiff_t Delivered(std::string_view text) {
    return std::count_if(
        engine.world.deliveries.begin(), engine.world.deliveries.end(),
        [text](const FakeDelivery& one) { return one.text == text; });
  }

  // A turn that asks for a tool, which is allowed for the session.
  void Grant(const std::string& session) {
    Let(FakeStep::kMiddle, FakeFate::Kind::kAsk);
    engine.Send(session, "use a tool");
    const auto asked = engine.Info(session).pending_permission_ids;
    ASSERT_THAT(asked, SizeIs(1));
    EXPECT_TRUE(engine
                    .Resolve(session, asked.front(),
                             v1::PERMISSION_DECISION_ALLOW,
                             v1::PERMISSION_SCOPE_SESSION)
                    .status()
                    .ok());
  }
  // Whether a turn that uses the tool ends without a question.
  bool UsesItsTool(const std::string& session) {
    const size_t asked = Count(session, "permission_requested");
    const Pending<SendResult> sent = engine.SendAndWait(session, "and again");
    return sent.status().ok() &&
           sent->completed->outcome() == v1::TURN_OUTCOME_SUCCEEDED &&
           Count(session, "permission_requested") == asked;
  }

  v1::TurnCompleted Turn(const std::string& session, std::string text) {
    const Pending<SendResult> sent =
        engine.SendAndWait(session, std::move(text));
    EXPECT_TRUE(sent.status().ok()) << sent.status();
    return sent.status().ok() ? *sent->completed : v1::TurnCompleted();
  }
};

// ---- Grants, model, mode ----

TEST_F(SessionKeepsTest, D12_WhatWasGrantedIsToldToEveryProcessAfter) {
  const std::string s = engine.Create();
  Grant(s);
  EXPECT_THAT(engine.Info(s).record.grants(), ElementsAre("Bash"));
  EXPECT_TRUE(UsesItsTool(s));
  engine.world.capabilities.switch_model = false;
  EXPECT_EQ(engine.Switch(s, "model-b")->route, v1::ROUTE_RESTART);
  EXPECT_THAT(engine.world.openings.back().grants, ElementsAre("Bash"));
  EXPECT_TRUE(UsesItsTool(s));
  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_TRUE(UsesItsTool(s));
  engine.Restart();
  EXPECT_TRUE(UsesItsTool(s));
  EXPECT_THAT(engine.world.openings.back().grants, ElementsAre("Bash"));
}

TEST_F(SessionKeepsTest, D12_AnotherConversationOfTheSessionKeepsTheGrants) {
  const std::string s = engine.Create();
  Grant(s);
  const std::string first = engine.Info(s).record.agent_session_id();
  EXPECT_EQ(engine.Clear(s)->route, v1::ROUTE_NATIVE);
  EXPECT_TRUE(UsesItsTool(s));
  engine.world.capabilities.new_conversation = false;
  EXPECT_EQ(engine.Clear(s)->route, v1::ROUTE_RESTART);
  EXPECT_TRUE(UsesItsTool(s));
  EXPECT_TRUE(engine.Resume(s, first).status().ok());
  EXPECT_TRUE(UsesItsTool(s));
}

TEST_F(SessionKeepsTest, D12_AGrantIsOneSessionsAndEndsWithIt) {
  const std::string s = engine.Create();
  Grant(s);
  const std::string other = engine.Create();
  EXPECT_FALSE(UsesItsTool(other));
  EXPECT_THAT(engine.world.openings.back().grants, IsEmpty());
  EXPECT_TRUE(engine.Delete(s).status().ok());
  EXPECT_EQ(engine.Create({.session_id = s}), s);
  EXPECT_FALSE(UsesItsTool(s));
  EXPECT_THAT(engine.world.openings.back().grants, IsEmpty());
}

TEST_F(SessionKeepsTest, AnAnswerForOnceGrantsNothing) {
  const std::string s = engine.Create();
  Let(FakeStep::kMiddle, FakeFate::Kind::kAsk);
  engine.Send(s, "use a tool");
  engine.Resolve(s, engine.Info(s).pending_permission_ids.front(),
                 v1::PERMISSION_DECISION_ALLOW);
  EXPECT_THAT(engine.Info(s).record.grants(), IsEmpty());
  EXPECT_FALSE(UsesItsTool(s));
}

TEST_F(SessionKeepsTest, D12_ModelAndPermissionModeHoldAfterEveryReplacement) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Switch(s, "model-b");
  engine.world.live().front()->ChangeMode("plan");
  engine.Run();
  EXPECT_EQ(engine.Info(s).record.permission_mode(), "plan");
  const auto opened_as_it_was = [&] {
    engine.Send(s, "next");
    const Opening& opening = engine.world.openings.back();
    return opening.model == "model-b" && opening.permission_mode == "plan";
  };
  const auto started = [&] { return engine.world.started; };

  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_TRUE(opened_as_it_was());
  EXPECT_EQ(started(), 2);
  engine.loop.Advance(Engine::FakeProfile().idle_timeout);
  EXPECT_TRUE(opened_as_it_was());
  EXPECT_EQ(started(), 3);
  engine.world.capabilities.new_conversation = false;
  engine.Clear(s);
  EXPECT_TRUE(opened_as_it_was());
  EXPECT_EQ(started(), 4);
  engine.Restart();
  EXPECT_TRUE(opened_as_it_was());
  EXPECT_EQ(started(), 5);
}

TEST(GrantsTest, AreKeptOnceAndTheOldestGiveWay) {
  SessionRecord record;
  KeepGrants({"a", "b", "a"}, record);
  KeepGrants({"b"}, record);
  EXPECT_THAT(record.grants(), ElementsAre("a", "b"));
  for (int i = 0; i < kMaxGrants; ++i) KeepGrants({std::to_string(i)}, record);
  EXPECT_EQ(record.grants_size(), kMaxGrants);
  EXPECT_EQ(record.grants(0), "0");
}

// ---- Cost ----

TEST_F(SessionKeepsTest, E8_TheCostIsThatOfItsTurnsWhateverBecomesOfItsAgents) {
  constexpr double kTurn = 0.25;  // what every turn costs
  const std::string s = engine.Create();
  int turns = 0;
  const auto turn_costs_its_own = [&](std::string_view after) {
    const v1::TurnCompleted done = Turn(s, "hello");
    ++turns;
    EXPECT_DOUBLE_EQ(done.usage().cost_usd(), kTurn) << after;
    EXPECT_DOUBLE_EQ(engine.Info(s).record.usage().cost_usd(), turns * kTurn)
        << after;
  };
  turn_costs_its_own("the start");
  turn_costs_its_own("a turn");
  const std::string first = engine.Info(s).record.agent_session_id();
  engine.Switch(s, "model-b");
  turn_costs_its_own("a native switch");
  engine.world.capabilities.switch_model = false;
  engine.Switch(s, "model-a");
  turn_costs_its_own("a switch by restart");
  engine.Clear(s);
  turn_costs_its_own("a native clear");
  engine.world.capabilities.new_conversation = false;
  engine.Clear(s);
  turn_costs_its_own("a clear by restart");
  engine.Resume(s, first);
  turn_costs_its_own("a resume");
  engine.loop.Advance(Engine::FakeProfile().idle_timeout);
  ASSERT_EQ(engine.Info(s).state, SessionState::kDormant);
  turn_costs_its_own("an idle time");
  engine.world.live().front()->Crash();
  engine.Run();
  turn_costs_its_own("a crash");
  engine.Restart();
  turn_costs_its_own("a restart of the server");
  EXPECT_DOUBLE_EQ(engine.Last(s, "usage").usage().cost_usd(), turns * kTurn);
}

// ---- A conversation that a model cannot read ----

TEST_F(SessionKeepsTest, E10_AModelThatCannotReadTheConversationIsTakenBack) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.blind_models = {"model-blind"};
  EXPECT_EQ(engine.Switch(s, "model-blind")->model, "model-blind");
  const v1::TurnCompleted failed = Turn(s, "two");
  EXPECT_EQ(failed.outcome(), v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(failed.error().reason(), "CONVERSATION_UNREADABLE");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(engine.Info(s).record.model_override(), "");
  const v1::ModelChanged back = engine.Last(s, "model_changed").model_changed();
  EXPECT_EQ(back.previous_model(), "model-blind");
  EXPECT_EQ(back.model(), "model-a");
  EXPECT_EQ(back.cause(), v1::CAUSE_RECOVERY);
  EXPECT_EQ(Turn(s, "three").outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(Count(s, "model_changed"), 2u);
}

TEST_F(SessionKeepsTest, E10_AFailureOfAnotherKindLeavesTheWayBackOpen) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.blind_models = {"model-blind"};
  engine.Switch(s, "model-blind");
  Let(FakeStep::kEnd, FakeFate::Kind::kFail);
  EXPECT_EQ(Turn(s, "two").error().reason(), "INTERNAL");
  EXPECT_EQ(engine.Info(s).record.model(), "model-blind");
  LetAllBeFine();
  EXPECT_EQ(Turn(s, "three").error().reason(), "CONVERSATION_UNREADABLE");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
}

TEST_F(SessionKeepsTest, E10_WithoutASwitchThereIsNothingToGoBackTo) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.blind_models = {"model-a"};
  EXPECT_EQ(Turn(s, "two").error().reason(), "CONVERSATION_UNREADABLE");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(Count(s, "model_changed"), 0u);
  EXPECT_EQ(Count(s, "transition_failed"), 0u);
}

// ---- Never twice ----

TEST_F(SessionKeepsTest, E6_AMessageThatMayHaveHadEffectsIsNeverSentAgain) {
  const std::string s = engine.Create();
  Let(FakeStep::kMiddle, FakeFate::Kind::kCrash);
  const Pending<SendResult> lost = engine.SendAndWait(s, "delete it");
  EXPECT_EQ(ReasonOf(lost.status()), Reason::kAgentLost);
  EXPECT_EQ(MetadataOf(lost.status())["delivered"], "YES");

  Let(FakeStep::kMiddle, FakeFate::Kind::kSilent);
  engine.Send(s, "delete that");
  engine.Restart();
  const v1::TurnCompleted left =
      engine.Last(s, "turn_completed").turn_completed();
  EXPECT_EQ(left.outcome(), v1::TURN_OUTCOME_INDETERMINATE);
  EXPECT_EQ(left.delivered(), v1::DELIVERED_MAYBE);

  LetAllBeFine();
  EXPECT_EQ(Turn(s, "and now?").outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(Delivered("delete it"), 1);
  EXPECT_EQ(Delivered("delete that"), 1);
}

TEST_F(SessionKeepsTest, A25_ACancelSurvivesTheAgentThatWasToHaveTheMessage) {
  const std::string s = engine.Create();
  engine.committing.Hold();
  const Pending<SendResult> sent = engine.SendAndWait(s, "never mind");
  // The message is accepted and its agent runs, but it does not have it yet.
  while (engine.Info(s).state != SessionState::kRunning &&
         engine.committing.ReleaseOne()) {
    engine.Run();
  }
  const Pending<InterruptResult> stopped = engine.Interrupt(s);
  ASSERT_THAT(engine.world.live(), SizeIs(1));
  engine.world.live().front()->Crash();
  engine.Run();
  engine.committing.Release();
  engine.Run();
  ASSERT_TRUE(stopped.status().ok()) << stopped.status();
  EXPECT_TRUE(stopped->interrupted);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_INTERRUPTED);
  EXPECT_EQ(Turn(s, "next").outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(Delivered("never mind"), 0);
}

TEST_F(SessionKeepsTest, A25_ACancelledPromptIsNotRunAgainByTheNextAgent) {
  const std::string s = engine.Create();
  Let(FakeStep::kMiddle, FakeFate::Kind::kSilent);
  const Pending<SendResult> sent = engine.SendAndWait(s, "never mind");
  Let(FakeStep::kInterrupt, FakeFate::Kind::kCrash);
  const Pending<InterruptResult> stopped = engine.Interrupt(s);
  EXPECT_TRUE(stopped.done());
  LetAllBeFine();
  EXPECT_TRUE(sent.done());
  EXPECT_EQ(Turn(s, "next").outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(Delivered("never mind"), 1);
  EXPECT_EQ(engine.world.started, 2);
}

}  // namespace
}  // namespace understudy::session
