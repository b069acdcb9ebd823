#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "session/base/event_loop.h"
#include "session/base/unique_fd.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    read_end = UniqueFd(fds[0]);
    write_end = UniqueFd(fds[1]);
  }
  UniqueFd read_end;
  UniqueFd write_end;
};

class AsioLoopTest : public ::testing::Test {
 protected:
  std::unique_ptr<RunnableLoop> loop_ = NewAsioLoop();
};

TEST_F(AsioLoopTest, RunsPostedTasksInOrderOnTheThreadOfRun) {
  std::vector<int> order;
  std::thread::id thread;
  loop_->Post([&] {
    order.push_back(1);
    thread = std::this_thread::get_id();
    EXPECT_TRUE(loop_->OnLoop());
    loop_->Post([&] {
      order.push_back(3);
      loop_->Stop();
    });
  });
  loop_->Post([&] { order.push_back(2); });
  EXPECT_FALSE(loop_->OnLoop());
  loop_->Run();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_F(AsioLoopTest, ATaskOfAnotherThreadDoesNotOvertakeOnePostedBeforeIt) {
  std::vector<int> order;
  loop_->Post([&] {
    loop_->Post([&] { order.push_back(1); });
    std::thread([&] {
      loop_->Post([&] {
        order.push_back(2);
        loop_->Stop();
      });
    }).join();
  });
  loop_->Run();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(AsioLoopTest, TakesTasksFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 5000;
  int ran = 0;  // on the loop only
  std::vector<int> last(kThreads, -1);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kTasks; ++i) {
        loop_->Post([&, t, i] {
          EXPECT_EQ(last[t], i - 1);
          last[t] = i;
          if (++ran == kThreads * kTasks) loop_->Stop();
        });
      }
    });
  }
  loop_->Run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ran, kThreads * kTasks);
}

TEST_F(AsioLoopTest, TasksLeftWhenItStopsRunNextTime) {
  std::vector<int> order;
  loop_->Post([&] {
    order.push_back(1);
    loop_->Stop();
  });
  loop_->Post([&] {
    order.push_back(2);
    loop_->Stop();
  });
  loop_->Run();
  EXPECT_THAT(order, ElementsAre(1));
  loop_->Run();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(AsioLoopTest, RunsAgainAfterItHadNothingLeftToDo) {
  int ran = 0;
  for (int i = 0; i < 3; ++i) {
    loop_->Post([&] {
      ++ran;
      loop_->Stop();
    });
    loop_->Run();
    EXPECT_EQ(ran, i + 1);
  }
}

TEST_F(AsioLoopTest, TasksLeftWhenItIsDestroyedAreDestroyedWithoutBeingRun) {
  auto held = std::make_shared<int>();
  bool ran = false;
  loop_->Post([held, &ran] { ran = true; });
  EXPECT_EQ(held.use_count(), 2);
  loop_.reset();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(ran);
}

TEST_F(AsioLoopTest, StopBeforeRunIsNotLost) {
  loop_->Stop();
  loop_->Run();  // returns
}

TEST_F(AsioLoopTest, TimersRunInTheOrderOfTheirTimes) {
  std::vector<int> order;
  auto late = loop_->RunAfter(absl::Milliseconds(4), [&] {
    order.push_back(2);
    loop_->Stop();
  });
  auto soon =
      loop_->RunAfter(absl::Milliseconds(1), [&] { order.push_back(1); });
  auto never = loop_->RunAfter(absl::InfiniteDuration(), [] { FAIL(); });
  loop_->Run();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(AsioLoopTest, ADestroyedTimerNeverRunsEvenIfItWasDue) {
  auto held = std::make_shared<int>();
  std::unique_ptr<EventLoop::Handle> victim;
  auto first = loop_->RunAfter(absl::ZeroDuration(), [&] { victim.reset(); });
  victim = loop_->RunAfter(absl::ZeroDuration(), [held] { FAIL(); });
  auto last = loop_->RunAfter(absl::Milliseconds(2), [&] { loop_->Stop(); });
  // Both are due before the loop looks for the first time.
  const absl::Time start = loop_->Now();
  while (loop_->Now() - start < absl::Milliseconds(1)) {
  }
  loop_->Run();
  EXPECT_EQ(victim, nullptr);
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(AsioLoopTest, ATimerMayBeDestroyedFromItsOwnCallback) {
  std::unique_ptr<EventLoop::Handle> timer;
  auto held = std::make_shared<int>(7);
  timer = loop_->RunAfter(absl::ZeroDuration(), [&, held] {
    timer.reset();
    EXPECT_EQ(*held, 7);
    loop_->Stop();
  });
  loop_->Run();
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(AsioLoopTest, AWatchReportsForAsLongAsTheDescriptorIsReadable) {
  Pipe pipe;
  ASSERT_EQ(write(pipe.write_end.get(), "abc", 3), 3);
  std::string read_bytes;
  auto watch = loop_->WatchFd(
      pipe.read_end.get(), EventLoop::kReadable, [&](uint32_t events) {
        EXPECT_EQ(events, EventLoop::kReadable);
        char byte;
        const ssize_t n = read(pipe.read_end.get(), &byte, 1);
        if (n == 0) return loop_->Stop();
        ASSERT_EQ(n, 1);
        read_bytes += byte;
        if (read_bytes == "abc") {
          ASSERT_EQ(write(pipe.write_end.get(), "d", 1), 1);
          pipe.write_end.reset();
        }
      });
  loop_->Run();
  EXPECT_EQ(read_bytes, "abcd");
}

TEST_F(AsioLoopTest, AWatchReportsWritableAndAReaderThatIsGone) {
  Pipe pipe;
  int reports = 0;
  auto watch = loop_->WatchFd(
      pipe.write_end.get(), EventLoop::kWritable, [&](uint32_t events) {
        EXPECT_EQ(events, EventLoop::kWritable);
        if (++reports == 1) {
          const std::string much(1 << 20, 'x');
          ASSERT_GT(write(pipe.write_end.get(), much.data(), much.size()), 0);
          pipe.read_end.reset();
          return;
        }
        loop_->Stop();
      });
  loop_->Run();
  EXPECT_EQ(reports, 2);
}

TEST_F(AsioLoopTest, ADestroyedWatchNeverReportsEvenIfItWasReady) {
  Pipe one;
  Pipe two;
  ASSERT_EQ(write(one.write_end.get(), "a", 1), 1);
  ASSERT_EQ(write(two.write_end.get(), "a", 1), 1);
  int reports = 0;
  std::unique_ptr<EventLoop::Handle> a;
  std::unique_ptr<EventLoop::Handle> b;
  auto held = std::make_shared<int>();
  const auto end_both = [&](uint32_t) {
    ++reports;
    a.reset();
    b.reset();
    loop_->Post([&] { loop_->Stop(); });
  };
  a = loop_->WatchFd(one.read_end.get(), EventLoop::kReadable,
                     [held, end_both](uint32_t e) { end_both(e); });
  b = loop_->WatchFd(two.read_end.get(), EventLoop::kReadable,
                     [held, end_both](uint32_t e) { end_both(e); });
  loop_->Run();
  EXPECT_EQ(reports, 1);
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(AsioLoopTest, AWatchLeavesTheDescriptorOpen) {
  Pipe pipe;
  {
    auto watch = loop_->WatchFd(pipe.read_end.get(), 1, [](uint32_t) {});
  }
  ASSERT_EQ(write(pipe.write_end.get(), "a", 1), 1);
  char byte;
  EXPECT_EQ(read(pipe.read_end.get(), &byte, 1), 1);
  // And it can be watched again.
  auto watch = loop_->WatchFd(pipe.read_end.get(), 1, [](uint32_t) {});
}

}  // namespace
}  // namespace understudy::session
