// The server program: its command line, its signals, its exit codes.

#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/program.h"
#include "tests/support/temp_folder.h"

namespace understudy::service {
namespace {

using session::TempFolder;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class UnderstudydTest : public ::testing::Test {
 protected:
  std::vector<std::string> Argv(std::vector<std::string> flags) const {
    flags.insert(flags.begin(),
                 absl::StrCat(UNDERSTUDY_PROGRAMS, "/understudyd"));
    return flags;
  }
  std::vector<std::string> Serving() const {
    return Argv({absl::StrCat("--listen=unix:", folder_.path(), "/run/u.sock"),
                 absl::StrCat("--store=sqlite:", folder_.path(), "/u.db")});
  }
  std::string WriteConfig(const std::string& text) const {
    const std::string path = folder_.path() + "/c.textproto";
    std::ofstream(path) << text;
    return path;
  }

  TempFolder folder_;
};

TEST_F(UnderstudydTest, StopsWithZeroWhenItIsTold) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program program(Serving());
    EXPECT_EQ(
        program.ReadLine(),
        absl::StrCat("listening on unix:", folder_.path(), "/run/u.sock"));
    program.Signal(signal);
    const Program::Result result = program.Wait();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_THAT(result.errors, HasSubstr("stopped"));
  }
}

TEST_F(UnderstudydTest, LogsJsonWhenItIsAsked) {
  std::vector<std::string> argv = Serving();
  argv.push_back("--log-format=json");
  Program program(argv);
  EXPECT_THAT(program.ReadLine(), StartsWith("listening on "));
  program.Signal(SIGTERM);
  EXPECT_THAT(program.Wait().errors, StartsWith("{"));
}

TEST_F(UnderstudydTest, SaysItsVersion) {
  const Program::Result result = Program(Argv({"--version"})).Wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, StartsWith("understudyd 0."));
}

TEST_F(UnderstudydTest, RefusesACommandLineThatIsWrong) {
  for (const char* flag :
       {"--nonsense", "--log-level=loud", "--log-format=xml",
        "--drain-timeout=soon", "--drain-timeout=-1s", "extra"}) {
    EXPECT_EQ(Program(Argv({flag})).Wait().exit_code, 2) << flag;
  }
}

TEST_F(UnderstudydTest, ChecksAConfigurationAndSaysAllThatIsWrong) {
  const std::string good = WriteConfig(
      "listen: '127.0.0.1:0' store: 'memory:'\n"
      "profile { name: 'a' agent: 'claude' command: '/bin/true' }");
  const Program::Result fine =
      Program(Argv({"--check-config", "--config=" + good})).Wait();
  EXPECT_EQ(fine.exit_code, 0) << fine.errors;
  EXPECT_EQ(fine.errors, "");

  const std::string bad = WriteConfig(
      "listen: '0.0.0.0:1'\nstore: 'memory:'\n"
      "profile { name: 'a' agent: 'claude' command: 'no-such-program' }");
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--check-config", "--config=" + bad},
        std::vector<std::string>{"--config=" + bad}}) {
    const Program::Result result = Program(Argv(flags)).Wait();
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.errors, HasSubstr(absl::StrCat(bad, ":1: listen: ")));
    EXPECT_THAT(result.errors,
                HasSubstr(absl::StrCat(bad, ":3: profile \"a\": command: ")));
  }

  const Program::Result missing =
      Program(Argv({"--config=/does/not/exist"})).Wait();
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.errors, HasSubstr("/does/not/exist"));
}

TEST_F(UnderstudydTest, StartsOnNoConfigurationThatIsNotAFile) {
  for (const std::string& path : {folder_.path(), std::string("/dev/null")}) {
    std::vector<std::string> argv = Serving();
    argv.push_back("--config=" + path);
    const Program::Result result = Program(argv).Wait();
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(result.errors, path + ": is neither a file nor a pipe\n");
  }
}

TEST_F(UnderstudydTest, ReadsAConfigurationFromAPipe) {
  const std::string path = folder_.path() + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  Program program(Argv({"--check-config", "--config=" + path}));
  std::ofstream(path) << "listen: '0.0.0.0:1'";
  const Program::Result result = program.Wait();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, HasSubstr(path + ":1: listen: "));
}

TEST_F(UnderstudydTest, RefusesToStartWhereAServerIs) {
  Program first(Serving());
  EXPECT_THAT(first.ReadLine(), StartsWith("listening on "));
  const Program::Result second = Program(Serving()).Wait();
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.errors, StartsWith("understudyd: "));
  first.Signal(SIGTERM);
  EXPECT_EQ(first.Wait().exit_code, 0);
}

}  // namespace
}  // namespace understudy::service
