#include "session/base/blocking.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "session/base/event_loop.h"

namespace understudy::session {
namespace {

TEST(BlockingTest, RunsWorkOnAThreadOfItsOwnAndLetsItContinueOnTheLoop) {
  auto loop = NewAsioLoop();
  auto blocking = NewBlocking(2);
  bool continued = false;
  const auto here = std::this_thread::get_id();
  loop->Post([&] {
    blocking->Run([&] {
      EXPECT_NE(std::this_thread::get_id(), here);
      EXPECT_FALSE(loop->OnLoop());
      loop->Post([&] {
        EXPECT_TRUE(loop->OnLoop());
        continued = true;
        loop->Stop();
      });
    });
  });
  loop->Run();
  EXPECT_TRUE(continued);
}

TEST(BlockingTest, RunsAsMuchAtOnceAsItHasThreads) {
  absl::Mutex mutex;
  int there = 0;
  const auto all_there = [&] { return there == 3; };
  auto blocking = NewBlocking(3);
  for (int i = 0; i < 3; ++i) {
    // Nobody goes on before three are there.
    blocking->Run([&] {
      absl::MutexLock lock(&mutex);
      ++there;
      mutex.Await(absl::Condition(&all_there));
    });
  }
  absl::MutexLock lock(&mutex);
  EXPECT_TRUE(
      mutex.AwaitWithTimeout(absl::Condition(&all_there), absl::Seconds(20)));
}

TEST(BlockingTest, ItsEndDestroysQueuedWorkAndWaitsForWorkInProgress) {
  absl::Notification begun;
  absl::Notification go_on;
  bool finished = false;
  bool ran = false;
  auto blocking = NewBlocking(1);
  blocking->Run([&] {
    begun.Notify();
    go_on.WaitForNotification();
    finished = true;
  });
  begun.WaitForNotification();
  std::shared_ptr<void> queued(nullptr, [&](void*) { go_on.Notify(); });
  blocking->Run([queued = std::move(queued), &ran] { ran = true; });
  blocking.reset();
  EXPECT_TRUE(finished);
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace understudy::session
