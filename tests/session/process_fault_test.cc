// The ways in which an agent's process goes wrong, each against the whole
// engine: what the caller hears, what the events say, that the session goes on
// in its conversation, and that no process is left.
//
// Most are a row of a table. The agent of a row misbehaves as its faults say
// (understudy-rehearsal --help), in its first process only.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/start_breaker.h"
#include "tests/support/processes.h"
#include "tests/support/real_engine.h"
#include "tests/support/rehearsal_process.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ProcessFaultTest : public ::testing::Test {
 protected:
  ProcessFaultTest() {
    // What is orphaned comes to this process, so that it can tell.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    profile_.name = "rehearsal";
    profile_.kind = "claude";
    profile_.env = {{"HOME", home_.path()},
                    {"CLAUDE_CONFIG_DIR", home_.path()},
                    {"TMPDIR", home_.path()},
                    {"PATH", "/usr/bin:/bin"}};
    // Long enough for a busy machine: it is a wait of those that end by it.
    profile_.stop_grace = absl::Milliseconds(200);
  }
  ~ProcessFaultTest() override {
    engine_ = nullptr;
    EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  // Starts the engine; its first agent has these faults, or each.
  void Start(const std::vector<std::string>& faults, bool each = false) {
    std::string script = absl::StrCat(
        "if [ -e $HOME/first ]", each ? " && false" : "", "; then exec ",
        UNDERSTUDY_REHEARSAL_PROGRAM, " --log=$HOME/log \"$@\"; fi; : > ",
        "$HOME/first; exec ", UNDERSTUDY_REHEARSAL_PROGRAM, " --log=$HOME/log");
    for (const std::string& fault : faults) {
      absl::StrAppend(&script, " '--fault=", fault, "'");
    }
    profile_.command = "/bin/sh";
    profile_.args = {"-c", script + " \"$@\"", "sh"};
    engine_ = std::make_unique<RealEngine>(std::vector<Profile>{profile_},
                                           UNDERSTUDY_GUARD);
    session_ = engine_->Create();
  }

  Pending<SendResult> Say(const std::string& text) {
    return engine_->SendAndWait(session_, text);
  }
  // The session is in its conversation, whatever has happened.
  void ExpectThatItRemembers() {
    const Pending<SendResult> sent = Say("what is the number");
    ASSERT_TRUE(sent.status().ok()) << sent.status();
    EXPECT_THAT(sent->completed->text(), HasSubstr("The number is 4711."));
  }

  // That many of the agents that served have ended; the last one's end.
  v1::AgentExited AwaitExit(size_t count) {
    EXPECT_TRUE(engine_->RunUntilEvents(session_, "agent_exited", count));
    const std::vector<v1::Event> exits =
        engine_->Events(session_, "agent_exited");
    EXPECT_THAT(exits, SizeIs(count));
    return exits.empty() ? v1::AgentExited() : exits.back().agent_exited();
  }
  std::vector<pid_t> Orphans() const {
    std::vector<pid_t> pids;
    for (const auto& entry : home_.Log("orphan")) {
      pids.push_back(entry["child"].get<pid_t>());
    }
    return pids;
  }

  RehearsalHome home_;
  Profile profile_;
  std::unique_ptr<RealEngine> engine_;
  std::string session_;
};

// ---- A turn that meets a fault ----

struct Row {
  std::string name;
  // The second turn meets them.
  std::vector<std::string> faults;
  Reason reason;
  v1::Delivered delivered;
  v1::ExitCause cause;
  int exit_code = 0;
  int signal = SIGKILL;
  std::string stderr_tail = "";
  std::string text = "hello";
  void (*prepare)(Profile& profile) = [](Profile&) {};

  friend void PrintTo(const Row& row, std::ostream* os) { *os << row.name; }
};

std::vector<Row> Rows() {
  constexpr v1::Delivered kMaybe = v1::DELIVERED_MAYBE;
  constexpr v1::Delivered kYes = v1::DELIVERED_YES;
  constexpr v1::ExitCause kProtocol = v1::EXIT_CAUSE_PROTOCOL;
  std::vector<std::string> nonsense(10, "garbage@mid-turn:2");
  // Or it could end by itself before it is killed.
  nonsense.push_back("wedge@mid-turn:2");
  return {
      {.name = "exits",
       .faults = {"stderr@mid-turn:2=key sk-ant-0123456789abcdef is wrong",
                  "crash@mid-turn:2=7"},
       .reason = Reason::kAgentLost,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_EXITED,
       .exit_code = 7,
       .signal = 0,
       .stderr_tail = "key sk-[redacted] is wrong"},
      {.name = "is_killed",
       .faults = {"crash@mid-turn:2"},
       .reason = Reason::kAgentLost,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_SIGNALED},
      {.name = "is_killed_before_it_says_that_it_has_read",
       .faults = {"crash@user:2"},
       .reason = Reason::kAgentLost,
       .delivered = kMaybe,
       .cause = v1::EXIT_CAUSE_SIGNALED},
      {.name = "leaves_a_grandchild_that_holds_its_pipes",
       .faults = {"orphan@turn-start:2", "crash@mid-turn:2"},
       .reason = Reason::kAgentLost,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_SIGNALED},
      {.name = "dies_within_a_line",
       .faults = {"half-line@mid-turn:2", "crash@mid-turn:2"},
       .reason = Reason::kAgentLost,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_SIGNALED},
      {.name = "floods_without_a_newline",
       .faults = {"flood@mid-turn:2"},
       .reason = Reason::kAgentLineTooLong,
       .delivered = kYes,
       .cause = kProtocol,
       .prepare = [](Profile& profile) { profile.max_line_bytes = 1 << 20; }},
      {.name = "writes_a_line_of_64_MiB",
       .faults = {"flood@mid-turn:2=67108864"},
       .reason = Reason::kAgentLineTooLong,
       .delivered = kYes,
       .cause = kProtocol},
      {.name = "writes_ten_lines_of_nonsense",
       .faults = nonsense,
       .reason = Reason::kAgentProtocol,
       .delivered = kYes,
       .cause = kProtocol},
      {.name = "closes_its_stdout_and_lives",
       .faults = {"close-stdout@mid-turn:2"},
       .reason = Reason::kAgentProtocol,
       .delivered = kYes,
       .cause = kProtocol},
      {.name = "closes_its_stdin_and_lives",
       .faults = {"close-stdin@before-result"},
       .reason = Reason::kAgentLost,
       .delivered = v1::DELIVERED_NO,
       .cause = kProtocol},
      {.name = "does_not_read_its_stdin",
       .faults = {"stop-reading@before-result"},
       .reason = Reason::kAgentStalled,
       .delivered = kMaybe,
       .cause = kProtocol,
       .text = std::string(1 << 20, 'x'),
       .prepare =
           [](Profile& profile) { profile.write_timeout = absl::Seconds(1); }},
      {.name = "does_not_end_its_turn_nor_its_interruption",
       .faults = {"wedge@mid-turn:2"},
       .reason = Reason::kAgentUnresponsive,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_UNRESPONSIVE,
       .prepare =
           [](Profile& profile) {
             profile.turn_timeout = absl::Seconds(3);
             profile.interrupt_timeout = absl::Milliseconds(200);
           }},
      {.name = "takes_too_much_memory",
       .faults = {"hog@mid-turn:2=400", "wedge@mid-turn:2"},
       .reason = Reason::kAgentOutOfMemory,
       .delivered = kYes,
       .cause = v1::EXIT_CAUSE_OUT_OF_MEMORY,
       .prepare =
           [](Profile& profile) { profile.max_memory_bytes = 300 << 20; }},
  };
}

class ProcessFaultTableTest : public ProcessFaultTest,
                              public ::testing::WithParamInterface<Row> {};

INSTANTIATE_TEST_SUITE_P(AnAgentThat, ProcessFaultTableTest,
                         ::testing::ValuesIn(Rows()),
                         [](const ::testing::TestParamInfo<Row>& info) {
                           return info.param.name;
                         });

TEST_P(ProcessFaultTableTest, E5_FailsItsTurnAndTheSessionGoesOn) {
  const Row& row = GetParam();
  row.prepare(profile_);
  Start(row.faults);
  ASSERT_TRUE(Say("remember 4711").status().ok());

  const Pending<SendResult> sent = Say(row.text);
  EXPECT_THAT(sent.status(), HasReason(row.reason));
  const ErrorMetadata metadata = MetadataOf(sent.status());
  EXPECT_EQ("DELIVERED_" + metadata.at("delivered"),
            v1::Delivered_Name(row.delivered));
  if (row.reason == Reason::kAgentLost && row.delivered != v1::DELIVERED_NO) {
    EXPECT_EQ(metadata.at(row.signal == 0 ? "exit_code" : "signal"),
              std::to_string(row.signal == 0 ? row.exit_code : row.signal));
  }
  if (!row.stderr_tail.empty()) {
    EXPECT_EQ(metadata.at("stderr_tail"), row.stderr_tail);
    EXPECT_THAT(std::string(sent.status().message()),
                HasSubstr(row.stderr_tail));
  }

  const v1::AgentExited exited = AwaitExit(1);
  EXPECT_EQ(exited.cause(), row.cause);
  EXPECT_EQ(exited.exit_code(), row.exit_code);
  EXPECT_EQ(exited.signal(), row.signal);
  EXPECT_FALSE(exited.expected());
  EXPECT_EQ(exited.stderr_tail(), row.stderr_tail);
  // It is the last of it: no process of it is left when it is told.
  EXPECT_FALSE(IsAlive(exited.pid()));
  for (const pid_t pid : Orphans()) EXPECT_FALSE(IsAlive(pid));
  EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());

  const std::vector<v1::Event> ends =
      engine_->Events(session_, "turn_completed");
  ASSERT_THAT(ends, SizeIs(2));
  const v1::TurnCompleted& completed = ends.back().turn_completed();
  EXPECT_EQ(completed.outcome(), v1::TURN_OUTCOME_AGENT_LOST);
  EXPECT_EQ(completed.delivered(), row.delivered);
  EXPECT_EQ(completed.error().reason(), ReasonName(row.reason));
  EXPECT_EQ(engine_->Info(session_).state, SessionState::kDormant);

  ExpectThatItRemembers();
  EXPECT_THAT(engine_->Events(session_, "agent_exited"), SizeIs(1));
}

// ---- Lines that end nothing ----

class BadLineTest : public ProcessFaultTest,
                    public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(ALineOf, BadLineTest,
                         ::testing::Values("invalid-utf8", "nul", "garbage",
                                           "deep", "flood"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(BadLineTest, IsPassedOnAndTheTurnGoesOn) {
  const std::string fault = GetParam();
  // Long, and within the bound: no more than that.
  profile_.max_line_bytes = size_t{128} << 20;
  Start({fault + "@mid-turn:2" + (fault == "flood" ? "=67108864" : "")});
  ASSERT_TRUE(Say("remember 4711").status().ok());
  const Pending<SendResult> sent = Say("hello");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->completed->outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  if (fault == "invalid-utf8") {
    // Otherwise it is a line like others: it is mended.
    const std::vector<v1::Event> told = engine_->Events(session_, "notice");
    ASSERT_THAT(told, SizeIs(1));
    EXPECT_THAT(told[0].notice().message(), HasSubstr("\xEF\xBF\xBD"));
  } else {
    const std::vector<v1::Event> unknown = engine_->Events(session_, "unknown");
    ASSERT_THAT(unknown, SizeIs(1));
    EXPECT_THAT(unknown[0].raw(), Not(IsEmpty()));
    EXPECT_EQ(unknown[0].truncated_bytes() > 0, fault == "flood");
  }
  EXPECT_THAT(engine_->Events(session_, "agent_exited"), IsEmpty());
  ExpectThatItRemembers();
}

// ---- Starts ----

TEST_F(ProcessFaultTest, AnAgentThatNeverAnswersItsHandshakeIsGivenUp) {
  profile_.start_timeout = absl::Seconds(3);
  Start({"ignore-sigterm@spawn", "orphan@initialize", "wedge@initialize"});
  const Pending<SendResult> sent = Say("remember 4711");
  EXPECT_THAT(sent.status(), HasReason(Reason::kAgentStartTimeout));
  EXPECT_EQ(MetadataOf(sent.status())["delivered"], "NO");
  EXPECT_THAT(engine_->Events(session_, "transition_failed"), SizeIs(1));
  // It has not served.
  EXPECT_THAT(engine_->Events(session_, "agent_exited"), IsEmpty());
  ASSERT_THAT(Orphans(), SizeIs(1));
  EXPECT_TRUE(WaitUntilGone(Orphans(), absl::Seconds(1)));
  EXPECT_TRUE(Say("remember 4711").status().ok());
  ExpectThatItRemembers();
}

TEST_F(ProcessFaultTest, AnAgentThatIsSlowToAnswerItsHandshakeIsWaitedFor) {
  Start({"delay@initialize=700"});
  EXPECT_TRUE(Say("remember 4711").status().ok());
  EXPECT_THAT(engine_->Events(session_, "agent_started"), SizeIs(1));
}

TEST_F(ProcessFaultTest, AnAgentThatWillNotStartSaysWhyWithoutItsSecrets) {
  Start({"stderr@spawn=Bearer abcdefghijklmnop is not a login",
         "crash@initialize=3"});
  const Pending<SendResult> sent = Say("hello");
  EXPECT_THAT(sent.status(), HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(sent.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MetadataOf(sent.status())["exit_code"], "3");
  EXPECT_EQ(MetadataOf(sent.status())["stderr_tail"],
            "Bearer [redacted] is not a login");
  EXPECT_THAT(engine_->Events(session_, "agent_exited"), IsEmpty());
  EXPECT_TRUE(Say("hello").status().ok());
}

TEST_F(ProcessFaultTest, AnAgentThatKeepsDyingIsLeftAlone) {
  Start({"crash@initialize=9"}, /*each=*/true);
  for (size_t i = 0; i < SessionBreaker::kDeaths; ++i) {
    EXPECT_THAT(Say("hello").status(), HasReason(Reason::kAgentStartFailed));
  }
  const Pending<SendResult> refused = Say("hello");
  EXPECT_THAT(refused.status(), HasReason(Reason::kCircuitOpen));
  EXPECT_TRUE(RetryAfterOf(refused.status()).has_value());
  EXPECT_EQ(MetadataOf(refused.status())["exit_code"], "9");
  EXPECT_THAT(home_.Log("spawn"), SizeIs(SessionBreaker::kDeaths));
  EXPECT_TRUE(engine_->Delete(session_).status().ok());
}

TEST_F(ProcessFaultTest, AnAgentThatDiesWhileNobodyNeedsItIsReplacedAtOnce) {
  Start({"crash@after-result=4"});
  Say("remember 4711");
  const v1::AgentExited exited = AwaitExit(1);
  EXPECT_EQ(exited.cause(), v1::EXIT_CAUSE_EXITED);
  EXPECT_EQ(exited.exit_code(), 4);
  ExpectThatItRemembers();
}

// ---- Moves that meet a fault ----

TEST_F(ProcessFaultTest, A22_AMoveThatMeetsAFaultEndsWithAnotherProcess) {
  struct Case {
    std::vector<std::string> faults;
    MoveParams::Kind kind;
    v1::ExitCause cause;
    bool expected;
  };
  for (const Case& c : std::vector<Case>{
           {{"crash@set-model"},
            MoveParams::Kind::kSwitchModel,
            v1::EXIT_CAUSE_SIGNALED,
            false},
           // Not to be had by closing its stdin, nor by SIGTERM.
           {{"ignore-sigterm@turn-start", "wedge@set-model"},
            MoveParams::Kind::kSwitchModel,
            v1::EXIT_CAUSE_STOPPED,
            true},
           {{"close-stdout@set-model"},
            MoveParams::Kind::kSwitchModel,
            v1::EXIT_CAUSE_PROTOCOL,
            false},
           {{"crash@clear"},
            MoveParams::Kind::kClear,
            v1::EXIT_CAUSE_SIGNALED,
            false},
           {{"ignore-sigterm@turn-start", "orphan@turn-start", "wedge@clear"},
            MoveParams::Kind::kClear,
            v1::EXIT_CAUSE_STOPPED,
            true},
       }) {
    SCOPED_TRACE(c.faults.back());
    std::remove((home_.path() + "/first").c_str());
    profile_.switch_timeout = absl::Seconds(2);
    Start(c.faults);
    ASSERT_TRUE(Say("remember 4711").status().ok());
    MoveParams params;
    params.kind = c.kind;
    params.session_id = session_;
    if (c.kind == MoveParams::Kind::kSwitchModel) params.model = "haiku";
    const Pending<MoveResult> moved = engine_->Move(params);
    ASSERT_TRUE(moved.status().ok()) << moved.status();
    EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
    const v1::AgentExited exited = AwaitExit(1);
    EXPECT_EQ(exited.cause(), c.cause);
    EXPECT_EQ(exited.expected(), c.expected);
    EXPECT_EQ(exited.signal(), SIGKILL);
    for (const pid_t pid : Orphans()) EXPECT_FALSE(IsAlive(pid));
    if (c.kind == MoveParams::Kind::kSwitchModel) {
      ExpectThatItRemembers();
    } else {
      EXPECT_TRUE(Say("hello").status().ok());
    }
    EXPECT_THAT(engine_->Events(session_, "agent_started"), SizeIs(2));
  }
}

// ---- Slots that end ----

TEST_F(ProcessFaultTest, A18_WhenASlotEndsNothingOfItsAgentIsLeft) {
  // Deleted while its tools run; given back for having been idle.
  for (const bool deleted : {true, false}) {
    std::remove((home_.path() + "/first").c_str());
    profile_.idle_timeout =
        deleted ? absl::InfiniteDuration() : absl::Milliseconds(100);
    Start({"ignore-sigterm@spawn", "orphan@turn-start"});
    std::vector<pid_t> pids;
    if (deleted) {
      engine_->Send(session_, "!sleep 600");
      ASSERT_TRUE(engine_->RunUntilEvents(session_, "tool_call", 1));
      ASSERT_TRUE(engine_->loop.RunUntil(
          [&] { return home_.Log("tool").size() == 1u; }));
      pids.push_back(home_.Log("tool").back()["child"].get<pid_t>());
    } else {
      ASSERT_TRUE(Say("hello").status().ok());
    }
    for (const pid_t pid : Orphans()) pids.push_back(pid);
    pids.push_back(engine_->Events(session_, "agent_started")
                       .back()
                       .agent_started()
                       .pid());
    if (deleted) {
      ASSERT_TRUE(engine_->Delete(session_).status().ok());
    } else {
      AwaitExit(1);
    }
    for (const pid_t pid : pids) EXPECT_FALSE(IsAlive(pid)) << deleted;
    EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());
  }
}

TEST_F(ProcessFaultTest, A18_WhenTheEngineEndsNothingOfItsAgentsIsLeft) {
  Start({"ignore-sigterm@spawn", "orphan@turn-start"});
  engine_->Send(session_, "!sleep 600");
  ASSERT_TRUE(engine_->RunUntilEvents(session_, "tool_call", 1));
  const std::vector<pid_t> orphans = Orphans();
  ASSERT_THAT(orphans, SizeIs(1));
  engine_ = nullptr;
  for (const pid_t pid : orphans) EXPECT_FALSE(IsAlive(pid));
  EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
