// How much memory a tree of processes has, and what follows when it is too
// much.

#include "session/process/memory_watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "tests/fakes/fake_blocking.h"
#include "tests/fakes/fake_loop.h"
#include "tests/session/process/launcher_fixture.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Cause = ExitStatus::Cause;

constexpr uint64_t kMiB = 1 << 20;

// ---- Without any memory ----

class MemoryWatchdogTest : public ::testing::Test {
 protected:
  std::unique_ptr<EventLoop::Handle> Watch(pid_t root, uint64_t bound) {
    return watchdog_->Watch({root, bound}, [this, root](uint64_t bytes) {
      over_.push_back({root, bytes});
    });
  }
  // Measuring takes place, once.
  void Tick() { loop_.Advance(absl::Seconds(1)); }

  FakeLoop loop_;
  FakeBlocking blocking_{loop_};
  std::map<pid_t, uint64_t> memory_;
  int measured_ = 0;
  std::vector<std::pair<pid_t, uint64_t>> over_;
  std::unique_ptr<MemoryWatchdog> watchdog_ = std::make_unique<MemoryWatchdog>(
      loop_, MemoryWatchdog::Options{
                 .interval = absl::Seconds(1),
                 .measure =
                     [this](const std::vector<MemoryBound>& trees) {
                       ++measured_;
                       std::vector<uint64_t> bytes;
                       for (const MemoryBound& tree : trees) {
                         bytes.push_back(memory_[tree.root]);
                       }
                       return bytes;
                     },
                 .blocking = &blocking_});
};

TEST_F(MemoryWatchdogTest, TellsOnceWhoHasMoreThanItsBound) {
  const auto one = Watch(1, 100);
  const auto two = Watch(2, 200);
  memory_ = {{1, 100}, {2, 201}};
  EXPECT_THAT(over_, IsEmpty());
  Tick();
  EXPECT_THAT(over_, ElementsAre(std::pair<pid_t, uint64_t>(2, 201)));
  memory_[1] = 101;
  Tick();
  Tick();
  EXPECT_EQ(over_.size(), 2u);
  EXPECT_EQ(over_.back(), (std::pair<pid_t, uint64_t>(1, 101)));
}

TEST_F(MemoryWatchdogTest, MeasuresOnlyWhatIsWatched) {
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(measured_, 0);
  auto one = Watch(1, 100);
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(measured_, 10);
  one = nullptr;
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(measured_, 10);
  EXPECT_EQ(loop_.timers(), 0u);
  one = Watch(1, 100);
  Tick();
  EXPECT_EQ(measured_, 11);
}

TEST_F(MemoryWatchdogTest, WhoIsGoneWhenItHasBeenMeasuredIsNotTold) {
  auto one = Watch(1, 100);
  memory_[1] = 1000;
  blocking_.Hold();
  Tick();
  one = nullptr;
  // Its number may be another's by now.
  const auto again = Watch(1, 10000);
  blocking_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(over_, IsEmpty());
}

TEST_F(MemoryWatchdogTest, ASlowLookIsNotFollowedByAnotherBeforeItIsOver) {
  const auto one = Watch(1, 100);
  blocking_.Hold();
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(blocking_.waiting(), 1u);
  blocking_.Release();
  loop_.RunUntilIdle();
  Tick();
  EXPECT_EQ(measured_, 2);
}

TEST_F(MemoryWatchdogTest, ItMayGoBeforeItsLookIsOverAndItsHandlesAfterIt) {
  const auto one = Watch(1, 100);
  memory_[1] = 1000;
  blocking_.Hold();
  Tick();
  watchdog_ = nullptr;
  blocking_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(over_, IsEmpty());
}

// ---- With some ----

class MemoryTest : public LauncherFixture {
 protected:
  MemoryTest() {
    launcher_ = NewPosixLauncher(
        *loop_, {.guard_path = UNDERSTUDY_GUARD,
                 .memory = {.interval = absl::Milliseconds(20)}});
  }
  // A child that takes so much, in itself or (setsid) in a grandchild in a
  // session of its own whose parent has ended.
  Command Allocates(uint64_t mib, const std::string& how) {
    return MakeCommand({Misbehaving("allocates"), std::to_string(mib), how});
  }
};

TEST_F(MemoryTest, AChildOverItsBoundIsEnded) {
  Command command = Allocates(64, "self");
  command.max_memory_bytes = 32 * kMiB;
  Launch(command);
  ASSERT_TRUE(RunUntilExit());
  EXPECT_EQ(seen_.exit->cause, Cause::kOutOfMemory);
  EXPECT_GE(seen_.exit->memory_bytes, 32 * kMiB);
  EXPECT_THAT(seen_.exit->ToString(), HasSubstr("MiB of memory"));
}

TEST_F(MemoryTest, WhatItsDescendantsHaveCountsWhereverTheyAre) {
  Command command = Allocates(64, "setsid");
  command.max_memory_bytes = 32 * kMiB;
  Launch(command);
  ASSERT_TRUE(RunUntilExit());
  EXPECT_EQ(seen_.exit->cause, Cause::kOutOfMemory);
}

TEST_F(MemoryTest, WhatIsSharedCountsOnce) {
  // Eight children that have the same 32 MiB.
  Command command = Allocates(32, "shared");
  command.max_memory_bytes = 64 * kMiB;
  Launch(command);
  ASSERT_TRUE(RunUntilLine("ready"));
  const pid_t guard = ChildrenOfThisProcess().at(0);
  const uint64_t bytes = MeasureMemory({{guard, 64 * kMiB}}).at(0);
  EXPECT_GE(bytes, 32 * kMiB);
  EXPECT_LT(bytes, 64 * kMiB);
  // By resident sets it would be more; the first look is content with them.
  EXPECT_GT(MeasureMemory({{guard, uint64_t{1} << 40}}).at(0), 256 * kMiB);
  EXPECT_FALSE(seen_.exit.has_value());
}

TEST_F(MemoryTest, WithoutABoundNothingIsMeasured) {
  Launch(Allocates(64, "self"));
  ASSERT_TRUE(RunUntilLine("ready"));
  EXPECT_FALSE(seen_.exit.has_value());
  EXPECT_THAT(MeasureMemory({{getpid(), 1}, {0x7fffffff, 1}}),
              ElementsAre(testing::Ge(64 * kMiB), 0u));
}

}  // namespace
}  // namespace understudy::session
