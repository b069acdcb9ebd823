// A launcher on a real loop, and the programs that misbehave.

#ifndef UNDERSTUDY_TESTS_SESSION_PROCESS_LAUNCHER_FIXTURE_H_
#define UNDERSTUDY_TESTS_SESSION_PROCESS_LAUNCHER_FIXTURE_H_

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "session/process/subprocess.h"
#include "session/process/sweep.h"
#include "tests/support/processes.h"
#include "tests/support/real_loop.h"
#include "tests/support/recording_observer.h"

namespace understudy::session {

class LauncherFixture : public ::testing::Test {
 protected:
  // Nothing this test started may outlive it.
  ~LauncherFixture() override {
    child_.reset();
    launcher_.reset();
    EXPECT_TRUE(ChildrenOfThisProcess().empty()) << "a zombie or an orphan";
  }

  static std::string Misbehaving(const std::string& name) {
    return absl::StrCat(UNDERSTUDY_MISBEHAVING, "/", name);
  }

  static Command MakeCommand(std::vector<std::string> argv) {
    Command command;
    command.argv = std::move(argv);
    command.cwd = "/";
    command.env = {{"PATH", "/usr/bin:/bin"}};
    return command;
  }

  void Launch(const Command& command) {
    auto child = launcher_->Launch(command, &seen_);
    ASSERT_TRUE(child.ok()) << child.status();
    child_ = *std::move(child);
  }
  void Launch(std::vector<std::string> argv) {
    Launch(MakeCommand(std::move(argv)));
  }

  // As someone outside might; never this process's group.
  void SendSignal(int number) {
    ASSERT_GT(child_->pid(), 0);
    ASSERT_EQ(kill(child_->pid(), number), 0);
  }

  [[nodiscard]] bool RunUntilExit() {
    return loop_.RunUntil([this] { return seen_.exit.has_value(); });
  }
  [[nodiscard]] bool RunUntilLine(const std::string& line) {
    return loop_.RunUntil([&] { return seen_.HasLine(line); });
  }

  static constexpr char kMarkerName[] = "UNDERSTUDY_TEST_MARK";

  RealLoop loop_;
  std::unique_ptr<Launcher> launcher_ =
      NewPosixLauncher(*loop_, {.guard_path = UNDERSTUDY_GUARD,
                                .marker_name = kMarkerName,
                                .marker_value = NewServerMark().value_or("")});
  RecordingObserver seen_;
  std::unique_ptr<Subprocess> child_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_PROCESS_LAUNCHER_FIXTURE_H_
