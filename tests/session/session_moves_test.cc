// Switches, and what moves wait for.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"
#include "tests/support/history_checker.h"

namespace understudy::session {
namespace {

using ::testing::SizeIs;

using SessionMovesTest = SessionFixture;

// ---- Switching ----

TEST_F(SessionMovesTest, C4_C9_ANativeSwitchKeepsTheProcessAndIsVerified) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const pid_t pid = Pid(s);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_TRUE(moved->changed);
  EXPECT_TRUE(moved->verified);
  EXPECT_EQ(moved->route, v1::ROUTE_NATIVE);
  EXPECT_EQ(moved->previous_model, "model-a");
  EXPECT_EQ(moved->model, "model-b");
  EXPECT_EQ(engine.Last(s, "model_changed").sequence(), moved->sequence);
  EXPECT_EQ(Count(s, "model_changed"), 1u);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().pid, pid);
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionMovesTest, A7_TheSameModelIsNoSwitch) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::vector<std::string> before = engine.Kinds(s);
  const Pending<MoveResult> moved = engine.Switch(s, "model-a");
  ASSERT_TRUE(moved.status().ok());
  EXPECT_FALSE(moved->changed);
  EXPECT_EQ(moved->route, v1::ROUTE_NONE);
  EXPECT_EQ(engine.Kinds(s), before);
  EXPECT_EQ(engine.world.started, 1);
}

TEST_F(SessionMovesTest, B2_AnEmptyModelGoesBackToTheDefault) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Switch(s, "model-b");
  const Pending<MoveResult> moved = engine.Switch(s, "");
  ASSERT_TRUE(moved.status().ok());
  EXPECT_EQ(moved->model, "model-a");
  EXPECT_EQ(engine.Info(s).record.model_override(), "");
  EXPECT_FALSE(engine.Switch(s, "")->changed);
}

TEST_F(SessionMovesTest, B2_AnEmptyModelGoesBackToTheDefaultOnEveryPath) {
  // Without a process; by another process; with a message; with a resume.
  const std::string dormant = engine.Create({.model = "model-b"});
  EXPECT_EQ(engine.Switch(dormant, "")->model, "model-a");

  const std::string s = engine.Create({.model = "model-b"});
  engine.Send(s, "one");
  const std::string first = engine.Info(s).record.agent_session_id();
  Let(FakeStep::kModel, FakeFate::Kind::kRefuse);
  EXPECT_EQ(engine.Switch(s, "")->route, v1::ROUTE_RESTART);
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  LetAllBeFine();
  engine.Send(s, "two", "model-c");
  engine.Send(s, "three", "");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
  engine.Switch(s, "model-c");
  engine.Clear(s);
  engine.Send(s, "four");
  EXPECT_EQ(engine.Resume(s, first, "")->model, "model-a");
  for (const std::string& one : {dormant, s}) {
    EXPECT_EQ(engine.Info(one).record.model_override(), "");
  }
}

TEST_F(SessionMovesTest, B4_TheAnswerSaysWhichAgentAndWhichModel) {
  const std::string s = engine.Create();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_EQ(moved->agent, "fake");
  EXPECT_EQ(moved->model, "model-b");
}

TEST_F(SessionMovesTest, A22_ARefusedNativeSwitchFallsBackToRestart) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const pid_t pid = Pid(s);
  const std::string conversation = engine.Info(s).record.agent_session_id();
  Let(FakeStep::kModel, FakeFate::Kind::kRefuse);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
  EXPECT_NE(Pid(s), pid);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().conversation, conversation);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  EXPECT_EQ(Count(s, "agent_exited"), 1u);
  EXPECT_TRUE(engine.Last(s, "agent_exited").agent_exited().expected());
}

TEST_F(SessionMovesTest, A2_ANativeSwitchThatWedgesEndsWithinItsBound) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  Let(FakeStep::kModel, FakeFate::Kind::kSilent);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_FALSE(moved.done());
  engine.loop.Advance(Engine::FakeProfile().switch_timeout);
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
  EXPECT_EQ(moved->model, "model-b");
}

TEST_F(SessionMovesTest, A22_AnAgentThatWedgedInASwitchIsReplacedAndGone) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const pid_t wedged = Pid(s);
  Let(FakeStep::kModel, FakeFate::Kind::kSilent);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  EXPECT_FALSE(sent.done());
  engine.loop.Advance(Engine::FakeProfile().switch_timeout);
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
  EXPECT_EQ(engine.world.live(wedged), nullptr);
  EXPECT_EQ(engine.Last(s, "agent_exited").agent_exited().pid(), wedged);
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionMovesTest, A3_AWedgedSessionDelaysNoOther) {
  const std::string wedged = engine.Create();
  const std::string other = engine.Create();
  engine.Send(wedged, "one");
  Let(FakeStep::kModel, FakeFate::Kind::kSilent);
  const Pending<MoveResult> moved = engine.Switch(wedged, "model-b");
  EXPECT_TRUE(engine.SendAndWait(other, "hello").status().ok());
  EXPECT_FALSE(moved.done());
}

TEST_F(SessionMovesTest, B12_AModelThatIsRejectedChangesNothing) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.bad_models = {"model-bad"};
  EXPECT_EQ(ReasonOf(engine.Switch(s, "model-bad").status()),
            Reason::kModelRejected);
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  const Pending<SendResult> sent = engine.Send(s, "two", "model-bad");
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kModelRejected);
  EXPECT_EQ(Count(s, "message_accepted"), 1u);
  EXPECT_EQ(Count(s, "model_changed"), 0u);
  EXPECT_EQ(Count(s, "transition_failed"), 2u);
  EXPECT_TRUE(engine.SendAndWait(s, "three").status().ok());
  EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
}

TEST_F(SessionMovesTest, AModelThatFailsItsFirstTurnIsTakenBack) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.bad_models = {"model-bad"};
  engine.world.capabilities.switch_model = false;
  const Pending<MoveResult> moved = engine.Switch(s, "model-bad");
  ASSERT_TRUE(moved.status().ok());
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  ASSERT_TRUE(sent.status().ok());
  EXPECT_EQ(sent->completed->outcome(), v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(sent->completed->error().reason(), "MODEL_REJECTED");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(engine.Last(s, "model_changed").model_changed().cause(),
            v1::CAUSE_RECOVERY);
  EXPECT_EQ(Count(s, "model_changed"), 2u);
}

TEST_F(SessionMovesTest, C1_C2_AMessageWithAModelAlreadyRunsOnIt) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const Pending<SendResult> sent = engine.Send(s, "two", "model-b");
  ASSERT_TRUE(sent.status().ok());
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
  const std::vector<v1::Event> events = engine.Events(s);
  const auto at = [&events](std::string_view kind) {
    size_t found = 0;
    for (size_t i = 0; i < events.size(); ++i) {
      if (KindOf(events[i]) == kind) found = i;
    }
    return found;
  };
  EXPECT_LT(at("model_changed"), at("message_accepted"));
}

TEST_F(SessionMovesTest, A15_AMessageWithAModelNeedsNoSecondCall) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  const Pending<SendResult> sent = engine.Send(s, "two", "model-b");
  EXPECT_FALSE(sent.done());
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  EXPECT_TRUE(sent.status().ok());
  EXPECT_EQ(engine.world.deliveries.back().text, "two");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
}

TEST_F(SessionMovesTest, A8_MessagesSentDuringASwitchGoToTheAgentItEndsWith) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.capabilities.switch_model = false;
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return FakeFate{.kind = FakeFate::Kind::kFine,
                    .delay = step == FakeStep::kStart ? absl::Seconds(1)
                                                      : absl::ZeroDuration()};
  };
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.Send(s, "two");
  engine.Send(s, "three");
  EXPECT_FALSE(moved.done());
  EXPECT_EQ(engine.Info(s).state, SessionState::kTransitioning);
  engine.loop.Advance(absl::Seconds(1));
  ASSERT_TRUE(moved.status().ok());
  ASSERT_THAT(engine.world.deliveries, SizeIs(3));
  EXPECT_EQ(engine.world.deliveries[1].text, "two");
  EXPECT_EQ(engine.world.deliveries[1].model, "model-b");
  EXPECT_EQ(engine.world.deliveries[2].text, "three");
}

TEST_F(SessionMovesTest, A12_ASwitchBeforeAnyConversationResumesNothing) {
  const std::string s = engine.Create();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok());
  EXPECT_EQ(engine.world.openings.back().conversation, "");
  engine.world.capabilities.switch_model = false;
  engine.Switch(s, "model-c");
  EXPECT_EQ(engine.world.openings.back().conversation, "");
}

TEST_F(SessionMovesTest,
       B14_B15_TheModelIsReadWithoutWakingAndTheRestSurvives) {
  const std::string s =
      engine.Create({.model = "model-b", .labels = {{"team", "blue"}}});
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
  EXPECT_EQ(engine.world.started, 0);
  engine.SendAndWait(s, "one");
  SessionRecord before = engine.Info(s).record;
  engine.Switch(s, "model-c");
  SessionRecord after = engine.Info(s).record;
  EXPECT_EQ(after.model(), "model-c");
  for (SessionRecord* record : {&before, &after}) {
    record->clear_model();
    record->clear_model_override();
    record->clear_unproven_from();
    record->clear_update_time();
  }
  EXPECT_EQ(after.DebugString(), before.DebugString());
}

TEST_F(SessionMovesTest, C6_ASwitchBeforeTheFirstMessageHolds) {
  const std::string s = engine.Create();
  engine.Switch(s, "model-b");
  engine.Send(s, "one");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
}

TEST_F(SessionMovesTest, C9_AnAgentThatEndsOnAnotherModelIsReportedAsItIs) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  Let(FakeStep::kModel, FakeFate::Kind::kLie);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok());
  EXPECT_EQ(moved->model, "model-of-its-own");
  const v1::ModelChanged changed =
      engine.Last(s, "model_changed").model_changed();
  EXPECT_EQ(changed.requested_model(), "model-b");
  EXPECT_EQ(changed.model(), "model-of-its-own");
}

TEST_F(SessionMovesTest, C9_AModelTheAgentChangedByItselfIsAnEvent) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->ChangeModel("model-fallback");
  engine.Run();
  const v1::ModelChanged changed =
      engine.Last(s, "model_changed").model_changed();
  EXPECT_EQ(changed.cause(), v1::CAUSE_AGENT);
  EXPECT_EQ(changed.model(), "model-fallback");
  EXPECT_EQ(engine.Info(s).record.model(), "model-fallback");
}

TEST_F(SessionMovesTest, ANativeClearThatComesTooLateIsNotASecondOne) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  const std::string before = engine.Info(s).record.agent_session_id();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    if (step == FakeStep::kClear) return Fate(FakeFate::Kind::kLate);
    FakeFate fate;
    if (step == FakeStep::kStart) fate.delay = absl::Seconds(5);
    return fate;
  };
  const Pending<MoveResult> cleared = engine.Clear(s);
  engine.loop.Advance(absl::Minutes(1));
  ASSERT_TRUE(cleared.status().ok()) << cleared.status();
  EXPECT_EQ(cleared->route, v1::ROUTE_RESTART);
  EXPECT_EQ(cleared->previous_agent_session_id, before);
  EXPECT_EQ(Count(s, "conversation_cleared"), 1u);
}

TEST_F(SessionMovesTest, ALateClearIsNoneIfTheTransitionFailed) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  const std::string before = engine.Info(s).record.agent_session_id();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    if (step == FakeStep::kClear) return Fate(FakeFate::Kind::kLate);
    FakeFate fate;
    if (step == FakeStep::kStart) {
      fate.kind = FakeFate::Kind::kRefuse;
      fate.delay = absl::Seconds(5);
    }
    return fate;
  };
  const Pending<MoveResult> cleared = engine.Clear(s);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_FALSE(cleared.status().ok());
  EXPECT_EQ(engine.Info(s).record.agent_session_id(), before);
  EXPECT_EQ(Count(s, "conversation_cleared"), 0u);
}

TEST_F(SessionMovesTest, AModelOfItsOwnDuringAFailedMoveIsToldBehindIt) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    FakeFate fate;
    if (step == FakeStep::kStart) {
      fate.kind = FakeFate::Kind::kRefuse;
      fate.delay = absl::Seconds(5);
    }
    return fate;
  };
  engine.Switch(s, "model-b");
  engine.world.live().front()->ChangeModel("model-fallback");
  engine.loop.Advance(absl::Minutes(1));
  const std::vector<std::string> kinds = engine.Kinds(s);
  EXPECT_EQ(kinds.back(), "model_changed");
  EXPECT_EQ(kinds[kinds.size() - 2], "transition_failed");
  EXPECT_EQ(engine.Info(s).record.model(), "model-fallback");
}

TEST_F(SessionMovesTest, WhatAnAgentSaysOfAFailureFitsOnTheWire) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn(
      {.turn_id = agent.turn_id(),
       .outcome = v1::TURN_OUTCOME_FAILED,
       .stop_reason = std::string(1 << 20, 's'),
       .error = MakeError(Reason::kInternal, std::string(6 << 20, 'x'))});
  engine.Run();
  ASSERT_TRUE(sent.status().ok());
  EXPECT_LT(sent->completed->ByteSizeLong(), 64u << 10);
}

TEST_F(SessionMovesTest, WhoIsClearedWithoutAnAgentLetsTheConversationGo) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.SendAndWait(a, "one");
  const std::string conversation = engine.Info(a).record.agent_session_id();
  Pending<std::shared_ptr<EventLog>> watched;  // so that it stays in memory
  engine.manager->OpenLog({}, a, watched.reply());
  engine.loop.Advance(Engine::FakeProfile().idle_timeout + absl::Seconds(1));
  ASSERT_EQ(engine.Clear(a)->route, v1::ROUTE_NONE);
  EXPECT_TRUE(engine.Resume(b, conversation).status().ok());
}

// ---- Policies, interrupts, withdrawal ----

TEST_F(SessionMovesTest, APolicyOfInterruptIsRefusedWhereAgentsCannot) {
  engine.world.capabilities.interrupt = false;
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  EXPECT_EQ(
      ReasonOf(engine.Switch(s, "model-b", TurnPolicy::kInterrupt).status()),
      Reason::kCapabilityMissing);
}

TEST_F(SessionMovesTest, AMessageThatHasBegunIsInterruptedAndNotPassed) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  // Its agent dies before it is given the message, whose turn has begun.
  engine.committing.Hold();
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.world.live().front()->Crash();
  engine.Run();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    FakeFate fate;
    if (step == FakeStep::kStart) fate.delay = absl::Seconds(1);
    return fate;
  };
  engine.committing.Release();
  engine.Run();
  const Pending<MoveResult> moved =
      engine.Switch(s, "model-b", TurnPolicy::kInterrupt);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_TRUE(sent.done());
  EXPECT_THAT(CheckHistory(engine.Events(s), /*settled=*/false),
              ::testing::IsEmpty());
  EXPECT_EQ(Count(s, "turn_completed"), 2u);
}

TEST_F(SessionMovesTest, AnInterruptThatCameTooLateSaysSo) {
  const std::string s = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    if (step == FakeStep::kEnd) return Fate(FakeFate::Kind::kSilent);
    FakeFate fate;
    if (step == FakeStep::kInterrupt) fate.delay = absl::Seconds(1);
    return fate;
  };
  engine.Send(s, "one");
  const Pending<InterruptResult> interrupted = engine.Interrupt(s);
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  ASSERT_TRUE(interrupted.status().ok());
  EXPECT_FALSE(interrupted->interrupted);
}

TEST_F(SessionMovesTest, APassingFailureIsNotTheAnswerToTheSameRequestLater) {
  engine.options.max_slots = 1;
  engine.Restart();
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(a, "one");
  const char kId[] = "11111111-1111-4111-8111-111111111111";
  const Pending<MoveResult> moved =
      engine.Switch(b, "model-b", TurnPolicy::kAfterTurn, kId);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kNoSlot);
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  const Pending<MoveResult> again =
      engine.Switch(b, "model-b", TurnPolicy::kAfterTurn, kId);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(again.status().ok()) << again.status();
}

TEST_F(SessionMovesTest, TheDefaultPolicyWaitsForTheTurnAndWhatWasSentBefore) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two");
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.Send(s, "three");
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  ASSERT_TRUE(moved.status().ok());
  ASSERT_THAT(engine.world.deliveries, SizeIs(3));
  EXPECT_EQ(engine.world.deliveries[1].model, "model-a");
  EXPECT_EQ(engine.world.deliveries[2].model, "model-b");
}

TEST_F(SessionMovesTest, ThePolicyInterruptComesBeforeWhatWaits) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two");
  LetAllBeFine();
  const Pending<MoveResult> moved =
      engine.Switch(s, "model-b", TurnPolicy::kInterrupt);
  ASSERT_TRUE(moved.status().ok());
  ASSERT_THAT(engine.world.deliveries, SizeIs(2));
  EXPECT_EQ(engine.world.deliveries[1].model, "model-b");
}

TEST_F(SessionMovesTest, ThePolicyFailIsRefusedDuringATurn) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  EXPECT_EQ(ReasonOf(engine.Switch(s, "model-b", TurnPolicy::kFail).status()),
            Reason::kTurnRunning);
  EXPECT_EQ(Count(s, "transition_failed"), 0u);
}

TEST_F(SessionMovesTest, A14_InterruptingAnIdleAgentDoesNotWait) {
  const std::string s = engine.Create();
  EXPECT_FALSE(engine.Interrupt(s)->interrupted);
  engine.Send(s, "one");
  EXPECT_FALSE(engine.Interrupt(s)->interrupted);
}

TEST_F(SessionMovesTest, AnInterruptIsAnsweredAfterTheTurnIsCompleted) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> sent = engine.Send(s, "one");
  const Pending<InterruptResult> interrupted = engine.Interrupt(s);
  ASSERT_TRUE(interrupted.status().ok());
  EXPECT_TRUE(interrupted->interrupted);
  EXPECT_EQ(interrupted->turn_id, sent->turn_id);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_INTERRUPTED);
}

TEST_F(SessionMovesTest, AQueuedMessageIsWithdrawnByItsTurnId) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  const Pending<SendResult> two = engine.Send(s, "two");
  engine.Send(s, "three");
  EXPECT_TRUE(engine.Interrupt(s, two->turn_id)->interrupted);
  EXPECT_EQ(engine.Info(s).queued_messages, 1);
  const v1::Event completed = engine.Last(s, "turn_completed");
  EXPECT_EQ(completed.turn_id(), two->turn_id);
  EXPECT_EQ(completed.turn_completed().delivered(), v1::DELIVERED_NO);
}

TEST_F(SessionMovesTest, AWaitingSwitchIsWithdrawnWithoutATrace) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.manager->Withdraw(moved.id);
  engine.Run();
  EXPECT_EQ(moved.status().code(), absl::StatusCode::kCancelled);
  LetAllBeFine();
  FakeAgent& agent = *engine.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine.Run();
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(Count(s, "model_changed"), 0u);
}

TEST_F(SessionMovesTest,
       APolicyOfInterruptComesBeforeMessagesThatPrecedeMoves) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two");
  engine.Clear(s);
  LetAllBeFine();
  const Pending<MoveResult> moved =
      engine.Switch(s, "model-b", TurnPolicy::kInterrupt);
  engine.loop.Advance(absl::Seconds(1));
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  ASSERT_EQ(engine.world.deliveries.size(), 2u);
  EXPECT_EQ(engine.world.deliveries.back().text, "two");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
}

TEST_F(SessionMovesTest, C1_AMessageKeepsItsModelWhateverComesBetween) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two", "model-a");
  LetAllBeFine();
  engine.Switch(s, "model-b", TurnPolicy::kInterrupt);
  engine.loop.Advance(absl::Seconds(1));
  ASSERT_EQ(engine.world.deliveries.size(), 2u);
  EXPECT_EQ(engine.world.deliveries.back().text, "two");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
}

TEST_F(SessionMovesTest, TooManyMovesThatWaitAreRefused) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  std::vector<Pending<MoveResult>> moves;
  for (int i = 0; i < 100; ++i) moves.push_back(engine.Clear(s));
  EXPECT_EQ(ReasonOf(moves.back().status()), Reason::kQueueFull);
  EXPECT_FALSE(moves.front().done());
}

TEST_F(SessionMovesTest, AMessageTakenBackLeavesAFreshConversationFresh) {
  const std::string s = engine.Create();
  engine.Switch(s, "model-b");
  engine.committing.Hold();
  engine.Send(s, "one");
  engine.Interrupt(s);
  engine.committing.Release();
  engine.Run();
  EXPECT_FALSE(engine.Info(s).record.conversation_spoken());
  EXPECT_FALSE(engine.Clear(s)->changed);
}

}  // namespace
}  // namespace understudy::session
