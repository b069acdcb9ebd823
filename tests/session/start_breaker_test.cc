#include "session/start_breaker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;
using Outcome = ProfileBreaker::Outcome;

// Whatever the jitter is.
auto About(absl::Duration wait) {
  return AllOf(Ge(wait * (1 - SessionBreaker::kJitter)),
               Le(wait * (1 + SessionBreaker::kJitter)));
}

class StartBreakerTest : public ::testing::Test {
 protected:
  static constexpr absl::Duration kNone = absl::ZeroDuration();

  // As many starts that end so, one a second.
  void Start(int count, Outcome outcome) {
    for (int i = 0; i < count; ++i) {
      profile_.End(profile_.Begin(), outcome, now_);
      now_ += absl::Seconds(1);
    }
  }

  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
  SessionBreaker session_;
  ProfileBreaker profile_;
};

// ---- Of a session ----

TEST_F(StartBreakerTest, TheFirstRestartIsImmediateTheNextWaitTwiceAsLongEach) {
  session_.Died(now_);
  EXPECT_EQ(session_.Wait(now_), kNone);
  // Far enough apart not to open the circuit.
  for (const absl::Duration wait :
       {absl::Milliseconds(250), absl::Milliseconds(500), absl::Seconds(1),
        absl::Seconds(2), absl::Seconds(4), absl::Seconds(8), absl::Seconds(16),
        absl::Seconds(30), absl::Seconds(30)}) {
    now_ += absl::Seconds(70);
    session_.Died(now_);
    EXPECT_THAT(session_.Wait(now_), About(wait));
    EXPECT_EQ(session_.OpenFor(now_), kNone);
    EXPECT_GT(session_.Wait(now_ + wait * 0.7), kNone);
    EXPECT_EQ(session_.Wait(now_ + wait * 1.21), kNone);
  }
}

TEST_F(StartBreakerTest, DeathsAtDifferentMomentsWaitForDifferentTimes) {
  SessionBreaker other;
  for (int i = 0; i < 2; ++i) {
    session_.Died(now_);
    other.Died(now_ + absl::Nanoseconds(1));
  }
  EXPECT_NE(session_.Wait(now_), other.Wait(now_ + absl::Nanoseconds(1)));
}

TEST_F(StartBreakerTest, FiveDeathsInAMinuteOpenTheCircuit) {
  for (size_t i = 1; i < SessionBreaker::kDeaths; ++i) {
    session_.Died(now_);
    EXPECT_EQ(session_.OpenFor(now_), kNone) << i;
    now_ += absl::Seconds(14);
  }
  session_.Died(now_);
  EXPECT_EQ(session_.OpenFor(now_), SessionBreaker::kOpenFor);
  EXPECT_EQ(session_.Wait(now_), SessionBreaker::kOpenFor);
  now_ += SessionBreaker::kOpenFor - absl::Milliseconds(1);
  EXPECT_GT(session_.OpenFor(now_), kNone);
  now_ += absl::Milliseconds(1);
  EXPECT_EQ(session_.Wait(now_), kNone) << "one attempt is let through";
}

TEST_F(StartBreakerTest, FiveDeathsInMoreThanAMinuteDoNot) {
  for (int i = 0; i < 20; ++i) {
    session_.Died(now_);
    EXPECT_EQ(session_.OpenFor(now_), kNone);
    now_ += absl::Seconds(16);
  }
}

TEST_F(StartBreakerTest, AnAttemptThatFailsOpensItAgainOneThatServesClosesIt) {
  for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) session_.Died(now_);
  for (int i = 0; i < 3; ++i) {
    now_ += SessionBreaker::kOpenFor;
    ASSERT_EQ(session_.Wait(now_), kNone);
    session_.Died(now_);
    EXPECT_EQ(session_.OpenFor(now_), SessionBreaker::kOpenFor);
  }
  session_.Served();
  EXPECT_EQ(session_.Wait(now_), kNone);
  session_.Died(now_);
  EXPECT_EQ(session_.Wait(now_), kNone) << "the first of a new row";
}

TEST_F(StartBreakerTest, WhatIsLongAgoIsForgotten) {
  EXPECT_TRUE(session_.idle(now_));
  for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) session_.Died(now_);
  now_ += SessionBreaker::kForgottenAfter;
  EXPECT_FALSE(session_.idle(now_));
  now_ += absl::Milliseconds(1);
  EXPECT_TRUE(session_.idle(now_));
  session_.Died(now_);
  EXPECT_EQ(session_.Wait(now_), kNone);
}

TEST_F(StartBreakerTest, AClockThatIsSetBackHoldsNobodyUp) {
  for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) session_.Died(now_);
  Start(ProfileBreaker::kStarts, Outcome::kFailed);
  now_ -= absl::Hours(1);
  EXPECT_EQ(session_.Wait(now_), kNone);
  EXPECT_EQ(profile_.Wait(now_), kNone);
}

// ---- Of a profile ----

TEST_F(StartBreakerTest, HalfOfTenStartsThatFailOpenAProfilesCircuit) {
  Start(5, Outcome::kStarted);
  Start(4, Outcome::kFailed);
  EXPECT_EQ(profile_.Wait(now_), kNone) << "four of nine";
  profile_.End(profile_.Begin(), Outcome::kFailed, now_);
  EXPECT_EQ(profile_.Wait(now_), ProfileBreaker::kOpenFor);
}

TEST_F(StartBreakerTest, FewerOrLessThanHalfOrLongAgoDoNot) {
  Start(9, Outcome::kFailed);
  EXPECT_EQ(profile_.Wait(now_), kNone);
  now_ += ProfileBreaker::kWithin;
  Start(9, Outcome::kStarted);
  Start(8, Outcome::kFailed);
  EXPECT_EQ(profile_.Wait(now_), kNone);
  Start(100, Outcome::kUntold);
  EXPECT_EQ(profile_.Wait(now_), kNone);
}

TEST_F(StartBreakerTest, OneAttemptAtATimeDecidesWhetherItCloses) {
  Start(10, Outcome::kFailed);
  now_ += ProfileBreaker::kOpenFor;
  ASSERT_EQ(profile_.Wait(now_), kNone);
  ProfileBreaker::Attempt probe = profile_.Begin();
  EXPECT_EQ(profile_.Wait(now_), ProfileBreaker::kAskAgain);
  profile_.End(probe, Outcome::kUntold, now_);
  EXPECT_EQ(profile_.Wait(now_), kNone) << "given up: the next one may try";
  profile_.End(profile_.Begin(), Outcome::kFailed, now_);
  EXPECT_EQ(profile_.Wait(now_), ProfileBreaker::kOpenFor);
  now_ += ProfileBreaker::kOpenFor;
  profile_.End(profile_.Begin(), Outcome::kStarted, now_);
  EXPECT_EQ(profile_.Wait(now_), kNone);
  Start(9, Outcome::kFailed);
  EXPECT_EQ(profile_.Wait(now_), kNone) << "all is as at first";
}

TEST_F(StartBreakerTest, AStartFromBeforeItOpenedDecidesNothing) {
  const ProfileBreaker::Attempt early = profile_.Begin();
  const ProfileBreaker::Attempt late = profile_.Begin();
  Start(10, Outcome::kFailed);
  profile_.End(early, Outcome::kStarted, now_);
  EXPECT_GT(profile_.Wait(now_), kNone);
  now_ += ProfileBreaker::kOpenFor;
  profile_.End(profile_.Begin(), Outcome::kStarted, now_);
  profile_.End(late, Outcome::kFailed, now_);
  EXPECT_EQ(profile_.Wait(now_), kNone);
}

// ---- What counts ----

TEST_F(StartBreakerTest, WhatWasAskedOfAnAgentIsNoDeath) {
  for (const Reason reason :
       {Reason::kAgentLost, Reason::kAgentStartFailed,
        Reason::kAgentStartTimeout, Reason::kAgentUnresponsive,
        Reason::kAgentProtocol, Reason::kAgentLineTooLong,
        Reason::kAgentStalled, Reason::kAgentOutOfMemory}) {
    EXPECT_TRUE(CountsAsDeath(MakeError(reason, "x"))) << ReasonName(reason);
  }
  for (const Reason reason :
       {Reason::kModelRejected, Reason::kConversationNotFound, Reason::kNoSlot,
        Reason::kCapabilityMissing, Reason::kCircuitOpen, Reason::kDraining,
        Reason::kFieldInvalid}) {
    EXPECT_FALSE(CountsAsDeath(MakeError(reason, "x"))) << ReasonName(reason);
  }
  EXPECT_FALSE(CountsAsDeath(MakeError(Reason::kAgentStartFailed, "no folder",
                                       {{"working_directory", "/gone"}})));
  EXPECT_FALSE(CountsAsDeath(absl::OkStatus()));
}

}  // namespace
}  // namespace understudy::session
