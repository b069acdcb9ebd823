// Labels and the permission mode: what a client changes at once, and without an
// agent being started for it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"
#include "tests/support/history_checker.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kRequest[] = "0190aaaa-0000-4000-8000-000000000001";

std::map<std::string, std::string> LabelsOf(const SessionInfo& info) {
  return {info.record.labels().begin(), info.record.labels().end()};
}

// ---- Labels ----

using LabelsTest = SessionFixture;

TEST_F(LabelsTest, B15_LabelsOfADormantSessionChangeAndNothingElse) {
  CreateParams params;
  params.model = "model-b";
  params.labels = {{"team", "a"}, {"task", "1"}};
  const std::string s = engine.Create(params);
  engine.SetMode(s, "plan");
  engine.Send(s, "hello");
  engine.Restart();
  SessionRecord before = engine.Info(s).record;
  const int started = engine.world.started;

  const Pending<SessionInfo> updated = engine.Update(
      {.session_id = s, .labels = {{"team", "b"}, {"task", std::nullopt}}});
  ASSERT_TRUE(updated.status().ok()) << updated.status();
  EXPECT_THAT(LabelsOf(*updated), ElementsAre(std::pair("team", "b")));
  EXPECT_EQ(engine.world.started, started);

  engine.Restart();
  SessionRecord after = engine.Info(s).record;
  EXPECT_EQ(after.labels().at("team"), "b");
  before.clear_labels();
  after.clear_labels();
  before.clear_update_time();
  after.clear_update_time();
  EXPECT_EQ(before.SerializeAsString(), after.SerializeAsString());
  EXPECT_EQ(after.model_override(), "model-b");
  EXPECT_EQ(after.permission_mode(), "plan");
}

TEST_F(LabelsTest, AreReplacedAsAWholeWhereThatIsAskedFor) {
  const std::string s = engine.Create({.labels = {{"a", "1"}, {"b", "2"}}});
  EXPECT_THAT(LabelsOf(*engine.Update(
                  {.session_id = s, .replace = true, .labels = {{"c", "3"}}})),
              ElementsAre(std::pair("c", "3")));
  EXPECT_THAT(LabelsOf(*engine.Update({.session_id = s, .replace = true})),
              IsEmpty());
}

TEST_F(LabelsTest, ARepeatGetsTheFirstAnswerAcrossRestarts) {
  const std::string s = engine.Create();
  const UpdateParams first{.session_id = s, .labels = {{"team", "a"}}};
  EXPECT_TRUE(engine.Update(first, kRequest).status().ok());
  engine.Update({.session_id = s, .labels = {{"team", "b"}}});
  for (const bool restart : {false, true}) {
    if (restart) engine.Restart();
    EXPECT_THAT(LabelsOf(*engine.Update(first, kRequest)),
                ElementsAre(std::pair("team", "a")));
    EXPECT_EQ(engine.Info(s).record.labels().at("team"), "b");
  }
  EXPECT_EQ(
      ReasonOf(
          engine.Update({.session_id = s, .labels = {{"team", "c"}}}, kRequest)
              .status()),
      Reason::kRequestIdReused);
}

TEST_F(LabelsTest, TooManyAreRefused) {
  const std::string s = engine.Create();
  UpdateParams params{.session_id = s};
  for (size_t i = 0; i < kMaxLabels; ++i) {
    params.labels[absl::StrCat("label", i)] = "x";
  }
  EXPECT_TRUE(engine.Update(params).status().ok());
  const absl::Status status =
      engine.Update({.session_id = s, .labels = {{"one-more", "x"}}}).status();
  EXPECT_THAT(FieldViolationsOf(status),
              ElementsAre(Field(&FieldViolation::field, "session.labels")));
  EXPECT_THAT(engine.Info(s).record.labels(), SizeIs(kMaxLabels));
}

TEST_F(LabelsTest, ChangeDuringATurnAndOfADyingServerNot) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "hello");
  EXPECT_TRUE(
      engine.Update({.session_id = s, .labels = {{"a", "1"}}}).status().ok());
  EXPECT_EQ(engine.Info(s).state, SessionState::kRunning);
  EXPECT_EQ(ReasonOf(engine
                         .Update({.session_id = kNoSuchConversation,
                                  .labels = {{"a", "1"}}})
                         .status()),
            Reason::kSessionNotFound);
}

// ---- The permission mode ----

class ModeTest : public SessionFixture {
 protected:
  size_t ModeNotices(const std::string& session) {
    size_t count = 0;
    for (const v1::Event& event : engine.Events(session)) {
      count += event.notice().kind() == v1::NOTICE_KIND_MODE;
    }
    return count;
  }
  FakeAgent& agent() { return *engine.world.live().front(); }
  std::string Mode(const std::string& session) {
    return engine.Info(session).record.permission_mode();
  }
};

TEST_F(ModeTest, OfADormantSessionIsForTheNextAgent) {
  const std::string s = engine.Create();
  const Pending<std::string> set = engine.SetMode(s, "plan");
  ASSERT_TRUE(set.status().ok()) << set.status();
  EXPECT_EQ(*set, "plan");
  EXPECT_EQ(engine.world.started, 0);
  EXPECT_EQ(Mode(s), "plan");
  EXPECT_EQ(ModeNotices(s), 1u);
  EXPECT_TRUE(engine.SetMode(s, "plan").status().ok());
  EXPECT_EQ(ModeNotices(s), 1u) << "nothing has changed";

  engine.Send(s, "hello");
  EXPECT_EQ(engine.world.openings.back().permission_mode, "plan");
  EXPECT_EQ(ModeNotices(s), 1u);
}

TEST_F(ModeTest, OfARunningTurnChangesAtOnceAndIsKeptAcrossReplacements) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  engine.Send(s, "one");
  engine.Send(s, "two");
  ASSERT_TRUE(engine.SetMode(s, "acceptEdits").status().ok());
  EXPECT_EQ(agent().mode(), "acceptEdits");
  EXPECT_EQ(engine.Info(s).state, SessionState::kRunning);
  EXPECT_EQ(engine.Info(s).queued_messages, 1);
  EXPECT_EQ(ModeNotices(s), 1u);

  LetAllBeFine();
  agent().Crash();
  engine.Run();
  engine.Send(s, "three");
  EXPECT_EQ(engine.world.openings.back().permission_mode, "acceptEdits");
  engine.Restart();
  engine.Send(s, "four");
  EXPECT_EQ(engine.world.openings.back().permission_mode, "acceptEdits");
  EXPECT_EQ(ModeNotices(s), 1u);
}

TEST_F(ModeTest, AnEmptyOneIsTheProfiles) {
  SessionManager::Options options;
  options.profiles = {Engine::FakeProfile()};
  options.profiles.front().permission_mode = "careful";
  engine.options.profiles = options.profiles;
  engine.Restart();
  const std::string s = engine.Create();
  EXPECT_EQ(Mode(s), "careful");
  EXPECT_EQ(*engine.SetMode(s, "plan"), "plan");
  EXPECT_EQ(*engine.SetMode(s, ""), "careful");
  EXPECT_EQ(Mode(s), "careful");
}

TEST_F(ModeTest, ThatTheAgentRefusesChangesNothing) {
  const std::string s = engine.Create();
  engine.Send(s, "hello");
  const pid_t pid = Pid(s);
  Let(FakeStep::kMode, FakeFate::Kind::kRefuse);
  const Pending<std::string> set = engine.SetMode(s, "nonsense", kRequest);
  EXPECT_EQ(ReasonOf(set.status()), Reason::kFieldInvalid);
  EXPECT_THAT(FieldViolationsOf(set.status()),
              ElementsAre(Field(&FieldViolation::field, "permission_mode")));
  EXPECT_EQ(Mode(s), "");
  EXPECT_EQ(ModeNotices(s), 0u);
  EXPECT_EQ(agent().pid(), pid);
  // Nothing was done: the same may be tried again.
  LetAllBeFine();
  EXPECT_TRUE(engine.SetMode(s, "nonsense", kRequest).status().ok());
}

TEST_F(ModeTest, ARepeatGetsTheFirstAnswerAcrossRestarts) {
  const std::string s = engine.Create();
  engine.Send(s, "hello");
  EXPECT_EQ(*engine.SetMode(s, "plan", kRequest), "plan");
  engine.SetMode(s, "other");
  EXPECT_EQ(*engine.SetMode(s, "plan", kRequest), "plan");
  engine.Restart();
  EXPECT_EQ(*engine.SetMode(s, "plan", kRequest), "plan");
  EXPECT_EQ(Mode(s), "other");
  EXPECT_EQ(ReasonOf(engine.SetMode(s, "else", kRequest).status()),
            Reason::kRequestIdReused);
}

// What the agent did is not known: it goes, and its successor is in the mode
// of the record.
TEST_F(ModeTest, AnAgentThatDoesNotSayIsEndedWithinTheBound) {
  for (const FakeFate::Kind kind :
       {FakeFate::Kind::kSilent, FakeFate::Kind::kUnsure,
        FakeFate::Kind::kCrash}) {
    for (const bool in_turn : {false, true}) {
      const std::string s = engine.Create();
      LetAllBeFine();
      engine.SetMode(s, "plan");
      engine.Send(s, "one");
      const pid_t pid = Pid(s);
      engine.world.decide = [&](FakeStep step, FakeAgent&) {
        if (step == FakeStep::kMode) return Fate(kind);
        return in_turn && step == FakeStep::kEnd ? Fate(FakeFate::Kind::kSilent)
                                                 : FakeFate{};
      };
      const Pending<SendResult> turn = engine.SendAndWait(s, "two");
      const Pending<std::string> set = engine.SetMode(s, "other");
      engine.loop.Advance(Engine::FakeProfile().switch_timeout);
      EXPECT_FALSE(set.status().ok());
      EXPECT_EQ(set.answers(), 1u);
      engine.loop.Advance(absl::Minutes(1));
      EXPECT_EQ(engine.world.live(pid), nullptr);
      EXPECT_TRUE(turn.done());
      EXPECT_EQ(ReasonOf(turn.status()).has_value(), in_turn);
      EXPECT_EQ(Mode(s), "plan");
      EXPECT_EQ(Count(s, "agent_exited"), 1u);
      LetAllBeFine();
      EXPECT_TRUE(engine.SendAndWait(s, "three").status().ok());
      EXPECT_EQ(engine.world.openings.back().permission_mode, "plan");
      engine.Delete(s);
    }
  }
}

TEST_F(ModeTest, ChangesWaitForAMoveAndMovesForThem) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.decide = [](FakeStep step, FakeAgent&) {
    return step == FakeStep::kModel || step == FakeStep::kMode
               ? FakeFate{.delay = absl::Seconds(1)}
               : FakeFate{};
  };
  const Pending<MoveResult> first = engine.Switch(s, "model-b");
  const Pending<std::string> plan = engine.SetMode(s, "plan");
  const Pending<std::string> other = engine.SetMode(s, "other");
  EXPECT_EQ(agent().mode(), "");
  engine.loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(first.done());
  EXPECT_FALSE(plan.done());
  // The fake complains if one meets the other.
  const Pending<MoveResult> second = engine.Switch(s, "model-c");
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.loop.Advance(absl::Seconds(5));
  EXPECT_TRUE(plan.status().ok()) << plan.status();
  EXPECT_TRUE(other.status().ok()) << other.status();
  EXPECT_TRUE(second.status().ok()) << second.status();
  EXPECT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(Mode(s), "other");
  EXPECT_EQ(agent().mode(), "other");
  EXPECT_EQ(ModeNotices(s), 2u);
}

TEST_F(ModeTest, TheAgentsOwnChangeIsKept) {
  const std::string s = engine.Create();
  engine.SetMode(s, "plan");
  engine.Send(s, "one");
  agent().ChangeMode("acceptEdits");
  engine.Run();
  EXPECT_EQ(Mode(s), "acceptEdits");
  EXPECT_EQ(ModeNotices(s), 2u);
  agent().Crash();
  engine.Run();
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.openings.back().permission_mode, "acceptEdits");
}

TEST_F(ModeTest, ADeletionEndsAChangeThatWaits) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  Let(FakeStep::kMode, FakeFate::Kind::kSilent);
  const Pending<std::string> first = engine.SetMode(s, "plan");
  const Pending<std::string> second = engine.SetMode(s, "other");
  EXPECT_TRUE(engine.Delete(s).status().ok());
  EXPECT_EQ(ReasonOf(first.status()), Reason::kSessionNotFound);
  EXPECT_EQ(ReasonOf(second.status()), Reason::kSessionNotFound);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(first.answers(), 1u);
}

TEST_F(ModeTest, WaitsForAStoreThatFails) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.store.FailWrites(1, MakeError(Reason::kStoreUnavailable, "down"));
  const Pending<std::string> set = engine.SetMode(s, "plan");
  EXPECT_FALSE(set.done());
  engine.loop.Advance(absl::Seconds(5));
  EXPECT_TRUE(set.status().ok()) << set.status();
  EXPECT_EQ(Mode(s), "plan");
  EXPECT_EQ(agent().mode(), "plan");
}

// Modes set at random among turns, moves, deaths and a store that fails: in the
// end every agent is in the mode of its session's record, and every call has
// its answer.
TEST(ModesAtRandomTest, AgentAndRecordAgree) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto up = [&random](unsigned n) { return random() % n; };
    Engine engine;
    bool trouble = true;
    engine.world.decide = [&](FakeStep step, FakeAgent&) {
      FakeFate fate{.delay = absl::Milliseconds(up(3) * 100)};
      constexpr FakeFate::Kind kFates[] = {
          FakeFate::Kind::kCrash, FakeFate::Kind::kSilent,
          FakeFate::Kind::kUnsure, FakeFate::Kind::kRefuse};
      const bool may_fail = step == FakeStep::kMode ||
                            step == FakeStep::kModel || step == FakeStep::kEnd;
      if (trouble && may_fail && up(4) == 0) fate.kind = kFates[up(4)];
      return fate;
    };
    const std::string s = engine.Create();
    std::vector<Pending<std::string>> modes;
    const char* const kModes[] = {"", "plan", "acceptEdits", "other"};
    for (int i = 0; i < 60; ++i) {
      switch (up(7)) {
        case 0:
        case 1:
          modes.push_back(engine.SetMode(s, kModes[up(4)]));
          break;
        case 2:
          engine.Send(s, "hello");
          break;
        case 3:
          engine.Switch(s, up(2) == 0 ? "model-a" : "model-b");
          break;
        case 4:
          if (!engine.world.live().empty() && up(2) == 0) {
            engine.world.live()[up(engine.world.live().size())]->Crash();
          } else if (up(3) == 0) {
            engine.store.FailWrites(
                2, MakeError(Reason::kStoreUnavailable, "down"));
          }
          break;
        default:
          engine.loop.Advance(absl::Milliseconds(up(2000)));
          break;
      }
      engine.Run();
    }
    trouble = false;
    engine.Interrupt(s);
    engine.loop.Advance(absl::Minutes(5));
    for (const Pending<std::string>& mode : modes) {
      EXPECT_EQ(mode.answers(), 1u);
    }
    engine.SendAndWait(s, "the last");
    engine.loop.Advance(absl::Minutes(1));
    const SessionInfo info = engine.Info(s);
    EXPECT_EQ(info.state, SessionState::kIdle);
    ASSERT_THAT(engine.world.live(), SizeIs(1));
    EXPECT_EQ(engine.world.live()[0]->mode(), info.record.permission_mode());
    EXPECT_THAT(engine.world.violations, IsEmpty());
    EXPECT_THAT(CheckHistory(engine.Events(s), /*settled=*/false), IsEmpty());
  }
}

// ---- B1, B3 ----

using ErrorsTest = SessionFixture;

TEST_F(ErrorsTest, B1_UnknownNotToBeStartedAndUnsupportedAreThreeErrors) {
  SessionManager::Options options;
  options.profiles = {Engine::FakeProfile(), Engine::FakeProfile()};
  options.profiles.back().name = "plain";
  options.profiles.back().permissions = false;
  engine.options.profiles = options.profiles;
  engine.Restart();
  const std::string s = engine.Create();
  const std::string plain = engine.Create({.agent = "plain"});

  const auto kind = [](const absl::Status& status) {
    return std::pair(status.code(), ReasonOf(status));
  };
  EXPECT_EQ(kind(engine.SetMode(kNoSuchConversation, "plan").status()),
            std::pair(absl::StatusCode::kNotFound,
                      std::optional(Reason::kSessionNotFound)));
  EXPECT_EQ(kind(engine.SetMode(plain, "plan").status()),
            std::pair(absl::StatusCode::kUnimplemented,
                      std::optional(Reason::kCapabilityMissing)));
  Let(FakeStep::kStart, FakeFate::Kind::kRefuse);
  EXPECT_EQ(kind(engine.Switch(s, "model-b").status()),
            std::pair(absl::StatusCode::kFailedPrecondition,
                      std::optional(Reason::kAgentStartFailed)));
}

TEST_F(ErrorsTest, B3_AnOverrideIsTheSessionsAloneAndIsStored) {
  SessionManager::Options options;
  options.profiles = {Engine::FakeProfile(), Engine::FakeProfile()};
  options.profiles.back().name = "other";
  options.profiles.back().default_model = "model-o";
  engine.options.profiles = options.profiles;
  engine.Restart();
  const std::string moved = engine.Create();
  const std::string same_agent = engine.Create();
  const std::string other_agent = engine.Create({.agent = "other"});
  ASSERT_TRUE(engine.Switch(moved, "model-b").status().ok());
  for (const bool restart : {false, true}) {
    if (restart) engine.Restart();
    EXPECT_EQ(engine.Info(moved).record.model_override(), "model-b");
    EXPECT_EQ(engine.Info(moved).record.agent(), "fake");
    for (const std::string& session : {same_agent, other_agent}) {
      EXPECT_EQ(engine.Info(session).record.model_override(), "");
    }
    engine.SendAndWait(moved, "hello");
    EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
    engine.SendAndWait(same_agent, "hello");
    EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
    engine.SendAndWait(other_agent, "hello");
    EXPECT_EQ(engine.world.deliveries.back().model, "model-o");
  }
}

}  // namespace
}  // namespace understudy::session
