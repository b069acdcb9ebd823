// Several sessions in one process: their turns run beside each other, and what
// befalls one does not touch the others, unless the process dies. With real
// processes of the rehearsal agent, which speaks ACP.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "proto/error.h"
#include "tests/support/processes.h"
#include "tests/support/real_engine.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kStandsStill[] = "!fault delay@mid-turn=600000\nslowly";

// By which it is known that the agent holds on to what it has opened.
constexpr char kOneWriter[] = "--acp-name=@agentclientprotocol/codex-acp";

class SharingTest : public ::testing::Test {
 protected:
  SharingTest() {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    profile_.name = "rehearsal";
    profile_.kind = "acp";
    profile_.command = UNDERSTUDY_REHEARSAL_PROGRAM;
    profile_.args = {"--protocol=acp"};
    profile_.env = {{"HOME", home_.path()},
                    {"CLAUDE_CONFIG_DIR", home_.path()},
                    {"TMPDIR", home_.path()},
                    {"PATH", "/usr/bin:/bin"}};
    profile_.stop_grace = absl::Milliseconds(200);
    profile_.sessions_per_process = 4;
  }
  ~SharingTest() override {
    engine_ = nullptr;
    EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  void Start() {
    engine_ = std::make_unique<RealEngine>(std::vector<Profile>{profile_},
                                           UNDERSTUDY_GUARD);
  }
  // A session that has been told to remember `number`.
  std::string Create(const std::string& number) {
    const std::string session = engine_->Create();
    EXPECT_TRUE(
        engine_->SendAndWait(session, "remember " + number).status().ok());
    return session;
  }
  // The process that serves it, or served it last.
  int64_t Pid(const std::string& session) {
    const std::vector<v1::Event> started =
        engine_->Events(session, "agent_started");
    return started.empty() ? 0 : started.back().agent_started().pid();
  }
  void Remembers(const std::string& session, const std::string& number) {
    const Pending<SendResult> sent =
        engine_->SendAndWait(session, "what is the number");
    ASSERT_TRUE(sent.status().ok()) << sent.status();
    EXPECT_THAT(sent->completed->text(), HasSubstr(number));
  }
  std::string Conversation(const std::string& session) {
    return engine_->Info(session).record.agent_session_id();
  }
  void Clear(const std::string& session) {
    const Pending<MoveResult> moved = engine_->Move(
        {.kind = MoveParams::Kind::kClear, .session_id = session});
    EXPECT_TRUE(moved.status().ok()) << moved.status();
  }
  void Resume(const std::string& session, const std::string& conversation) {
    MoveParams move{.kind = MoveParams::Kind::kResume, .session_id = session};
    move.conversation = conversation;
    const Pending<MoveResult> moved = engine_->Move(move);
    EXPECT_TRUE(moved.status().ok()) << moved.status();
  }
  void StandStill(const std::string& session) {
    const size_t before = engine_->Events(session, "turn_started").size();
    engine_->Send(session, kStandsStill);
    EXPECT_TRUE(engine_->RunUntilEvents(session, "turn_started", before + 1));
  }

  TempFolder home_;
  Profile profile_;
  std::unique_ptr<RealEngine> engine_;
};

TEST_F(SharingTest, SessionsOfOneDirectoryAreServedByOneProcess) {
  Start();
  const std::string a = Create("1111"), b = Create("2222"), c = Create("3333");
  EXPECT_EQ(Pid(a), Pid(b));
  EXPECT_EQ(Pid(a), Pid(c));
  Remembers(a, "1111");
  Remembers(b, "2222");
  Remembers(c, "3333");
}

TEST_F(SharingTest, AnotherDirectoryHasAnotherProcess) {
  Start();
  const TempFolder other;
  const std::string a = engine_->Create(), b = engine_->Create(other.path());
  engine_->SendAndWait(a, "one");
  engine_->SendAndWait(b, "two");
  EXPECT_NE(Pid(a), Pid(b));
}

TEST_F(SharingTest, AProcessServesNoMoreThanTheProfileAllows) {
  profile_.sessions_per_process = 2;
  Start();
  const std::string a = Create("1"), b = Create("2"), c = Create("3");
  EXPECT_EQ(Pid(a), Pid(b));
  EXPECT_NE(Pid(a), Pid(c));
}

TEST_F(SharingTest, AProcessTakesOneSlotHoweverManyItServes) {
  profile_.max_slots = 1;
  Start();
  const std::string a = Create("1"), b = Create("2");
  EXPECT_EQ(Pid(a), Pid(b));
}

TEST_F(SharingTest, TurnsRunBesideEachOther) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  StandStill(a);
  Remembers(b, "2222");
  EXPECT_EQ(engine_->Info(a).state, SessionState::kRunning);
  EXPECT_TRUE(engine_->Interrupt(a)->interrupted);
  Remembers(a, "1111");
  EXPECT_EQ(Pid(a), Pid(b));
}

TEST_F(SharingTest, MovesOfOneChangeNothingForTheOther) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  StandStill(b);
  const std::string old = engine_->Info(a).record.agent_session_id();
  MoveParams move{.kind = MoveParams::Kind::kSwitchModel, .session_id = a};
  move.model = "claude-sonnet-5-5";
  EXPECT_EQ(engine_->Move(move)->route, v1::ROUTE_NATIVE);
  EXPECT_EQ(
      engine_->Move({.kind = MoveParams::Kind::kClear, .session_id = a})->route,
      v1::ROUTE_NATIVE);
  engine_->SendAndWait(a, "another conversation");
  MoveParams resume{.kind = MoveParams::Kind::kResume, .session_id = a};
  resume.conversation = old;
  EXPECT_EQ(engine_->Move(resume)->route, v1::ROUTE_NATIVE);
  Remembers(a, "1111");
  EXPECT_EQ(engine_->Info(b).state, SessionState::kRunning);
  EXPECT_TRUE(engine_->Interrupt(b)->interrupted);
  EXPECT_NE(engine_->Info(b).record.model(), engine_->Info(a).record.model());
  Remembers(b, "2222");
}

TEST_F(SharingTest, ATurnThatCannotBeInterruptedLeavesItsNeighboursAlone) {
  profile_.interrupt_timeout = absl::Milliseconds(300);
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const int64_t shared = Pid(a);
  StandStill(b);
  // Nor is its conversation closed.
  engine_->Send(a, std::string("!fault refuse@interrupt:*\n"
                               "!fault delay@close=600000\n") +
                       kStandsStill);
  ASSERT_TRUE(engine_->RunUntilEvents(a, "turn_started", 2));
  EXPECT_TRUE(engine_->Interrupt(a).status().ok());
  EXPECT_EQ(engine_->Events(a, "turn_completed")
                .back()
                .turn_completed()
                .error()
                .reason(),
            "AGENT_UNRESPONSIVE");
  // It goes on in another process: this one may still be at it.
  Remembers(a, "1111");
  EXPECT_NE(Pid(a), shared);
  EXPECT_EQ(engine_->Info(b).state, SessionState::kRunning);
  EXPECT_TRUE(engine_->Interrupt(b)->interrupted);
  Remembers(b, "2222");
  EXPECT_EQ(Pid(b), shared);
  EXPECT_THAT(engine_->Events(b, "agent_exited"), IsEmpty());
}

TEST_F(SharingTest, AChangeThatIsNotAnsweredLeavesTheNeighboursAlone) {
  profile_.switch_timeout = absl::Milliseconds(300);
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const int64_t shared = Pid(b);
  engine_->SendAndWait(a, "!fault delay@set-model=600000\nfrom here on");
  MoveParams move{.kind = MoveParams::Kind::kSwitchModel, .session_id = a};
  move.model = "claude-sonnet-5-5";
  const Pending<MoveResult> moved = engine_->Move(move);
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
  Remembers(a, "1111");
  Remembers(b, "2222");
  EXPECT_EQ(Pid(b), shared);
  EXPECT_NE(Pid(a), shared);
}

TEST_F(SharingTest, WhoLeavesLeavesTheOthersTheProcess) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  StandStill(a);
  EXPECT_TRUE(engine_->Delete(a).status().ok());
  Remembers(b, "2222");
  EXPECT_THAT(engine_->Events(b, "agent_exited"), IsEmpty());
  // A place has become free.
  const std::string c = Create("3333");
  EXPECT_EQ(Pid(b), Pid(c));
}

TEST_F(SharingTest, TheProcessEndsWithTheLastWhoLeaves) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const auto pid = static_cast<pid_t>(Pid(a));
  EXPECT_TRUE(engine_->Delete(a).status().ok());
  EXPECT_TRUE(IsAlive(pid));
  EXPECT_TRUE(engine_->Delete(b).status().ok());
  EXPECT_FALSE(IsAlive(pid));
}

TEST_F(SharingTest, AProcessThatDiesTakesAllWithItAndAllGoOn) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  StandStill(b);
  const Pending<SendResult> lost =
      engine_->SendAndWait(a, "!fault crash@mid-turn\nnow");
  EXPECT_EQ(ReasonOf(lost.status()), Reason::kAgentLost);
  ASSERT_TRUE(engine_->RunUntilEvents(b, "agent_exited", 1));
  EXPECT_EQ(
      engine_->Events(b, "turn_completed").back().turn_completed().outcome(),
      v1::TURN_OUTCOME_AGENT_LOST);
  EXPECT_THAT(engine_->Events(a, "agent_exited"), SizeIs(1));
  Remembers(a, "1111");
  Remembers(b, "2222");
}

// ---- Conversations that go from one to the other ----

TEST_F(SharingTest, AConversationThatANeighbourHasLeftIsNotTouchedByIt) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const std::string old = Conversation(b);
  Clear(b);
  engine_->SendAndWait(b, "another conversation");
  Resume(a, old);
  Remembers(a, "2222");
  // It closes what it has had open.
  EXPECT_TRUE(engine_->Delete(b).status().ok());
  Remembers(a, "2222");
}

TEST_F(SharingTest, WhoGoesBackKnowsWhatTheOtherHasSaid) {
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const std::string old = Conversation(b);
  Clear(b);
  Resume(a, old);
  engine_->SendAndWait(a, "remember 5555");
  Clear(a);
  Resume(b, old);
  Remembers(b, "5555");
}

TEST_F(SharingTest, AProcessOfOnesOwnForgetsWhatAnotherTakesOver) {
  profile_.sessions_per_process = 1;
  Start();
  const std::string a = Create("1111"), b = Create("2222");
  const std::string old = Conversation(b);
  Clear(b);
  engine_->SendAndWait(b, "another conversation");
  Resume(a, old);
  engine_->SendAndWait(a, "remember 5555");
  Clear(a);
  Resume(b, old);
  Remembers(b, "5555");
  EXPECT_THAT(engine_->Events(b, "agent_exited"), IsEmpty());
}

TEST_F(SharingTest, AConversationOfAnotherDirectoryIsNotToBeHad) {
  Start();
  const TempFolder other;
  const std::string a = Create("1111"), b = engine_->Create(other.path());
  const std::string old = Conversation(a);
  Clear(a);
  engine_->SendAndWait(a, "another conversation");
  MoveParams move{.kind = MoveParams::Kind::kResume, .session_id = b};
  move.conversation = old;
  EXPECT_EQ(ReasonOf(engine_->Move(move).status()),
            Reason::kConversationNotFound);
  Resume(a, old);
  Remembers(a, "1111");
}

// ---- Agents that hold on to what they have opened ----

TEST_F(SharingTest, AMessageWaitsForAHolderThatIsStillEnding) {
  profile_.sessions_per_process = 1;
  profile_.args = {"--protocol=acp", "--acp-exclusive", kOneWriter,
                   "--fault=delay@exit=500"};
  profile_.stop_grace = absl::Seconds(10);
  profile_.idle_timeout = absl::Milliseconds(100);
  Start();
  const std::string a = Create("1111");
  // Each look lets the engine go on.
  while (engine_->Info(a).state != SessionState::kDormant) {
  }
  EXPECT_THAT(engine_->Events(a, "agent_exited"), IsEmpty());
  Remembers(a, "1111");
}

TEST_F(SharingTest, ThePlaceOfWhoMustComeBackIsKept) {
  profile_.sessions_per_process = 2;
  profile_.args.insert(profile_.args.end(), {"--acp-exclusive", kOneWriter});
  profile_.idle_timeout = absl::Milliseconds(100);
  Start();
  const std::string a = Create("1111");
  const std::string b = engine_->Create();
  StandStill(b);
  const int64_t holder = Pid(b);
  ASSERT_TRUE(engine_->RunUntilEvents(a, "agent_exited", 1));
  const std::string c = engine_->Create();
  engine_->SendAndWait(c, "hello");
  EXPECT_NE(Pid(c), holder);
  Remembers(a, "1111");
  EXPECT_EQ(Pid(a), holder);
  EXPECT_TRUE(engine_->Interrupt(b)->interrupted);
}

}  // namespace
}  // namespace understudy::session
