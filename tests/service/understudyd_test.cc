// The server program: its command line, its signals, its exit codes.

#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/program.h"
#include "tests/support/processes.h"
#include "tests/support/real_loop.h"
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

  // The agent, its tool and its orphan, by its log.
  std::set<pid_t> AwaitFamily() const {
    const std::regex number("\"(pid|child)\":([0-9]+)");
    std::set<pid_t> pids;
    session::RealLoop loop;
    EXPECT_TRUE(loop.RunUntil([&] {
      std::stringstream log;
      log << std::ifstream(folder_.path() + "/log").rdbuf();
      const std::string text = log.str();
      for (std::sregex_iterator it(text.begin(), text.end(), number), end;
           it != end; ++it) {
        pids.insert(std::stoi((*it)[2]));
      }
      return pids.size() == 3;
    }));
    return pids;
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

// An agent that ignores SIGTERM, one of its tools, and what a tool has left in
// a session of its own.
TEST_F(UnderstudydTest, A18_NothingIsLeftASecondAfterItEndsHoweverItEnds) {
  const std::string config = WriteConfig(absl::StrCat(
      "listen: 'unix:", folder_.path(), "/run/u.sock' store: 'memory:'\n",
      "drain_timeout { nanos: 200000000 } stop_grace { nanos: 200000000 }\n",
      "profile { name: 'r' agent: 'claude' command: 'understudy-rehearsal'\n",
      "  env { key: 'CLAUDE_CONFIG_DIR' value: '", folder_.path(), "' }\n",
      "  pass_env: 'PATH' arg: '--log=", folder_.path(), "/log'\n",
      "  arg: '--fault=orphan@turn-start' arg: '--fault=ignore-sigterm@spawn'",
      " }"));
  for (const int signal : {SIGTERM, SIGKILL}) {
    std::ofstream(folder_.path() + "/log").close();
    Program server(Argv({"--config=" + config}));
    ASSERT_THAT(server.ReadLine(), StartsWith("listening on "));
    const auto call = [this](std::vector<std::string> arguments) {
      arguments.insert(
          arguments.begin(),
          {UNDERSTUDYCTL,
           absl::StrCat("--server=unix:", folder_.path(), "/run/u.sock")});
      const Program::Result result = Program(arguments).Wait();
      EXPECT_EQ(result.exit_code, 0) << result.errors;
      return result.output.substr(0, result.output.find('\n'));
    };
    const std::string session =
        call({"create", "--directory=" + folder_.path()});
    call({"send", session, "!sleep 600", "--no-wait"});
    const std::set<pid_t> pids = AwaitFamily();
    for (const pid_t pid : pids) EXPECT_TRUE(session::IsAlive(pid));
    server.Signal(signal);
    server.Wait();
    EXPECT_TRUE(
        session::WaitUntilGone({pids.begin(), pids.end()}, absl::Seconds(1)))
        << "signal " << signal;
  }
}

TEST_F(UnderstudydTest, ARequestThatIsSentAgainShowsItsTurnAgain) {
  const std::string config = WriteConfig(absl::StrCat(
      "listen: 'unix:", folder_.path(), "/run/u.sock' store: 'memory:'\n",
      "profile { name: 'r' agent: 'claude' command: 'understudy-rehearsal'\n",
      "  env { key: 'CLAUDE_CONFIG_DIR' value: '", folder_.path(), "' } }"));
  Program server(Argv({"--config=" + config}));
  ASSERT_THAT(server.ReadLine(), StartsWith("listening on "));
  const auto call = [this](std::vector<std::string> arguments) {
    arguments.insert(
        arguments.begin(),
        {UNDERSTUDYCTL, "--timeout=20",
         absl::StrCat("--server=unix:", folder_.path(), "/run/u.sock")});
    const Program::Result result = Program(arguments).Wait();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return result.output;
  };
  std::string session = call({"create", "--directory=" + folder_.path()});
  session.resize(session.find('\n'));
  const std::vector<std::string> send = {
      "send", session, "hello",
      "--request-id=11111111-1111-4111-8111-111111111111"};
  const std::string first = call(send);
  EXPECT_THAT(first, HasSubstr("hello"));
  EXPECT_EQ(call(send), first);
  call({"send", session, "and on"});
  EXPECT_EQ(call(send), first);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait().exit_code, 0);
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
