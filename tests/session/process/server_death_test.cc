// A server that is killed leaves no process; one whose guards are killed with
// it leaves what the next server sweeps up.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "session/base/unique_fd.h"
#include "session/process/sweep.h"
#include "tests/support/processes.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::Not;

// Of this process alone: other tests, which run at the same time, have servers
// that die, too.
const std::string& MarkerName() {
  static const auto* const kName =
      new std::string(absl::StrCat("UNDERSTUDY_DEATH_TEST_MARK_", getpid()));
  return *kName;
}

// A server of its own with two agents, each of which has a family that ignores
// signals and lives in sessions of its own.
class DoomedServer {
 public:
  DoomedServer() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    output_ = UniqueFd(fds[0]);
    const UniqueFd write_end(fds[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
    std::string argv[] = {
        UNDERSTUDY_DOOMED_SERVER, UNDERSTUDY_GUARD, MarkerName(),
        absl::StrCat(UNDERSTUDY_MISBEHAVING, "/leaves_family"), "stay"};
    std::vector<char*> pointers;
    for (std::string& argument : argv) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, UNDERSTUDY_DOOMED_SERVER, &actions, nullptr,
                          pointers.data(), environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~DoomedServer() { Kill(); }

  // Reads until both families live.
  void WaitForFamilies() {
    std::string text;
    for (int families = 0; families < 2;) {
      char byte;
      ASSERT_EQ(read(output_.get(), &byte, 1), 1);
      if (byte != '\n') {
        text.push_back(byte);
        continue;
      }
      if (text == "family") {
        ++families;
      } else if (absl::StartsWith(text, "mark ")) {
        mark_ = text.substr(5);
      } else if (absl::StartsWith(text, "agent ")) {
        agents_.push_back(std::atoi(text.c_str() + 6));
      } else {
        members_.push_back(std::atoi(text.c_str()));
      }
      text.clear();
    }
    ASSERT_EQ(agents_.size(), 2u);
    ASSERT_EQ(members_.size(), 8u);
    for (const pid_t agent : agents_) {
      guards_.push_back(std::atoi(StatField(agent, 4).c_str()));
    }
  }

  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  pid_t pid() const { return pid_; }
  const std::string& mark() const { return mark_; }
  const std::vector<pid_t>& guards() const { return guards_; }
  const std::vector<pid_t>& members() const { return members_; }
  std::vector<pid_t> Everyone() const {
    std::vector<pid_t> all = members_;
    all.insert(all.end(), agents_.begin(), agents_.end());
    all.insert(all.end(), guards_.begin(), guards_.end());
    return all;
  }

 private:
  pid_t pid_ = 0;
  UniqueFd output_;
  std::string mark_;
  std::vector<pid_t> agents_;
  std::vector<pid_t> guards_;
  std::vector<pid_t> members_;
};

class ServerDeathTest : public ::testing::Test {
 protected:
  // Orphans come to this process rather than to init, so that it can tell, and
  // clean up should a test fail.
  ServerDeathTest() { prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~ServerDeathTest() override {
    for (const pid_t pid : ChildrenOfThisProcess()) kill(pid, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }
};

TEST_F(ServerDeathTest, LauncherTest_A18_KillOfTheServerLeavesNoProcess) {
  DoomedServer server;
  server.WaitForFamilies();
  for (const pid_t pid : server.Everyone()) ASSERT_TRUE(IsAlive(pid));
  const absl::Time start = absl::Now();
  server.Kill();
  EXPECT_TRUE(WaitUntilGone(server.Everyone(), absl::Seconds(1)));
  RecordProperty("gone_us", absl::ToInt64Microseconds(absl::Now() - start));
  for (const pid_t pid : server.Everyone()) EXPECT_FALSE(IsAlive(pid));
}

TEST_F(ServerDeathTest, A18_ASweepKillsWhatAServerAndItsGuardsLeftBehind) {
  DoomedServer server;
  server.WaitForFamilies();
  const std::string ours = *NewServerMark();

  // Not while its server runs.
  EXPECT_EQ(JudgeMark(server.mark()), MarkState::kRuns);
  EXPECT_EQ(SweepLeftovers(MarkerName(), ours), 0u);
  for (const pid_t pid : server.Everyone()) EXPECT_TRUE(IsAlive(pid));

  // All at once, as the kernel may do it when memory runs out. Stopped first:
  // none may act on the death of another.
  kill(server.pid(), SIGSTOP);
  for (const pid_t guard : server.guards()) kill(guard, SIGKILL);
  server.Kill();
  EXPECT_EQ(JudgeMark(server.mark()), MarkState::kGone);
  EXPECT_EQ(JudgeMark(server.mark() + "/7"), MarkState::kGone);
  // The agents die with their guards, their families live.
  for (const pid_t pid : server.members()) EXPECT_TRUE(IsAlive(pid));
  // Another name is none of our business; nor is our own mark.
  EXPECT_EQ(SweepLeftovers("SOMETHING_ELSE", ours), 0u);
  EXPECT_EQ(SweepLeftovers(MarkerName(), server.mark()), 0u);
  for (const pid_t pid : server.members()) EXPECT_TRUE(IsAlive(pid));

  EXPECT_GE(SweepLeftovers(MarkerName(), ours), server.members().size());
  for (const pid_t pid : server.Everyone()) EXPECT_FALSE(IsAlive(pid));
}

TEST(SweepTest, AMarkNamesOneProcessForEver) {
  const std::string mark = *NewServerMark();
  EXPECT_EQ(JudgeMark(mark), MarkState::kRuns);
  EXPECT_EQ(JudgeMark(mark + "/12"), MarkState::kRuns);
  EXPECT_EQ(*NewServerMark(), mark);
  // Another process had this pid before.
  EXPECT_EQ(JudgeMark(mark + "0"), MarkState::kGone);
  // Whatever cannot be judged is left alone.
  for (const std::string& bad :
       {std::string(), std::string("x"), std::string(":::"), "0" + mark,
        mark + "x", mark.substr(0, mark.rfind(':')),
        mark.substr(0, mark.rfind(':') + 1), mark.substr(mark.find(':')),
        "00000000-0000-0000-0000-000000000000" + mark.substr(36)}) {
    EXPECT_EQ(JudgeMark(bad), MarkState::kUnknown) << bad;
  }
}

TEST(SweepTest, AZombieServerIsGone) {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  const std::string ours = *NewServerMark();
  const std::string place =
      ours.substr(0, ours.rfind(absl::StrCat(":", getpid(), ":")));
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
  const std::string mark =
      absl::StrCat(place, ":", pid, ":", StatField(pid, 22));
  EXPECT_EQ(JudgeMark(mark), MarkState::kGone);
  waitpid(pid, nullptr, 0);
  EXPECT_EQ(JudgeMark(mark), MarkState::kGone);
}

}  // namespace
}  // namespace understudy::session
