// How children are started, talked to and listened to. How they end is in
// launcher_end_test.cc.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "session/base/unique_fd.h"
#include "tests/session/process/launcher_fixture.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using Cause = ExitStatus::Cause;

class LauncherTest : public LauncherFixture {
 protected:
  std::vector<std::string> LinesThatStartWith(const std::string& prefix) {
    std::vector<std::string> lines;
    std::copy_if(seen_.lines.begin(), seen_.lines.end(),
                 std::back_inserter(lines), [&](const std::string& line) {
                   return absl::StartsWith(line, prefix);
                 });
    return lines;
  }
};

TEST_F(LauncherTest, SaysEachThingInOrder) {
  Launch({"cat"});
  EXPECT_EQ(child_->pid(), 0);
  EXPECT_EQ(seen_.calls, "");  // nothing from inside Launch
  ASSERT_TRUE(child_->WriteLine("hello").ok());
  ASSERT_TRUE(RunUntilLine("hello"));
  EXPECT_EQ(child_->pid(), seen_.pid);
  EXPECT_TRUE(IsAlive(seen_.pid));
  child_->Stop(absl::Seconds(10));
  ASSERT_TRUE(RunUntilExit());
  EXPECT_EQ(seen_.calls, "SLDX");
  EXPECT_EQ(seen_.exit->cause, Cause::kStopped);
  EXPECT_EQ(seen_.exit->exit_code, 0);
  EXPECT_FALSE(IsAlive(seen_.pid));
}

TEST_F(LauncherTest, TheChildHasExactlyItsEnvironmentArgumentsAndDescriptors) {
  // What this process has must not leak.
  setenv("UNDERSTUDY_TEST_LEAK", "leaked", 1);
  const int leak = open("/dev/null", O_RDONLY);  // not closed on exec
  ASSERT_GE(leak, 3);
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);

  Command command = MakeCommand(
      {Misbehaving("shows_itself"), "-x", "two words", "", "$HOME;`id`"});
  command.env = {{"A", "1"}, {"EMPTY", ""}, {"LINE", "a=b=c"}};
  command.cwd = "/proc";
  Launch(command);
  const bool done = RunUntilLine("done");
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(leak);
  unsetenv("UNDERSTUDY_TEST_LEAK");
  ASSERT_TRUE(done);

  EXPECT_THAT(
      LinesThatStartWith("argument"),
      ElementsAre("argument " + Misbehaving("shows_itself"), "argument -x",
                  "argument two words", "argument ", "argument $HOME;`id`"));
  EXPECT_THAT(LinesThatStartWith("variable"),
              UnorderedElementsAre(
                  "variable A=1", "variable EMPTY=", "variable LINE=a=b=c",
                  AllOf(StartsWith(absl::StrCat("variable ", kMarkerName, "=")),
                        HasSubstr(*NewServerMark()))));
  EXPECT_THAT(LinesThatStartWith("descriptor"),
              ElementsAre("descriptor 0", "descriptor 1", "descriptor 2"));
  EXPECT_THAT(seen_.lines, Contains("directory /proc"));
  EXPECT_THAT(seen_.lines, Contains("leader 1 1"));
  EXPECT_THAT(LinesThatStartWith("blocked"), ElementsAre());
  EXPECT_THAT(LinesThatStartWith("not default"), ElementsAre());
}

TEST_F(LauncherTest, ChildrenThatLiveTogetherHaveNothingOfEachOther) {
  constexpr size_t kChildren = 8;
  std::vector<RecordingObserver> seen(kChildren);
  std::vector<std::unique_ptr<Subprocess>> children;
  for (size_t i = 0; i < kChildren; ++i) {
    Command command = MakeCommand({Misbehaving("shows_itself")});
    command.env["OWN"] = absl::StrCat(i);
    auto child = launcher_->Launch(command, &seen[i]);
    ASSERT_TRUE(child.ok()) << child.status();
    children.push_back(*std::move(child));
  }
  ASSERT_TRUE(loop_.RunUntil([&] {
    return std::all_of(seen.begin(), seen.end(),
                       [](const auto& one) { return one.HasLine("done"); });
  }));
  for (size_t i = 0; i < kChildren; ++i) {
    std::vector<std::string> lines = seen[i].lines;
    std::erase_if(lines, [](const std::string& line) {
      return !absl::StartsWith(line, "descriptor") &&
             !absl::StartsWith(line, "variable OWN");
    });
    EXPECT_THAT(lines, UnorderedElementsAre("descriptor 0", "descriptor 1",
                                            "descriptor 2",
                                            absl::StrCat("variable OWN=", i)));
    // Its guard has /dev/null three times, its socket and its signals.
    const std::string guard = StatField(seen[i].pid, 4);
    const auto descriptors = std::filesystem::directory_iterator(
        absl::StrCat("/proc/", guard, "/fd"));
    EXPECT_EQ(std::distance(begin(descriptors), end(descriptors)), 5);
  }
}

TEST_F(LauncherTest, TheGuardHasNoneOfTheArgumentsAndLittleMemory) {
  Launch({"cat", "-", "a-secret-prompt"});
  ASSERT_TRUE(loop_.RunUntil([&] { return seen_.pid != 0; }));
  const std::vector<pid_t> guards = ChildrenOfThisProcess();
  ASSERT_EQ(guards.size(), 1u);
  EXPECT_EQ(StatField(seen_.pid, 4), absl::StrCat(guards[0]));
  const std::string resident_pages = StatField(guards[0], 24);
  EXPECT_LT(std::stol(resident_pages) * sysconf(_SC_PAGESIZE), 1 << 20);
  char arguments[4096] = {};
  const int fd =
      open(absl::StrCat("/proc/", guards[0], "/cmdline").c_str(), O_RDONLY);
  const ssize_t size = read(fd, arguments, sizeof(arguments));
  close(fd);
  EXPECT_THAT(std::string(arguments, size), Not(HasSubstr("secret")));
}

TEST_F(LauncherTest, FindsTheProgramInThePathOfItsEnvironmentOnly) {
  Command command = MakeCommand({"shows_itself"});
  command.env = {
      {"PATH", absl::StrCat("/nonexistent:", UNDERSTUDY_MISBEHAVING)}};
  Launch(command);
  EXPECT_TRUE(RunUntilLine("done"));

  seen_ = {};
  command.argv = {"sh"};  // is in our own PATH
  Launch(command);
  ASSERT_TRUE(RunUntilExit());
  EXPECT_EQ(seen_.exit->cause, Cause::kNotStarted);
  EXPECT_EQ(seen_.exit->error_number, ENOENT);
}

TEST_F(LauncherTest, AProgramThatCannotBeStartedIsAnExit) {
  const struct {
    std::vector<std::string> argv;
    std::string cwd;
    int error_number;
    bool in_directory;
  } cases[] = {
      {{"/nonexistent/agent"}, "/", ENOENT, false},
      {{"/etc/passwd"}, "/", EACCES, false},
      {{"/etc"}, "/", EACCES, false},
      {{"cat"}, "/nonexistent", ENOENT, true},
      {{"cat"}, "/etc/passwd", ENOTDIR, true},
  };
  for (const auto& c : cases) {
    seen_ = {};
    Command command = MakeCommand(c.argv);
    command.cwd = c.cwd;
    Launch(command);
    ASSERT_TRUE(RunUntilExit());
    EXPECT_EQ(seen_.exit->cause, Cause::kNotStarted) << c.argv[0];
    EXPECT_EQ(seen_.exit->error_number, c.error_number) << c.argv[0];
    EXPECT_EQ(seen_.exit->in_directory, c.in_directory) << c.argv[0];
    EXPECT_EQ(seen_.calls, "X");
    EXPECT_EQ(child_->pid(), 0);
    EXPECT_EQ(child_->WriteLine("x").code(),
              absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(seen_.exit->ToString(),
            "not started: its directory: Not a directory");
}

TEST_F(LauncherTest, AFileThatIsNoProgramIsNotGivenToTheShell) {
  const std::string path =
      absl::StrCat(testing::TempDir(), "no_program_", getpid());
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0755);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write(fd, "echo run by a shell\n", 20), 20);
  close(fd);
  Launch({path});
  ASSERT_TRUE(RunUntilExit());
  unlink(path.c_str());
  EXPECT_EQ(seen_.exit->cause, Cause::kNotStarted);
  EXPECT_EQ(seen_.exit->error_number, ENOEXEC);
}

TEST_F(LauncherTest, RefusesWhatCannotBeACommandBeforeAnythingStarts) {
  std::vector<Command> commands;
  commands.push_back(MakeCommand({}));
  commands.push_back(MakeCommand({""}));
  commands.push_back(MakeCommand({std::string("a\0b", 3)}));
  commands.push_back(MakeCommand({"cat", std::string("a\0b", 3)}));
  commands.push_back(MakeCommand({"cat"}));
  commands.back().cwd = "relative";
  commands.push_back(MakeCommand({"cat"}));
  commands.back().cwd = "";
  commands.push_back(MakeCommand({"cat"}));
  commands.back().env = {{"A=B", "c"}};
  commands.push_back(MakeCommand({"cat"}));
  commands.back().env = {{"", "c"}};
  commands.push_back(MakeCommand({"cat"}));
  commands.back().env = {{"A", std::string("\0", 1)}};
  for (const Command& command : commands) {
    EXPECT_EQ(launcher_->Launch(command, &seen_).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(ChildrenOfThisProcess().empty());
}

TEST_F(LauncherTest, AMissingGuardIsAnErrorAndLeaksNothing) {
  auto launcher =
      NewPosixLauncher(*loop_, {.guard_path = "/nonexistent/guard"});
  const int before = OpenDescriptors();
  const absl::Status status =
      launcher->Launch(MakeCommand({"cat"}), &seen_).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/guard"));
  EXPECT_EQ(OpenDescriptors(), before);
}

// While it lives, this process has no descriptor 0.
class WithoutStdin {
 public:
  WithoutStdin() : copy_(fcntl(0, F_DUPFD_CLOEXEC, 10)) { close(0); }
  ~WithoutStdin() {
    if (copy_) dup2(copy_.get(), 0);
  }

 private:
  const UniqueFd copy_;
};

TEST_F(LauncherTest, AServerWithoutAStdinStartsChildrenAllTheSame) {
  const WithoutStdin without;
  Launch({"cat"});
  EXPECT_TRUE(child_->WriteLine("hello").ok());
  EXPECT_TRUE(RunUntilLine("hello"));
  child_->Stop(absl::Seconds(10));
  EXPECT_TRUE(RunUntilExit());
  child_.reset();
}

TEST_F(LauncherTest, ALowDescriptorThatCannotBeMovedIsClosedOnce) {
  const int before = OpenDescriptors();
  {
    // No gap is left below.
    std::vector<UniqueFd> used;
    do {
      used.emplace_back(dup(1));
    } while (used.back().get() < 8);
    const WithoutStdin without;
    // Room for the two ends of a pipe, of which one is 0, and no more.
    UniqueFd last(dup(1));
    EXPECT_EQ(last.get(), 0);
    last = UniqueFd(dup(1));
    rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(last.get()) + 1;
    last.reset();
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    const absl::Status status =
        launcher_->Launch(MakeCommand({"cat"}), &seen_).status();
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    // A second close would say that it is no descriptor.
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("F_DUPFD"), HasSubstr("Too many open files")));
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(LauncherTest, AChildsEndGivesItsDescriptorsBack) {
  int before = 0;
  for (int i = 0; i < 20; ++i) {
    if (i == 1) before = OpenDescriptors();  // the loop has opened its own
    seen_ = {};
    Launch({"cat"});
    ASSERT_TRUE(child_->WriteLine("x").ok());
    ASSERT_TRUE(RunUntilLine("x"));
    child_->Stop(absl::Seconds(10));
    ASSERT_TRUE(RunUntilExit());
    child_.reset();
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(LauncherTest, StartsAChildInLittleTime) {
  std::vector<absl::Duration> times;
  for (int i = 0; i < 15; ++i) {
    seen_ = {};
    const absl::Time start = absl::Now();
    Launch({"cat"});
    absl::Time started;
    ASSERT_TRUE(child_->WriteLine("x").ok());
    seen_.on_line = [&](const std::string&) { started = absl::Now(); };
    ASSERT_TRUE(RunUntilLine("x"));
    times.push_back(started - start);
    child_->Stop(absl::ZeroDuration());
    ASSERT_TRUE(RunUntilExit());
  }
  // To the program's answer. The best: the machine may be busy.
  const absl::Duration best = *std::min_element(times.begin(), times.end());
  EXPECT_LT(best, absl::Milliseconds(30));
  RecordProperty("best_us", absl::ToInt64Microseconds(best));
}

TEST_F(LauncherTest, A21_LinesAreWrittenWholeAndInOrderWhileNobodyReads) {
  Launch({Misbehaving("never_reads")});
  ASSERT_TRUE(RunUntilLine("ready"));
  uint64_t bytes = 0;
  const int kLines = 3000;  // fifty times what the pipe holds
  for (int i = 0; i < kLines; ++i) {
    const std::string line =
        absl::StrCat("line ", i, " ", std::string(1000, 'x'));
    ASSERT_TRUE(child_->WriteLine(line).ok());
    bytes += line.size() + 1;
    EXPECT_EQ(child_->queued_bytes(), bytes);
  }
  // The pipe took what it holds; a line beyond it has not begun to leave.
  EXPECT_GT(child_->written_bytes(), 0u);
  EXPECT_LT(child_->written_bytes(), 100'000u);
  ASSERT_TRUE(child_->WriteLine("end").ok());
  SendSignal(SIGUSR1);
  ASSERT_TRUE(RunUntilLine(absl::StrCat("read ", bytes, " mangled 0")));
  EXPECT_EQ(child_->written_bytes(), child_->queued_bytes());
}

TEST_F(LauncherTest, A21_AFullQueueRefusesALineAndWritesNothingOfIt) {
  Launch({Misbehaving("never_reads")});
  ASSERT_TRUE(RunUntilLine("ready"));
  const std::string line(1 << 20, 'x');
  absl::Status status;
  int taken = 0;
  while ((status = child_->WriteLine(line)).ok() && taken < 100) ++taken;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(taken, 16);
  EXPECT_LE(taken, 18);
  EXPECT_EQ(child_->queued_bytes(), taken * (line.size() + 1));
  // One line may be longer than the bound.
  seen_ = {};
  Launch({"cat"});
  const std::string huge(20 << 20, 'y');
  ASSERT_TRUE(child_->WriteLine(huge).ok());
  ASSERT_TRUE(loop_.RunUntil([&] { return !seen_.lines.empty(); }));
  EXPECT_TRUE(seen_.lines[0] == huge);
}

TEST_F(LauncherTest, StopWritesWhatIsQueuedFirst) {
  Launch({"cat"});
  const std::string line(200'000, 'z');  // more than the pipe takes at once
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(child_->WriteLine(line).ok());
  child_->Stop(absl::Seconds(20));
  EXPECT_EQ(child_->WriteLine("late").code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(RunUntilExit());
  EXPECT_EQ(seen_.lines.size(), 10u);
  EXPECT_EQ(seen_.exit->exit_code, 0);
}

TEST_F(LauncherTest, LinesMayBeChangedInPlaceAndHavePaddingAfterThem) {
  struct Changing final : Subprocess::Observer {
    void OnStarted(pid_t) override {}
    void OnLine(char* line, size_t size) override {
      volatile char sum = 0;
      for (size_t i = 0; i < kLinePadding; ++i) {
        sum = static_cast<char>(sum + line[size + i]);
      }
      std::fill(line, line + size, '!');
      ++lines;
    }
    void OnLinesDone() override { ++batches; }
    void OnExit(const ExitStatus&) override { exited = true; }
    int lines = 0;
    int batches = 0;
    bool exited = false;
  } changing;
  Launch({"/bin/sh", "-c", "seq 1 20000"});
  child_->set_observer(&changing);
  ASSERT_TRUE(loop_.RunUntil([&] { return changing.exited; }));
  EXPECT_EQ(changing.lines, 20000);
  EXPECT_GT(changing.batches, 0);
  EXPECT_LT(changing.batches, 1000);
}

TEST_F(LauncherTest, AnObserverThatStopsReadingHoldsTheChildUp) {
  Launch({Misbehaving("floods"), "stdout", "flood"});
  ASSERT_TRUE(RunUntilLine("flood"));
  child_->set_reading(false);
  const size_t lines = seen_.lines.size();
  // The child fills the pipe and then waits in the kernel.
  ASSERT_TRUE(
      loop_.RunUntil([&] { return StatField(child_->pid(), 3) == "S"; }));
  EXPECT_EQ(seen_.lines.size(), lines);
  child_->set_reading(true);
  ASSERT_TRUE(loop_.RunUntil([&] { return seen_.lines.size() > lines; }));
}

TEST_F(LauncherTest, WhatADetachedObserverMissedIsThrownAway) {
  Launch({"cat"});
  ASSERT_TRUE(child_->WriteLine("heard").ok());
  ASSERT_TRUE(RunUntilLine("heard"));
  child_->set_observer(nullptr);
  ASSERT_TRUE(child_->WriteLine("missed").ok());
  RecordingObserver next;
  // Until cat has answered: then it waits for more.
  ASSERT_TRUE(loop_.RunUntil([&, looks = 0]() mutable {
    return StatField(child_->pid(), 3) == "S" && ++looks == 20;
  }));
  child_->set_observer(&next);
  ASSERT_TRUE(child_->WriteLine("heard by the next").ok());
  ASSERT_TRUE(
      loop_.RunUntil([&] { return next.HasLine("heard by the next"); }));
  EXPECT_THAT(next.lines, ElementsAre("heard by the next"));
  EXPECT_THAT(seen_.lines, ElementsAre("heard"));
}

TEST_F(LauncherTest, A19_AFloodOfStderrNeitherBlocksTheChildNorFillsMemory) {
  Launch({"/bin/sh", "-c",
          "head -c 30000000 /dev/zero | tr '\\0' e >&2; echo alive; "
          "echo >&2; echo last words >&2; exit 3"});
  ASSERT_TRUE(RunUntilExit());
  EXPECT_THAT(seen_.lines, ElementsAre("alive"));
  EXPECT_EQ(seen_.exit->exit_code, 3);
  EXPECT_LE(seen_.exit->stderr_tail.size(), 4096u);
  EXPECT_THAT(seen_.exit->ToString(), HasSubstr("exited 3: last words"));
}

TEST_F(LauncherTest, A19_StderrIsDrainedWhileReadingIsOff) {
  Launch({"/bin/sh", "-c", "head -c 3000000 /dev/zero >&2; echo one; exit 4"});
  child_->set_reading(false);
  ASSERT_TRUE(RunUntilExit());
  // What a dead child left in the pipe is delivered all the same.
  EXPECT_THAT(seen_.lines, ElementsAre("one"));
  EXPECT_EQ(seen_.exit->exit_code, 4);
}

}  // namespace
}  // namespace understudy::session
