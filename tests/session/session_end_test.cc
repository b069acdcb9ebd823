// How agents and sessions end and come back: slots, deletions, drains, servers
// that stop and start, profiles that come and go.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "session/session_table.h"
#include "tests/session/session_fixture.h"
#include "tests/support/history_checker.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using SessionEndTest = SessionFixture;

// ---- Slots ----

class OneSlotTest : public ::testing::Test {
 protected:
  static SessionManager::Options OneSlot() {
    SessionManager::Options options;
    options.max_slots = 1;
    return options;
  }
  Engine engine{OneSlot()};
};

TEST_F(OneSlotTest, D7_AnIdleSessionGivesWayAndComesBack) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  EXPECT_TRUE(engine.SendAndWait(a, "one").status().ok());
  EXPECT_TRUE(engine.SendAndWait(b, "two").status().ok());
  EXPECT_TRUE(engine.SendAndWait(a, "three").status().ok());
  EXPECT_EQ(engine.world.most_live, 1);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  EXPECT_THAT(engine.world.violations, IsEmpty());
}

TEST_F(OneSlotTest, ABusySlotIsNotTakenAway) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd ? Fate(FakeFate::Kind::kSilent) : FakeFate{};
  };
  engine.Send(a, "one");
  const Pending<SendResult> waiting = engine.SendAndWait(b, "two");
  engine.loop.Advance(Engine::FakeProfile().start_timeout);
  EXPECT_EQ(ReasonOf(waiting.status()), Reason::kNoSlot);
  EXPECT_TRUE(RetryAfterOf(waiting.status()).has_value());
}

TEST_F(OneSlotTest, ARestartWithoutRoomEndsTheOldAgentFirst) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(engine.world.most_live, 1);
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST(DrainTest, RunningTurnsEndAndEveryAgentGoes) {
  Engine engine;
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.Send(a, "one");
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd ? Fate(FakeFate::Kind::kSilent) : FakeFate{};
  };
  const Pending<SendResult> waiting = engine.SendAndWait(b, "two");
  bool drained = false;
  engine.manager->Drain(absl::Seconds(5), [&drained] { drained = true; });
  engine.Run();
  EXPECT_EQ(ReasonOf(engine.Send(a, "late").status()), Reason::kDraining);
  engine.loop.Advance(absl::Seconds(30));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(waiting.status().ok()) << waiting.status();
  EXPECT_THAT(engine.world.live(), IsEmpty());
  EXPECT_TRUE(engine.Last(a, "agent_exited").agent_exited().expected());
}

// ---- Profiles ----

class TwoProfilesTest : public ::testing::Test {
 protected:
  static SessionManager::Options TwoProfiles() {
    SessionManager::Options options;
    options.profiles = {Engine::FakeProfile(), Engine::FakeProfile()};
    options.profiles.back().name = "other";
    return options;
  }
  static CreateParams Other() {
    CreateParams params;
    params.agent = "other";
    params.working_directory = "/tmp";
    return params;
  }
  Engine engine{TwoProfiles()};
};

TEST_F(TwoProfilesTest, C5_TheAgentOfASessionCannotBeChanged) {
  const std::string s = engine.Create();
  CreateParams params = Other();
  params.session_id = s;
  Pending<SessionInfo> created;
  engine.manager->CreateSession({}, params, created.reply());
  engine.Run();
  EXPECT_EQ(ReasonOf(created.status()), Reason::kSessionExists);
  EXPECT_THAT(std::string(created.status().message()),
              AllOf(HasSubstr(s), HasSubstr("the agent fake")));
  EXPECT_EQ(engine.Info(s).record.agent(), "fake");
}

TEST_F(TwoProfilesTest, A9_TheyDoNotShareAConversation) {
  const std::string a = engine.Create();
  const std::string b = engine.Create(Other());
  engine.Send(a, "one");
  const Pending<MoveResult> moved =
      engine.Resume(b, engine.Info(a).record.agent_session_id());
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kConversationInUse);
}

TEST_F(TwoProfilesTest, ASessionOfAFullProfileGetsItsSlotFromItsOwn) {
  engine.options.profiles.front().max_slots = 1;
  engine.Restart();
  const std::string other = engine.Create(Other());
  engine.SendAndWait(other, "rests longest");
  engine.loop.Advance(absl::Seconds(1));
  const std::string a = engine.Create();
  engine.SendAndWait(a, "one");
  const std::string b = engine.Create();
  EXPECT_TRUE(engine.SendAndWait(b, "two").status().ok());
  EXPECT_EQ(engine.Info(other).state, SessionState::kIdle);
  EXPECT_EQ(engine.Info(a).state, SessionState::kDormant);
}

TEST_F(TwoProfilesTest, WithoutItsProfileASessionCanBeReadAndDeleted) {
  const std::string s = engine.Create(Other());
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kEnd ? Fate(FakeFate::Kind::kSilent) : FakeFate{};
  };
  engine.Send(s, "one");
  engine.options.profiles.pop_back();
  engine.Restart();
  // Its turn, which the server before left open, is completed all the same.
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_INDETERMINATE);
  EXPECT_EQ(engine.Info(s).record.agent(), "other");
  EXPECT_EQ(ReasonOf(engine.Send(s, "two").status()), Reason::kAgentNotFound);
  EXPECT_EQ(ReasonOf(engine.Switch(s, "model-b").status()),
            Reason::kAgentNotFound);
  Pending<std::shared_ptr<EventLog>> log;
  engine.manager->OpenLog({}, s, log.reply());
  engine.Run();
  EXPECT_TRUE(log.status().ok());
  EXPECT_TRUE(engine.Delete(s).status().ok());
}

// ---- Deletions ----

TEST_F(SessionEndTest, DeletionsOfOneSessionAreAllAnswered) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.committing.Hold();
  const Pending<bool> first = engine.Delete(s);
  const Pending<bool> second = engine.Delete(s);
  EXPECT_FALSE(first.done());
  EXPECT_FALSE(second.done());
  engine.committing.Release();
  engine.Run();
  EXPECT_TRUE(first.status().ok()) << first.status();
  EXPECT_TRUE(second.status().ok()) << second.status();
  EXPECT_EQ(ReasonOf(engine.Delete(s).status()), Reason::kSessionNotFound);
}

TEST_F(SessionEndTest, WhatComesDuringADeletionIsAnswered) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.committing.Hold();
  const Pending<bool> deleted = engine.Delete(s);
  ASSERT_FALSE(deleted.done());
  for (const absl::Status& status :
       {engine.Switch(s, "model-b").status(), engine.Clear(s).status(),
        engine.SendAndWait(s, "two").status(), engine.Send(s, "three").status(),
        engine.Interrupt(s).status()}) {
    EXPECT_EQ(ReasonOf(status), Reason::kSessionNotFound) << status;
  }
}

TEST_F(SessionEndTest, AMoveUnderWayIsAnsweredWhenItsSessionIsDeleted) {
  const std::string s = engine.Create();
  Let(FakeStep::kStart, FakeFate::Kind::kSilent);
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_FALSE(moved.done());
  engine.Delete(s);
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kSessionNotFound);
}

TEST_F(SessionEndTest, ReadersHearOfADeletionWhenItIsStored) {
  const std::string s = engine.Create();
  Pending<std::shared_ptr<EventLog>> log;
  engine.manager->OpenLog({}, s, log.reply());
  engine.Run();
  EventLog::Batch batch;
  int wakes = 0;
  const std::unique_ptr<EventLog::Cursor> reader =
      *(*log)->Subscribe({.after = 1}, [&wakes] { ++wakes; });
  EXPECT_EQ(reader->Next(1 << 20, batch), EventLog::Cursor::Result::kEmpty);
  engine.committing.Hold();
  const Pending<bool> deleted = engine.Delete(s);
  EXPECT_EQ(wakes, 0);
  engine.committing.Release();
  engine.Run();
  EXPECT_TRUE(deleted.status().ok());
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(reader->Next(1 << 20, batch), EventLog::Cursor::Result::kClosed);
  EXPECT_EQ(ReasonOf(reader->end()), Reason::kSessionNotFound);
}

// ---- Creations ----

TEST_F(SessionEndTest, AMessageThatOvertakesACreationFindsThatSession) {
  const std::string id = "33333333-3333-4333-8333-333333333333";
  engine.committing.Hold();
  CreateParams params;
  params.session_id = id;
  params.agent = "fake";
  params.working_directory = "/tmp";
  Pending<SessionInfo> created;
  engine.manager->CreateSession({}, params, created.reply());
  engine.Run();
  const Pending<SendResult> sent = engine.SendAndWait(id, "one");
  EXPECT_FALSE(sent.done());
  engine.committing.Release();
  engine.loop.Advance(absl::Seconds(10));
  EXPECT_TRUE(created.status().ok());
  EXPECT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(engine.Info(id).epoch, 1u);
}

TEST_F(SessionEndTest, OfTwoCreationsUnderOneIdOneIsRefused) {
  const std::string id = "33333333-3333-4333-8333-333333333333";
  engine.committing.Hold();
  CreateParams params;
  params.session_id = id;
  params.agent = "fake";
  params.working_directory = "/tmp";
  Pending<SessionInfo> first;
  Pending<SessionInfo> second;
  engine.manager->CreateSession({}, params, first.reply());
  engine.manager->CreateSession({}, params, second.reply());
  engine.Run();
  engine.committing.Release();
  engine.Run();
  EXPECT_TRUE(first.status().ok());
  EXPECT_EQ(ReasonOf(second.status()), Reason::kSessionExists);
}

TEST_F(SessionEndTest, WhatIsDeletedIsGoneWhenTheAnswerComes) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  absl::Status got;
  absl::Status created = absl::UnknownError("no answer");
  engine.manager->DeleteSession({}, s, [&](absl::StatusOr<bool> deleted) {
    ASSERT_TRUE(deleted.ok()) << deleted.status();
    engine.manager->GetSession(
        {}, s, /*prewarm=*/false,
        [&](absl::StatusOr<SessionInfo> info) { got = info.status(); });
    CreateParams params;
    params.session_id = s;
    params.agent = "fake";
    params.working_directory = "/tmp";
    engine.manager->CreateSession(
        {}, params,
        [&](absl::StatusOr<SessionInfo> info) { created = info.status(); });
  });
  engine.Run();
  EXPECT_EQ(ReasonOf(got), Reason::kSessionNotFound) << got;
  EXPECT_TRUE(created.ok()) << created;
}

// ---- Draining ----

TEST_F(SessionEndTest, ADrainWithdrawsPermissionsBeforeTheirTurnEnds) {
  const std::string s = engine.Create();
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    if (step == FakeStep::kMiddle) return Fate(FakeFate::Kind::kAsk);
    FakeFate fate;
    if (step == FakeStep::kInterrupt) fate.delay = absl::Minutes(1);
    return fate;
  };
  engine.Send(s, "one");
  bool drained = false;
  engine.manager->Drain(absl::Seconds(1), [&drained] { drained = true; });
  engine.loop.Advance(absl::Minutes(5));
  EXPECT_TRUE(drained);
  EXPECT_THAT(CheckHistory(engine.Events(s), /*settled=*/true), IsEmpty());
}

TEST_F(SessionEndTest, ADrainIsNotTheAnswerToTheSameRequestLater) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  Let(FakeStep::kStart, FakeFate::Kind::kSilent);
  const char kId[] = "11111111-1111-4111-8111-111111111111";
  const Pending<MoveResult> moved =
      engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, kId);
  bool drained = false;
  engine.manager->Drain(absl::Seconds(1), [&drained] { drained = true; });
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kDraining);
  LetAllBeFine();
  engine.Restart();
  const Pending<MoveResult> again =
      engine.Switch(s, "model-b", TurnPolicy::kAfterTurn, kId);
  EXPECT_TRUE(again.status().ok()) << again.status();
}

TEST_F(SessionEndTest, ADrainAnswersWhatWaitsAndStartsNothing) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> running = engine.SendAndWait(s, "one");
  const Pending<SendResult> queued = engine.SendAndWait(s, "two");
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const int started = engine.world.started;
  bool drained = false;
  engine.manager->Drain(absl::Seconds(5), [&drained] { drained = true; });
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(running.done());
  EXPECT_EQ(ReasonOf(queued.status()), Reason::kAgentLost);
  EXPECT_EQ(MetadataOf(queued.status())["delivered"], "NO");
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kDraining);
  EXPECT_EQ(engine.world.started, started);
  EXPECT_EQ(engine.world.deliveries.size(), 1u);
  EXPECT_THAT(engine.world.live(), IsEmpty());
}

// ---- Rest ----

TEST_F(SessionEndTest, ASessionThatIsNotUsedLeavesMemoryAndComesBack) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.loop.Advance(absl::Hours(1));
  EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
  EXPECT_EQ(engine.Info(s).epoch, 1u);
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
  EXPECT_EQ(engine.Info(s).epoch, 2u);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionEndTest, RequestsAreRememberedForADayAndForgottenInTheEnd) {
  const std::string id = "44444444-4444-4444-8444-444444444444";
  const std::string s = engine.Create();
  const std::string turn = engine.Send(s, "one", {}, id)->turn_id;
  engine.loop.Advance(absl::Hours(25));
  EXPECT_EQ(engine.Send(s, "one", {}, id)->turn_id, turn);
  engine.loop.Advance(absl::Hours(30));
  EXPECT_EQ(*engine.memory->FindRequest(s, id), std::nullopt);
}

}  // namespace
}  // namespace understudy::session
