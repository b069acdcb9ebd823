#include "tests/fakes/fake_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace understudy::session {
namespace {

using ::testing::ElementsAre;

TEST(FakeLoopTest, TimeStandsStillUntilItIsAdvanced) {
  FakeLoop loop;
  const absl::Time start = loop.Now();
  int ran = 0;
  auto timer = loop.RunAfter(absl::Milliseconds(10), [&] { ++ran; });
  loop.RunUntilIdle();
  loop.Advance(absl::Milliseconds(9));
  EXPECT_EQ(ran, 0);
  loop.Advance(absl::Milliseconds(1));
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(loop.Now(), start + absl::Milliseconds(10));
}

TEST(FakeLoopTest, ATimerRunsAtItsOwnTimeAndWhatItPostsBeforeTheNext) {
  FakeLoop loop;
  const absl::Time start = loop.Now();
  std::vector<int> order;
  std::unique_ptr<EventLoop::Handle> nested;
  auto late = loop.RunAfter(absl::Seconds(3), [&] { order.push_back(4); });
  auto soon = loop.RunAfter(absl::Seconds(1), [&] {
    EXPECT_EQ(loop.Now(), start + absl::Seconds(1));
    order.push_back(1);
    loop.Post([&] { order.push_back(2); });
    nested = loop.RunAfter(absl::Seconds(1), [&] { order.push_back(3); });
  });
  loop.Advance(absl::Seconds(5));
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(loop.Now(), start + absl::Seconds(5));
}

TEST(FakeLoopTest, ADestroyedTimerNeverRunsAlsoFromItsOwnCallback) {
  FakeLoop loop;
  std::unique_ptr<EventLoop::Handle> victim;
  std::unique_ptr<EventLoop::Handle> killer =
      loop.RunAfter(absl::ZeroDuration(), [&] {
        victim.reset();
        killer.reset();
      });
  victim = loop.RunAfter(absl::ZeroDuration(), [] { FAIL(); });
  loop.RunUntilIdle();
  EXPECT_EQ(loop.timers(), 0u);
}

TEST(FakeLoopTest, WaitsForWhatOtherThreadsPost) {
  FakeLoop loop;
  bool posted = false;
  std::thread other([&] { loop.Post([&] { posted = true; }); });
  EXPECT_TRUE(loop.RunUntil([&] { return posted; }));
  other.join();
}

}  // namespace
}  // namespace understudy::session
