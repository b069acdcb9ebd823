#include "session/transition.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_agent.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using testing::IsEmpty;
using testing::SizeIs;
using Fate = FakeFate::Kind;

class TransitionTest : public testing::Test, public Transition::Host {
 protected:
  TransitionTest() {
    profile_.name = "p";
    world_.decide = [this](FakeStep step, FakeAgent&) {
      const auto it = fates_.find(step);
      return it == fates_.end() ? FakeFate{} : it->second;
    };
  }

  Slot* slot() override { return slot_.get(); }
  void EndAgent(Task gone) override {
    ++ended_;
    slot_->agent().Stop(absl::Seconds(1));
    ending_ = loop_.RunAfter(absl::Seconds(1),
                             [this, gone = std::move(gone)]() mutable {
                               slot_ = nullptr;
                               std::move(gone)();
                             });
  }

  // The agent that runs before the transition.
  void RunAgent() {
    const std::unique_ptr<SlotPool::Request> request =
        pool_->Start(kind_, profile_, {.model = "sonnet"}, nullptr,
                     [this](absl::StatusOr<std::unique_ptr<Slot>> slot) {
                       slot_ = *std::move(slot);
                     });
    loop_.RunUntilIdle();
    pid_ = slot_->agent().pid();
  }

  void Begin(std::vector<Route> routes, bool break_before_make = false,
             const std::string& model = "opus") {
    Transition::Request request;
    request.wanted.model = model;
    request.opening.model = model;
    request.opening.conversation = conversation_;
    request.plan.routes.assign(routes.begin(), routes.end());
    request.plan.break_before_make = break_before_make;
    transition_ = std::make_unique<Transition>(
        loop_, *this, *pool_, kind_, profile_, std::move(request),
        [this](Transition::Outcome outcome) {
          EXPECT_FALSE(outcome_.has_value()) << "finished twice";
          outcome_ = std::move(outcome);
          transition_ = nullptr;
        });
    EXPECT_FALSE(outcome_.has_value()) << "finished from the constructor";
  }

  void Fit(int max_slots) {
    pool_ = std::make_unique<SlotPool>(loop_, launcher_, max_slots,
                                       [](const Profile*) {});
  }

  const std::vector<Route> kNativeThenRestart = {Route::kNative,
                                                 Route::kRestart};

  FakeLoop loop_;
  FakeWorld world_{loop_};
  FakeLauncher launcher_{loop_};
  const AgentKind& kind_ = *FakeWorld::FindKind("fake");
  Profile profile_;
  std::unique_ptr<SlotPool> pool_ =
      std::make_unique<SlotPool>(loop_, launcher_, 2, [](const Profile*) {});
  std::map<FakeStep, FakeFate> fates_;
  std::string conversation_;  // of the new process
  std::unique_ptr<Slot> slot_;
  pid_t pid_ = 0;
  int ended_ = 0;
  std::unique_ptr<EventLoop::Handle> ending_;
  std::optional<Transition::Outcome> outcome_;
  std::unique_ptr<Transition> transition_;
};

// ---- Native ----

TEST_F(TransitionTest, TheRunningAgentMakesTheChangeIfItCan) {
  RunAgent();
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  EXPECT_EQ(outcome_->slot, nullptr);
  EXPECT_FALSE(outcome_->suspect);
  EXPECT_EQ(slot_->agent().pid(), pid_);
  EXPECT_EQ(slot_->agent().current().model, "opus");
  EXPECT_EQ(world_.started, 1);
}

TEST_F(TransitionTest, ANewProcessDoesWhatTheRunningAgentRefuses) {
  RunAgent();
  fates_[FakeStep::kModel] = {.kind = Fate::kRefuse};
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  EXPECT_FALSE(outcome_->suspect);
  ASSERT_NE(outcome_->slot, nullptr);
  EXPECT_NE(outcome_->slot->agent().pid(), pid_);
  EXPECT_EQ(outcome_->slot->agent().current().model, "opus");
  // Prepared beside the old one, which is as it was.
  EXPECT_EQ(ended_, 0);
  EXPECT_EQ(slot_->agent().current().model, "sonnet");
  EXPECT_THAT(world_.live(), SizeIs(2));
}

TEST_F(TransitionTest, AModelThatDoesNotExistIsNotTriedElsewhere) {
  RunAgent();
  world_.bad_models = {"opus"};
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, HasReason(Reason::kModelRejected));
  EXPECT_EQ(outcome_->slot, nullptr);
  EXPECT_FALSE(outcome_->suspect);
  EXPECT_EQ(world_.started, 1);
  EXPECT_EQ(slot_->agent().current().model, "sonnet");
}

TEST_F(TransitionTest, AnAgentThatMayHaveChangedIsReplaced) {
  RunAgent();
  for (const FakeFate fate :
       {FakeFate{.kind = Fate::kUnsure}, FakeFate{.kind = Fate::kSilent},
        FakeFate{.kind = Fate::kCrash}}) {
    outcome_.reset();
    fates_[FakeStep::kModel] = fate;
    Begin(kNativeThenRestart);
    loop_.Advance(profile_.switch_timeout);
    ASSERT_TRUE(outcome_.has_value());
    EXPECT_THAT(outcome_->status, IsOk());
    ASSERT_NE(outcome_->slot, nullptr);
    EXPECT_EQ(outcome_->slot->agent().current().model, "opus");
    slot_ = std::move(outcome_->slot);
  }
}

TEST_F(TransitionTest, AnAgentThatMayHaveChangedIsSuspectWithoutReplacement) {
  RunAgent();
  fates_[FakeStep::kModel] = {.kind = Fate::kUnsure};
  fates_[FakeStep::kStart] = {.kind = Fate::kRefuse};
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  // Why the last route failed.
  EXPECT_THAT(outcome_->status, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(outcome_->slot, nullptr);
  EXPECT_TRUE(outcome_->suspect);
}

TEST_F(TransitionTest, AnAgentThatRefusedServesOnIfThereIsNoReplacement) {
  RunAgent();
  fates_[FakeStep::kModel] = {.kind = Fate::kRefuse};
  fates_[FakeStep::kStart] = {.kind = Fate::kCrash};
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, HasReason(Reason::kAgentLost));
  EXPECT_FALSE(outcome_->suspect);
  EXPECT_EQ(slot_->agent().pid(), pid_);
}

TEST_F(TransitionTest, ASuspectIsWhatItIsWhenNoOtherRouteIsLeft) {
  RunAgent();
  fates_[FakeStep::kModel] = {.kind = Fate::kUnsure};
  Begin({Route::kNative});
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, HasReason(Reason::kAgentProtocol));
  EXPECT_TRUE(outcome_->suspect);
}

// ---- Restart ----

TEST_F(TransitionTest, StartsAnAgentWhereNoneRuns) {
  world_.transcripts["c0000000-0000-4000-8000-000000000001"] = {"hello"};
  conversation_ = "c0000000-0000-4000-8000-000000000001";
  Begin({Route::kRestart}, /*break_before_make=*/true);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  ASSERT_NE(outcome_->slot, nullptr);
  EXPECT_EQ(outcome_->slot->agent().current().conversation, conversation_);
  EXPECT_EQ(ended_, 0);
}

TEST_F(TransitionTest, ARouteThatNeedsAnAgentIsPassedOverWhereNoneRuns) {
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  EXPECT_NE(outcome_->slot, nullptr);
}

TEST_F(TransitionTest, TheOldAgentGoesFirstWhereThereIsNoRoomForTwo) {
  Fit(1);
  RunAgent();
  Begin({Route::kRestart}, /*break_before_make=*/true);
  loop_.RunUntilIdle();
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(world_.started, 1);
  EXPECT_FALSE(outcome_.has_value());
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  EXPECT_NE(outcome_->slot, nullptr);
  EXPECT_EQ(ended_, 1);
  EXPECT_EQ(world_.most_live, 1);
}

TEST_F(TransitionTest, TheOldAgentStaysWhileItMayMakeTheChangeItself) {
  Fit(1);
  RunAgent();
  Begin(kNativeThenRestart, /*break_before_make=*/true);
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, IsOk());
  EXPECT_EQ(ended_, 0);
}

TEST_F(TransitionTest, AConversationThatIsGoneIsTheAnswer) {
  RunAgent();
  conversation_ = "c0000000-0000-4000-8000-000000000002";
  Begin({Route::kRestart});
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, HasReason(Reason::kConversationNotFound));
  EXPECT_FALSE(outcome_->suspect);
  EXPECT_EQ(pool_->live(), 1);
}

TEST_F(TransitionTest, ASlotThatDoesNotComeFreeIsTheAnswer) {
  Fit(1);
  RunAgent();
  Begin({Route::kRestart});
  loop_.Advance(profile_.start_timeout);
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_THAT(outcome_->status, HasReason(Reason::kNoSlot));
}

// ---- Destroying it ----

TEST_F(TransitionTest, DestroyingItCancelsItBeforeItBegins) {
  RunAgent();
  Begin(kNativeThenRestart);
  transition_ = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_FALSE(outcome_.has_value());
  EXPECT_EQ(slot_->agent().current().model, "sonnet");
}

TEST_F(TransitionTest, DestroyingItCancelsItDuringANativeChange) {
  RunAgent();
  fates_[FakeStep::kModel] = {.kind = Fate::kRefuse, .delay = absl::Seconds(1)};
  Begin(kNativeThenRestart);
  loop_.RunUntilIdle();
  transition_ = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_FALSE(outcome_.has_value());
  EXPECT_EQ(world_.started, 1);
}

TEST_F(TransitionTest, DestroyingItCancelsItWhileTheOldAgentEnds) {
  RunAgent();
  Begin({Route::kRestart}, /*break_before_make=*/true);
  loop_.RunUntilIdle();
  transition_ = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_FALSE(outcome_.has_value());
  EXPECT_EQ(world_.started, 1);
  EXPECT_EQ(pool_->live(), 0);
}

TEST_F(TransitionTest, DestroyingItKillsTheAgentThatIsBeingStarted) {
  RunAgent();
  fates_[FakeStep::kStart] = {.delay = absl::Seconds(1)};
  Begin({Route::kRestart});
  loop_.RunUntilIdle();
  EXPECT_EQ(world_.started, 2);
  transition_ = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_FALSE(outcome_.has_value());
  EXPECT_THAT(world_.live(), SizeIs(1));
  EXPECT_EQ(pool_->live(), 1);
}

TEST_F(TransitionTest, DestroyingItLeavesTheLineForASlot) {
  Fit(1);
  RunAgent();
  Begin({Route::kRestart});
  loop_.RunUntilIdle();
  transition_ = nullptr;
  slot_ = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(world_.started, 1);
  EXPECT_THAT(world_.live(), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
