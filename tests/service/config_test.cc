#include "service/config.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace understudy::service {
namespace {

using session::Profile;
using session::TempFolder;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::filesystem::create_directory(programs_);
    std::filesystem::create_directory(own_);
    Install(own_ + "/understudy-guard");
    Install(own_ + "/understudy-rehearsal");
    environment_.variables = {{"PATH", programs_},
                              {"HOME", folder_.path()},
                              {"LANG", "C.UTF-8"},
                              {"SECRET", "s"},
                              {"LD_PRELOAD", "evil.so"}};
    environment_.program_folder = own_;
    environment_.user = 1234;
  }

  static void Install(const std::string& path) {
    std::ofstream(path) << "#!/bin/sh\n";
    chmod(path.c_str(), 0755);
  }

  ConfigResult Read(const std::string& text) {
    return ReadConfiguration(ConfigFile{"c.textproto", text}, overrides_,
                             environment_);
  }
  ConfigResult ReadNothing() {
    return ReadConfiguration(std::nullopt, overrides_, environment_);
  }

  TempFolder folder_;
  const std::string programs_ = folder_.path() + "/programs";
  const std::string own_ = folder_.path() + "/own";
  Environment environment_;
  Overrides overrides_;
};

TEST_F(ConfigTest, OffersARehearsalWithoutAFile) {
  const ConfigResult result = ReadNothing();
  EXPECT_THAT(result.problems, IsEmpty());
  const Configuration& configuration = result.configuration;
  ASSERT_THAT(configuration.listeners, SizeIs(1));
  EXPECT_EQ(configuration.listeners[0].address.ToString(),
            "unix:/tmp/understudy-1234/understudy/understudy.sock");
  EXPECT_TRUE(configuration.listeners[0].is_default);
  EXPECT_EQ(configuration.store,
            absl::StrCat("sqlite:", folder_.path(),
                         "/.local/state/understudy/understudy.db"));
  EXPECT_EQ(configuration.guard, own_ + "/understudy-guard");
  ASSERT_THAT(configuration.engine.profiles, SizeIs(1));
  const Profile& profile = configuration.engine.profiles[0];
  EXPECT_EQ(profile.name, "rehearsal");
  EXPECT_EQ(profile.kind, "claude");
  EXPECT_EQ(profile.command, own_ + "/understudy-rehearsal");
  EXPECT_THAT(profile.env,
              ElementsAre(Pair("HOME", folder_.path()), Pair("LANG", "C.UTF-8"),
                          Pair("PATH", programs_)));
  EXPECT_THAT(configuration.rules.agents, ElementsAre("rehearsal"));
}

TEST_F(ConfigTest, OffersTheAgentsThatItFinds) {
  Install(programs_ + "/claude");
  environment_.variables["ANTHROPIC_API_KEY"] = "k";
  const ConfigResult result = ReadNothing();
  EXPECT_THAT(result.configuration.rules.agents,
              ElementsAre("rehearsal", "claude"));
  const std::vector<Profile>& profiles = result.configuration.engine.profiles;
  EXPECT_EQ(profiles[1].command, programs_ + "/claude");
  EXPECT_EQ(profiles[1].env.count("ANTHROPIC_API_KEY"), 1u);
  EXPECT_EQ(profiles[0].env.count("ANTHROPIC_API_KEY"), 0u);
  EXPECT_EQ(profiles[1].env.count("SECRET"), 0u);
}

TEST_F(ConfigTest, OffersAgentsThatSpeakAcpWithWhatMakesThemSpeakIt) {
  for (const char* program : {"/opencode", "/gemini", "/codex-acp"}) {
    Install(programs_ + program);
  }
  environment_.variables["GEMINI_API_KEY"] = "k";
  const std::vector<Profile> profiles =
      ReadNothing().configuration.engine.profiles;
  ASSERT_THAT(profiles, SizeIs(4));
  EXPECT_EQ(profiles[1].name, "opencode");
  EXPECT_EQ(profiles[1].kind, "acp");
  EXPECT_THAT(profiles[1].args, ElementsAre("acp"));
  EXPECT_EQ(profiles[2].name, "gemini");
  EXPECT_THAT(profiles[2].args, ElementsAre("--acp"));
  EXPECT_EQ(profiles[2].env.count("GEMINI_API_KEY"), 1u);
  EXPECT_EQ(profiles[3].name, "codex");
  EXPECT_EQ(profiles[3].command, programs_ + "/codex-acp");
  EXPECT_THAT(profiles[3].args, IsEmpty());
  EXPECT_EQ(profiles[3].permission_mode, "workspace-write");
  EXPECT_EQ(profiles[3].env.count("GEMINI_API_KEY"), 0u);
}

TEST_F(ConfigTest, AProcessMayServeSeveralSessionsWhereTheKindCan) {
  Install(programs_ + "/agent");
  const ConfigResult result =
      Read("store: 'memory:' profile { name: 'a' agent: 'acp' command: 'agent' "
           "sessions_per_process: 3 auth_method: 'api-key' "
           "disable: 'resume' }");
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.warnings, IsEmpty());
  const Profile& profile = result.configuration.engine.profiles.at(0);
  EXPECT_EQ(profile.sessions_per_process, 3);
  EXPECT_EQ(profile.auth_method, "api-key");
  EXPECT_FALSE(profile.native_resume);
}

TEST_F(ConfigTest, FollowsTheDesktopsFolders) {
  environment_.variables["XDG_RUNTIME_DIR"] = "/run/user/1234";
  environment_.variables["XDG_STATE_HOME"] = "/state";
  const Configuration configuration = ReadNothing().configuration;
  EXPECT_EQ(configuration.listeners[0].address.ToString(),
            "unix:/run/user/1234/understudy/understudy.sock");
  EXPECT_EQ(configuration.store, "sqlite:/state/understudy/understudy.db");
}

TEST_F(ConfigTest, LetsFlagsOverrideTheFile) {
  const std::string text =
      "listen: 'unix:/a.sock' listen: '127.0.0.1:7' store: 'sqlite:/a'";
  EXPECT_THAT(Read(text).configuration.listeners, SizeIs(2));
  EXPECT_FALSE(Read(text).configuration.listeners[0].is_default);
  overrides_.listen = {"unix:/b.sock"};
  overrides_.store = "memory:";
  const Configuration configuration = Read(text).configuration;
  ASSERT_THAT(configuration.listeners, SizeIs(1));
  EXPECT_EQ(configuration.listeners[0].address.ToString(), "unix:/b.sock");
  EXPECT_EQ(configuration.store, "memory:");
}

TEST_F(ConfigTest, ReadsEveryField) {
  Install(programs_ + "/agent");
  std::filesystem::create_directory_symlink(programs_,
                                            folder_.path() + "/link");
  const ConfigResult result = Read(absl::StrCat(R"(
    listen: "127.0.0.1:0"
    store: "memory:"
    working_directory_root: ")",
                                                folder_.path(), R"(/link"
    max_text_bytes: 1000
    max_queued_messages: 2
    max_slots: 3
    event_retention { max_age { seconds: 3600 } max_events: 5000 }
    progress_interval { nanos: 200000000 }
    max_line_bytes: 100000
    interrupt_timeout { seconds: 1 }
    stop_grace { seconds: 2 }
    drain_timeout { seconds: 4 }
    profile {
      name: "a"
      agent: "claude"
      command: "agent"
      arg: "--one"
      arg: "two words; $(not) a `shell`"
      env { key: "MODE" value: "x" }
      pass_env: "SECRET"
      pass_env: "UNSET"
      default_model: "opus[1m]"
      permission_mode: "acceptEdits"
      permission_policy: PERMISSION_POLICY_DENY
      native_switch: NATIVE_SWITCH_NEVER
      disable: "clear"
      disable: "interrupt"
      start_timeout { seconds: 5 }
      switch_timeout { seconds: 6 }
      turn_timeout { seconds: 7 }
      permission_timeout { seconds: 8 }
      idle_timeout { seconds: 9 }
      max_slots: 2
      max_memory_bytes: 536870912
    })"));
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.warnings, IsEmpty());
  const Configuration& configuration = result.configuration;
  EXPECT_THAT(configuration.rules.working_directory_roots,
              ElementsAre(programs_));
  EXPECT_EQ(configuration.rules.max_text_bytes, 1000u);
  EXPECT_EQ(configuration.engine.max_queued_messages, 2);
  EXPECT_EQ(configuration.engine.max_slots, 3);
  EXPECT_EQ(configuration.engine.event_max_age, absl::Hours(1));
  EXPECT_EQ(configuration.engine.event_max_count, 5000u);
  EXPECT_EQ(configuration.progress_interval, absl::Milliseconds(200));
  EXPECT_EQ(configuration.drain_timeout, absl::Seconds(4));
  ASSERT_THAT(configuration.engine.profiles, SizeIs(1));
  const Profile& profile = configuration.engine.profiles[0];
  EXPECT_EQ(profile.name, "a");
  EXPECT_EQ(profile.kind, "claude");
  EXPECT_EQ(profile.command, programs_ + "/agent");
  EXPECT_THAT(profile.args,
              ElementsAre("--one", "two words; $(not) a `shell`"));
  // Nothing but what was named.
  EXPECT_THAT(profile.env, ElementsAre(Pair("MODE", "x"), Pair("SECRET", "s")));
  EXPECT_EQ(profile.default_model, "opus[1m]");
  EXPECT_EQ(profile.permission_mode, "acceptEdits");
  EXPECT_EQ(profile.permission_policy, Profile::PermissionPolicy::kDeny);
  EXPECT_FALSE(profile.native_switch);
  EXPECT_FALSE(profile.native_clear);
  EXPECT_TRUE(profile.native_resume);
  EXPECT_FALSE(profile.interrupt);
  EXPECT_TRUE(profile.permissions);
  EXPECT_EQ(profile.start_timeout, absl::Seconds(5));
  EXPECT_EQ(profile.switch_timeout, absl::Seconds(6));
  EXPECT_EQ(profile.turn_timeout, absl::Seconds(7));
  EXPECT_EQ(profile.permission_timeout, absl::Seconds(8));
  EXPECT_EQ(profile.idle_timeout, absl::Seconds(9));
  EXPECT_EQ(profile.interrupt_timeout, absl::Seconds(1));
  EXPECT_EQ(profile.stop_grace, absl::Seconds(2));
  EXPECT_EQ(profile.max_line_bytes, 100000u);
  EXPECT_EQ(profile.max_slots, 2);
  EXPECT_EQ(profile.max_memory_bytes, 512u << 20);
}

TEST_F(ConfigTest, NamesTheLineOfWhatItCannotParse) {
  EXPECT_THAT(
      Read("listen: 'unix:/a.sock'\nnonsense: 1\nmax_slots: 2\n"
           "more_nonsense: 2")
          .problems,
      ElementsAre(
          AllOf(StartsWith("c.textproto:2:"), HasSubstr("nonsense")),
          AllOf(StartsWith("c.textproto:4:"), HasSubstr("more_nonsense"))));
  EXPECT_THAT(Read("\n\nmax_slots: 'x'").problems,
              ElementsAre(StartsWith("c.textproto:3:")));
  EXPECT_THAT(Read("profile {\n  name: 'a'\n").problems,
              ElementsAre(StartsWith("c.textproto:3:")));
  EXPECT_THAT(Read("profile {\n native_switch: SOMETIMES }").problems,
              ElementsAre(StartsWith("c.textproto:2:")));
}

TEST_F(ConfigTest, AProblemIsOneLineWhateverItQuotes) {
  const std::vector<std::string> problems =
      Read("listen: '0.0.4.\\n7:1'").problems;
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].find('\n'), std::string::npos) << problems[0];
}

TEST_F(ConfigTest, ReportsEverythingThatIsWrong) {
  const ConfigResult result = Read(absl::StrCat(R"(listen: "0.0.0.0:1"
store: "mysql:x"
working_directory_root: "relative"
working_directory_root: "/does/not/exist"
working_directory_root: "/dev/null"
max_text_bytes: -1
max_queued_messages: 10001
max_slots: 5000
event_retention { max_age { seconds: 1 } max_events: 5 }
progress_interval { seconds: 31 }
max_line_bytes: 1
interrupt_timeout { nanos: 1 }
stop_grace { seconds: -1 }
drain_timeout { seconds: 10000 }
profile {
  name: "-a"
  agent: "unheard-of"
  command: "missing-program"
  arg: "a\000b"
  env { key: "A=B" value: "" }
  pass_env: "1X"
  default_model: "-m"
  permission_mode: "a b"
  disable: "everything"
  start_timeout { seconds: 10000 }
  turn_timeout { nanos: 1 }
  max_slots: 100
  warm: 100
  sessions_per_process: 10001 max_memory_bytes: 16777215
}
profile { name: "b" agent: "claude" command: "./relative" }
profile { name: "b" agent: "claude" command: "/dev/null" }
profile { agent: "claude" }
)"));
  const auto at = [](int line, std::string_view what) {
    return AllOf(StartsWith(absl::StrCat("c.textproto:", line, ": ")),
                 HasSubstr(std::string(what)));
  };
  EXPECT_THAT(
      result.problems,
      UnorderedElementsAre(
          at(1, "TLS"), at(2, "store: "), at(3, "working_directory_root: "),
          at(4, "/does/not/exist"), at(5, "not a directory"),
          at(6, "max_text_bytes: "), at(7, "max_queued_messages: "),
          at(8, "max_slots: "), at(9, "event_retention: max_age: "),
          at(9, "event_retention: max_events: "), at(10, "progress_interval: "),
          at(11, "max_line_bytes: "), at(12, "interrupt_timeout: "),
          at(13, "stop_grace: "), at(14, "drain_timeout: "),
          at(16, "profile \"-a\": name: "), at(17, "profile \"-a\": agent: "),
          at(18, "profile \"-a\": command: there is no program"),
          at(19, "profile \"-a\": arg: "), at(20, "profile \"-a\": env: "),
          at(21, "profile \"-a\": pass_env: "),
          at(22, "profile \"-a\": default_model: "),
          at(23, "profile \"-a\": permission_mode: "),
          at(24, "profile \"-a\": disable: "),
          at(25, "profile \"-a\": start_timeout: "),
          at(26, "profile \"-a\": turn_timeout: "),
          at(27, "profile \"-a\": max_slots: "),
          at(28, "profile \"-a\": warm: "),
          at(29, "profile \"-a\": sessions_per_process: "),
          at(29, "profile \"-a\": max_memory_bytes: "),
          at(31, "profile \"b\": command: must be an absolute path or a name"),
          at(32, "profile \"b\": name: is that of another profile"),
          at(32, "profile \"b\": command: /dev/null is not a program"),
          at(33, "profile \"\": name: "),
          at(33, "profile \"\": command: there is no program claude")));
}

TEST_F(ConfigTest, ReportsBadFlagsAndMissingPrograms) {
  overrides_.listen = {"1.2.3.4:5"};
  overrides_.store = "nothing";
  environment_.program_folder = folder_.path();
  EXPECT_THAT(
      ReadNothing().problems,
      UnorderedElementsAre(HasSubstr("1.2.3.4:5"), StartsWith("--store: "),
                           HasSubstr("profile: there is none"),
                           HasSubstr("understudy-guard is missing")));
  overrides_ = {};
  environment_.variables.erase("HOME");
  EXPECT_THAT(ReadNothing().problems, Contains(HasSubstr("XDG_STATE_HOME")));
}

TEST_F(ConfigTest, SaysWhatHasNoEffect) {
  const ConfigResult result = Read(
      "profile { name: 'a' agent: 'claude' command: 'understudy-rehearsal' "
      "warm: 2 sessions_per_process: 3 disable: 'clear' disable: 'resume' }");
  EXPECT_THAT(result.problems, IsEmpty());
  EXPECT_THAT(result.warnings,
              ElementsAre(HasSubstr("\"a\": warm"),
                          HasSubstr("\"a\": sessions_per_process"),
                          HasSubstr("\"a\": disable: \"resume\"")));
  // Also for a profile of a file, our own program is the one beside us.
  EXPECT_EQ(result.configuration.engine.profiles[0].command,
            own_ + "/understudy-rehearsal");
}

}  // namespace
}  // namespace understudy::service
