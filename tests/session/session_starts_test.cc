// Sessions whose agents keep dying: they wait, they say so, and they come back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "session/start_breaker.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionStartsTest : public SessionFixture {
 protected:
  // Every agent dies with the message that it gets.
  void LetThemDie() { Let(FakeStep::kTurn, FakeFate::Kind::kCrash); }

  // Messages, one after the other, until the circuit is open.
  void OpenTheCircuit(const std::string& session) {
    LetThemDie();
    for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) {
      const Pending<SendResult> sent = engine.SendAndWait(session, "hello");
      engine.loop.Advance(absl::Seconds(2));
      ASSERT_EQ(ReasonOf(sent.status()), Reason::kAgentLost) << i;
    }
  }
};

TEST_F(SessionStartsTest, TheFirstRestartAfterADeathIsImmediate) {
  const std::string s = engine.Create();
  LetThemDie();
  engine.SendAndWait(s, "one");
  LetAllBeFine();
  // Time stands still.
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
}

TEST_F(SessionStartsTest, TheNextOnesWaitLongerAndLonger) {
  const std::string s = engine.Create();
  LetThemDie();
  engine.SendAndWait(s, "one");
  engine.SendAndWait(s, "two");
  absl::Duration wait = SessionBreaker::kFirstWait;
  for (int i = 0; i < 2; ++i, wait *= 2) {
    const int started = engine.world.started;
    const Pending<SendResult> sent = engine.SendAndWait(s, "hello");
    engine.loop.Advance(wait * (1 - SessionBreaker::kJitter) -
                        absl::Milliseconds(1));
    EXPECT_EQ(engine.world.started, started);
    EXPECT_EQ(engine.Info(s).queued_messages, 1);
    EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
    engine.loop.Advance(2 * wait * SessionBreaker::kJitter +
                        absl::Milliseconds(2));
    EXPECT_EQ(engine.world.started, started + 1);
    EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentLost);
  }
}

TEST_F(SessionStartsTest, AMessageThatWaitsForItsTimeCanBeInterrupted) {
  const std::string s = engine.Create();
  LetThemDie();
  engine.SendAndWait(s, "one");
  engine.SendAndWait(s, "two");
  const int started = engine.world.started;
  const Pending<SendResult> sent = engine.SendAndWait(s, "three");
  const Pending<InterruptResult> interrupted = engine.Interrupt(s);
  ASSERT_TRUE(interrupted.status().ok());
  EXPECT_TRUE(interrupted->interrupted);
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->delivered(), v1::DELIVERED_NO);
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_EQ(engine.world.started, started);
}

TEST_F(SessionStartsTest, ATurnThatEndsMakesTheNextRestartImmediateAgain) {
  const std::string s = engine.Create();
  LetThemDie();
  engine.SendAndWait(s, "one");
  engine.SendAndWait(s, "two");
  LetAllBeFine();
  const Pending<SendResult> sent = engine.SendAndWait(s, "three");
  engine.loop.Advance(absl::Seconds(1));
  ASSERT_TRUE(sent.status().ok());
  engine.world.live().front()->Crash();
  EXPECT_TRUE(engine.SendAndWait(s, "four").status().ok());
}

TEST_F(SessionStartsTest, FiveDeathsOpenTheCircuitAndCallsHearOfIt) {
  const std::string s = engine.Create();
  OpenTheCircuit(s);
  const int started = engine.world.started;
  const size_t events = engine.Kinds(s).size();
  const Pending<SendResult> sent = engine.Send(s, "refused");
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kCircuitOpen);
  EXPECT_EQ(sent.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(sent.status().message()),
              HasSubstr("killed by signal 9"));
  EXPECT_EQ(MetadataOf(sent.status())["last_reason"], "AGENT_LOST");
  const absl::Duration retry = RetryAfterOf(sent.status()).value();
  EXPECT_GT(retry, absl::Seconds(20));
  EXPECT_LE(retry, SessionBreaker::kOpenFor);
  EXPECT_EQ(ReasonOf(engine.Switch(s, "model-b").status()),
            Reason::kCircuitOpen);
  EXPECT_EQ(ReasonOf(engine.Resume(s, kNoSuchConversation).status()),
            Reason::kCircuitOpen);
  engine.loop.Advance(retry - absl::Milliseconds(1));
  EXPECT_EQ(ReasonOf(engine.Send(s, "refused").status()), Reason::kCircuitOpen);
  EXPECT_EQ(engine.world.started, started);
  EXPECT_EQ(engine.Kinds(s).size(), events) << "what is refused is no event";
}

TEST_F(SessionStartsTest, WhatNeedsNoAgentWorksWhileTheCircuitIsOpen) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  OpenTheCircuit(s);
  EXPECT_TRUE(engine.Switch(s, "model-a").status().ok());
  EXPECT_TRUE(engine.Clear(s).status().ok());
  EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
  EXPECT_TRUE(engine.Delete(s).status().ok());
}

TEST_F(SessionStartsTest, OneAttemptIsLetThroughAndClosesOrOpensIt) {
  const std::string s = engine.Create();
  OpenTheCircuit(s);
  engine.loop.Advance(SessionBreaker::kOpenFor);
  int started = engine.world.started;
  EXPECT_EQ(ReasonOf(engine.SendAndWait(s, "dies").status()),
            Reason::kAgentLost);
  EXPECT_EQ(engine.world.started, started + 1);
  EXPECT_EQ(ReasonOf(engine.Send(s, "refused").status()), Reason::kCircuitOpen);
  engine.loop.Advance(SessionBreaker::kOpenFor);
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "lives").status().ok());
  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_TRUE(engine.SendAndWait(s, "as if nothing had been").status().ok());
}

TEST_F(SessionStartsTest, WhatWaitsWhenTheCircuitOpensIsTold) {
  const std::string s = engine.Create();
  LetThemDie();
  std::vector<Pending<SendResult>> sent;
  for (int i = 0; i < 9; ++i) sent.push_back(engine.SendAndWait(s, "hello"));
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.loop.Advance(absl::Seconds(10));
  const auto started = static_cast<int>(SessionBreaker::kDeaths);
  EXPECT_EQ(engine.world.started, started);
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(ReasonOf(sent[i].status()),
              i < started ? Reason::kAgentLost : Reason::kCircuitOpen);
    if (i < started) continue;
    EXPECT_EQ(MetadataOf(sent[i].status())["delivered"], "NO");
    EXPECT_TRUE(RetryAfterOf(sent[i].status()).has_value());
  }
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kCircuitOpen);
  const v1::TurnCompleted completed =
      engine.Last(s, "turn_completed").turn_completed();
  EXPECT_EQ(completed.outcome(), v1::TURN_OUTCOME_FAILED);
  EXPECT_EQ(completed.delivered(), v1::DELIVERED_NO);
  EXPECT_EQ(completed.error().reason(), "CIRCUIT_OPEN");
  EXPECT_EQ(engine.Last(s, "transition_failed").transition_failed().reason(),
            "CIRCUIT_OPEN");
  EXPECT_EQ(Count(s, "turn_completed"), 9u);
  EXPECT_EQ(engine.Info(s).queued_messages, 0);
}

TEST_F(SessionStartsTest, ManyThatWaitAreToldOneByOne) {
  engine.options.max_queued_messages = 1000;
  engine.Restart();
  const std::string s = engine.Create();
  Let(FakeStep::kTurn, FakeFate::Kind::kSilent);
  std::vector<Pending<SendResult>> sent;
  for (int i = 0; i < 500; ++i) sent.push_back(engine.Send(s, "hello"));
  LetThemDie();
  engine.world.live().front()->Crash();
  engine.loop.Advance(absl::Seconds(10));
  EXPECT_EQ(Count(s, "turn_completed"), 500u);
  EXPECT_EQ(engine.Info(s).queued_messages, 0);
}

TEST_F(SessionStartsTest, StartsThatFailCountLikeDeaths) {
  const std::string s = engine.Create();
  Let(FakeStep::kStart, FakeFate::Kind::kRefuse);
  for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) {
    const Pending<SendResult> sent = engine.SendAndWait(s, "hello");
    engine.loop.Advance(absl::Seconds(2));
    EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentStartFailed);
  }
  EXPECT_EQ(ReasonOf(engine.SendAndWait(s, "hello").status()),
            Reason::kCircuitOpen);
}

TEST_F(SessionStartsTest, RefusalsAndEndsThatWeCausedDoNotCount) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  for (int i = 0; i < 10; ++i) {
    // An agent that is replaced, one that finds no such conversation.
    EXPECT_TRUE(
        engine.Switch(s, i % 2 == 0 ? "model-b" : "model-a").status().ok());
    EXPECT_EQ(ReasonOf(engine.Resume(s, kNoSuchConversation).status()),
              Reason::kConversationNotFound);
  }
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
}

TEST_F(SessionStartsTest, AnOpenCircuitIsNotForgottenWithTheSession) {
  const std::string s = engine.Create();
  OpenTheCircuit(s);
  engine.loop.Advance(absl::Seconds(15));  // sessions that rest leave memory
  EXPECT_EQ(ReasonOf(engine.Send(s, "refused").status()), Reason::kCircuitOpen);
  EXPECT_EQ(engine.Info(s).epoch, 1u);
  engine.loop.Advance(absl::Minutes(5));
  LetAllBeFine();
  EXPECT_TRUE(engine.SendAndWait(s, "hello").status().ok());
  EXPECT_EQ(engine.Info(s).epoch, 2u);
}

TEST_F(SessionStartsTest, AnOpenCircuitDoesNotHoldUpADrain) {
  const std::string s = engine.Create();
  LetThemDie();
  engine.SendAndWait(s, "one");
  engine.SendAndWait(s, "two");
  const Pending<SendResult> waits = engine.SendAndWait(s, "three");
  bool drained = false;
  engine.manager->Drain(absl::Seconds(5), [&drained] { drained = true; });
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(drained);
  EXPECT_EQ(ReasonOf(waits.status()), Reason::kAgentLost);
}

TEST_F(SessionStartsTest, AProfileWhoseAgentsDoNotStartIsToldToAll) {
  Let(FakeStep::kStart, FakeFate::Kind::kRefuse);
  std::vector<std::string> sessions;
  for (size_t i = 0; i < ProfileBreaker::kStarts; ++i) {
    sessions.push_back(engine.Create());
    EXPECT_EQ(ReasonOf(engine.SendAndWait(sessions[i], "hello").status()),
              Reason::kAgentStartFailed);
  }
  const int started = engine.world.started;
  const std::string other = engine.Create();
  const Pending<SendResult> refused = engine.SendAndWait(other, "hello");
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kCircuitOpen);
  EXPECT_TRUE(RetryAfterOf(refused.status()).has_value());
  EXPECT_EQ(engine.world.started, started);
  LetAllBeFine();
  engine.loop.Advance(ProfileBreaker::kOpenFor);
  EXPECT_TRUE(engine.SendAndWait(other, "hello").status().ok());
  EXPECT_TRUE(engine.SendAndWait(sessions[0], "hello").status().ok());
}

// ---- Memory ----

TEST_F(SessionStartsTest, AnAgentOverItsMemoryFailsItsTurnAndTheNextOneServes) {
  const std::string s = engine.Create();
  Let(FakeStep::kEnd, FakeFate::Kind::kSilent);
  const Pending<SendResult> sent = engine.SendAndWait(s, "one");
  LetAllBeFine();
  engine.world.live().front()->RunOutOfMemory();
  engine.Run();
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kAgentOutOfMemory);
  EXPECT_EQ(sent.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(MetadataOf(sent.status())["delivered"], "YES");
  EXPECT_EQ(engine.Last(s, "agent_exited").agent_exited().cause(),
            v1::EXIT_CAUSE_OUT_OF_MEMORY);
  const v1::TurnCompleted completed =
      engine.Last(s, "turn_completed").turn_completed();
  EXPECT_EQ(completed.outcome(), v1::TURN_OUTCOME_AGENT_LOST);
  EXPECT_EQ(completed.error().reason(), "AGENT_OUT_OF_MEMORY");
  EXPECT_TRUE(engine.SendAndWait(s, "two").status().ok());
}

}  // namespace
}  // namespace understudy::session
