// The contract of agent.h, for every kind in agents.def: real processes of the
// rehearsal agent, which speaks each kind's protocol, behind the real launcher
// on a real loop.

#include <errno.h>
#include <signal.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/agent/shared_process.h"
#include "session/base/id.h"
#include "session/base/utf8.h"
#include "session/process/subprocess.h"
#include "session/process/sweep.h"
#include "tests/support/agent_owner.h"
#include "tests/support/processes.h"
#include "tests/support/real_loop.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::StartsWith;

// A way in which the rehearsal agent speaks a kind's protocol, and what that
// way can say.
struct Dialect {
  std::string kind;
  std::string name;
  std::vector<std::string> args;
  // A model that does not exist is refused when it is switched to, and when a
  // process is started with it; else the next turn shows it.
  bool checks_models = true;
  bool checks_model_of_start = false;
  // It says which model a name has come to.
  bool names_model = true;
  // What the tool Bash is called.
  std::string bash = "Bash";
  // Why a permission is denied is told to the model.
  bool says_why = true;
  // What was allowed for the session is told to a later process.
  bool keeps_grants = true;
  // A process that goes on with a conversation says what that has cost.
  bool tells_total = true;
  // It has tasks beside its turns, and turns of its own.
  bool works_alone = true;
  // A running process opens a conversation that another had, keeps one open
  // that it has left, and lists those that there are.
  bool loads = false;
  bool holds = false;
  bool lists = false;
  // Its process could serve others too.
  bool shared = false;

  friend void PrintTo(const Dialect& dialect, std::ostream* os) {
    *os << dialect.name;
  }
};

std::vector<Dialect> Dialects() {
  const Dialect claude = {.kind = "claude", .name = "claude", .args = {}};
  Dialect claude_legacy = claude;
  claude_legacy.name = "claude_legacy";
  claude_legacy.args = {"--legacy"};
  claude_legacy.checks_models = false;
  const Dialect acp = {.kind = "acp",
                       .name = "acp",
                       .args = {"--protocol=acp"},
                       .checks_model_of_start = true,
                       .bash = "execute",
                       .says_why = false,
                       .keeps_grants = false,
                       .tells_total = false,
                       .works_alone = false,
                       .loads = true,
                       .holds = true,
                       .lists = true};
  Dialect acp_older = acp;
  acp_older.name = "acp_older";
  acp_older.args = {"--protocol=acp", "--acp-models=legacy",
                    "--acp-modes=modes", "--acp-any-model",
                    "--acp-without=resume,close,list"};
  acp_older.checks_models = false;
  acp_older.checks_model_of_start = false;
  acp_older.names_model = false;
  acp_older.lists = false;
  Dialect acp_shared = acp;
  acp_shared.name = "acp_shared";
  acp_shared.shared = true;
  return {claude, claude_legacy, acp, acp_older, acp_shared};
}

TEST(AgentContractCoverageTest, EveryKindIsTested) {
  std::set<std::string> tested;
  for (const Dialect& dialect : Dialects()) tested.insert(dialect.kind);
  for (const std::string_view kind : AgentKindNames()) {
    EXPECT_THAT(tested, Contains(std::string(kind)));
  }
}

class AgentContractTest : public ::testing::TestWithParam<Dialect> {
 protected:
  AgentContractTest() {
    profile_.name = GetParam().name;
    profile_.kind = GetParam().kind;
    profile_.command = UNDERSTUDY_REHEARSAL_PROGRAM;
    profile_.args = GetParam().args;
    profile_.env = {{"HOME", home_.path()},
                    {"CLAUDE_CONFIG_DIR", home_.path() + "/config"},
                    {"TMPDIR", home_.path()},
                    {"PATH", "/usr/bin:/bin"}};
    opening_.model = "claude-sonnet-5-5";
    opening_.working_directory = home_.path();
  }

  // No process of any test outlives it.
  ~AgentContractTest() override {
    owner_.agent.reset();
    shared_.reset();
    launcher_.reset();
    EXPECT_THAT(ChildrenOfThisProcess(), IsEmpty());
  }

  void Fault(const std::string& fault) {
    profile_.args.push_back("--fault=" + fault);
  }

  absl::Status Make() {
    owner_.Take();
    owner_.loss.reset();
    Launcher* launcher = launcher_.get();
    if (GetParam().shared) {
      shared_ = SharedProcess::Create(*loop_, *launcher_);
      launcher = shared_.get();
    }
    auto made = FindAgentKind(GetParam().kind)
                    ->make(*loop_, *launcher, profile_, opening_, &owner_);
    if (!made.ok()) return made.status();
    owner_.agent = *std::move(made);
    return absl::OkStatus();
  }

  Agent& agent() { return *owner_.agent; }

  // What the handshake comes to.
  absl::Status Start() {
    if (absl::Status made = Make(); !made.ok()) return made;
    std::optional<absl::Status> ready;
    bool inside = true;
    agent().Start([&](absl::Status status) {
      EXPECT_FALSE(inside) << "called from inside the call";
      EXPECT_FALSE(ready.has_value()) << "called twice";
      EXPECT_FALSE(owner_.loss.has_value()) << "called after OnLost";
      ready = std::move(status);
    });
    inside = false;
    EXPECT_TRUE(loop_.RunUntil([&] { return ready.has_value(); }));
    return ready.value_or(absl::DeadlineExceededError("never ready"));
  }

  // What a change comes to that `begin` begins.
  absl::Status Outcome(const std::function<void(Done)>& begin) {
    std::optional<absl::Status> done;
    bool inside = true;
    begin([&](absl::Status status) {
      EXPECT_FALSE(inside) << "called from inside the call";
      EXPECT_FALSE(done.has_value()) << "called twice";
      done = std::move(status);
    });
    inside = false;
    EXPECT_TRUE(loop_.RunUntil([&] { return done.has_value(); }));
    return done.value_or(absl::DeadlineExceededError("never done"));
  }
  absl::Status Apply(const Change& change) {
    return Outcome([&](Done done) { agent().Apply(change, std::move(done)); });
  }
  absl::Status SetMode(const std::string& mode) {
    return Outcome(
        [&](Done done) { agent().SetPermissionMode(mode, std::move(done)); });
  }

  [[nodiscard]] bool RunUntilLogged(const std::string& beginning) {
    return loop_.RunUntil([&] {
      for (const std::string& line : owner_.log) {
        if (absl::StartsWith(line, beginning)) return true;
      }
      return false;
    });
  }

  std::string Send(const std::string& text) {
    const std::string id = NewUuid();
    agent().Send({id, text});
    return id;
  }

  // A whole turn. Its end; one without an outcome if it does not come.
  TurnEnd Turn(const std::string& text) {
    const std::string id = Send(text);
    return EndOf(id);
  }
  TurnEnd EndOf(const std::string& id) {
    const auto ended = [&]() -> const TurnEnd* {
      for (const TurnEnd& end : owner_.ends) {
        if (end.turn_id == id) return &end;
      }
      return nullptr;
    };
    EXPECT_TRUE(loop_.RunUntil(
        [&] { return ended() != nullptr || owner_.loss.has_value(); }));
    if (ended() != nullptr) return *ended();
    ADD_FAILURE() << "no end of the turn";
    return {.outcome = v1::TURN_OUTCOME_UNSPECIFIED};
  }

  [[nodiscard]] bool RunUntilLost() {
    return loop_.RunUntil([&] { return owner_.loss.has_value(); });
  }

  TempFolder home_;
  RealLoop loop_;
  std::unique_ptr<Launcher> launcher_ =
      NewPosixLauncher(*loop_, {.guard_path = UNDERSTUDY_GUARD,
                                .marker_name = "UNDERSTUDY_TEST_MARK",
                                .marker_value = NewServerMark().value_or("")});
  std::shared_ptr<SharedProcess> shared_;
  Profile profile_;
  Opening opening_;
  AgentOwner owner_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, AgentContractTest,
                         ::testing::ValuesIn(Dialects()),
                         [](const ::testing::TestParamInfo<Dialect>& info) {
                           return info.param.name;
                         });

TEST_P(AgentContractTest, StartsAndSaysWhatItIs) {
  ASSERT_THAT(Start(), IsOk());
  EXPECT_GT(agent().pid(), 0);
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_THAT(agent().models(), Not(IsEmpty()));
  EXPECT_THAT(owner_.log, IsEmpty()) << "a handshake is no event";
}

TEST_P(AgentContractTest, ATurnIsToldInItsOrder) {
  ASSERT_THAT(Start(), IsOk());
  const std::string id = Send("!think hm\nhello");
  EXPECT_THAT(owner_.log, IsEmpty()) << "called from inside the call";
  const TurnEnd end = EndOf(id);
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_THAT(end.text, HasSubstr("model=claude-sonnet-5-5"));
  EXPECT_EQ(owner_.log.front(), "started " + id);
  EXPECT_THAT(owner_.log.back(), StartsWith("ended " + id));
  EXPECT_THAT(owner_.log, Contains(StartsWith("thought ")));
  // The deltas add up to the message.
  std::string deltas;
  for (const std::string& line : owner_.log) {
    if (absl::StartsWith(line, "text \"")) {
      deltas += line.substr(6, line.size() - 7);
    }
  }
  EXPECT_THAT(owner_.log, Contains("message \"" + deltas + "\""));
  EXPECT_EQ(deltas, end.text);
  EXPECT_TRUE(loop_.RunUntil([&] { return owner_.quiet > 0; }));
}

TEST_P(AgentContractTest, A1_AChangedModelKeepsProcessAndConversation) {
  ASSERT_THAT(Start(), IsOk());
  Turn("remember 4711");
  const pid_t pid = agent().pid();
  const std::string conversation = agent().current().conversation;
  ASSERT_THAT(Apply({.model = "haiku"}), IsOk());
  EXPECT_EQ(agent().current().model,
            GetParam().names_model ? "claude-haiku-5-5" : "haiku");
  EXPECT_EQ(agent().current().verified, GetParam().names_model);
  EXPECT_THAT(Turn("what is the number").text,
              HasSubstr("The number is 4711."));
  EXPECT_THAT(Turn("hello").text, HasSubstr("model=claude-haiku-5-5"));
  EXPECT_EQ(agent().pid(), pid);
  EXPECT_EQ(agent().current().conversation, conversation);
  ASSERT_THAT(Apply({.model = ""}), IsOk());
  EXPECT_THAT(Turn("hello").text,
              HasSubstr("model=" + agent().current().model));
  EXPECT_THAT(owner_.log, Not(Contains(StartsWith("state "))));
}

TEST_P(AgentContractTest, ARejectedModelChangesNothing) {
  ASSERT_THAT(Start(), IsOk());
  const absl::Status changed = Apply({.model = "claude-bogus-9"});
  if (!GetParam().checks_models) {
    // It takes every model; the next turn shows whether there is one.
    EXPECT_THAT(changed, IsOk());
    EXPECT_EQ(Turn("hello").error_reason, "MODEL_REJECTED");
    return;
  }
  EXPECT_THAT(changed, HasReason(Reason::kModelRejected));
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_THAT(Turn("hello").text, HasSubstr("model=claude-sonnet-5-5"));
}

TEST_P(AgentContractTest, AModelThatFailsATurnIsRecognised) {
  opening_.model = "claude-bogus-9";
  if (GetParam().checks_model_of_start) {
    EXPECT_THAT(Start(), HasReason(Reason::kModelRejected));
    ASSERT_TRUE(RunUntilLost());
    EXPECT_THAT(owner_.loss->why, HasReason(Reason::kModelRejected));
    return;
  }
  ASSERT_THAT(Start(), IsOk());
  const TurnEnd end = Turn("hello");
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_THAT(end.error, HasReason(Reason::kModelRejected));
  EXPECT_EQ(end.error_reason, "MODEL_REJECTED");
}

TEST_P(AgentContractTest, AClearForgetsAndAResumeRemembers) {
  ASSERT_THAT(Start(), IsOk());
  Turn("remember 4711");
  const std::string first = agent().current().conversation;
  const pid_t pid = agent().pid();
  ASSERT_THAT(Apply({.model = "claude-sonnet-5-5", .conversation = ""}),
              IsOk());
  EXPECT_NE(agent().current().conversation, first);
  EXPECT_EQ(agent().pid(), pid);
  EXPECT_THAT(Turn("what is the number").text,
              HasSubstr("I know of no number."));

  agent().Stop(profile_.stop_grace);
  ASSERT_TRUE(RunUntilLost());
  opening_.conversation = first;
  opening_.model = "claude-haiku-5-5";
  ASSERT_THAT(Start(), IsOk());
  EXPECT_EQ(agent().current().conversation, first);
  EXPECT_EQ(agent().current().model, "claude-haiku-5-5");
  EXPECT_THAT(Turn("what is the number").text,
              HasSubstr("The number is 4711."));
}

TEST_P(AgentContractTest, AConversationThatWasLeftIsGoneBackTo) {
  ASSERT_THAT(Start(), IsOk());
  Turn("remember 4711");
  const std::string first = agent().current().conversation;
  EXPECT_FALSE(agent().Holds(first)) << "it is the current one";
  ASSERT_THAT(Apply({.conversation = ""}), IsOk());
  const std::string second = agent().current().conversation;
  EXPECT_EQ(agent().Holds(first), GetParam().holds);
  EXPECT_FALSE(agent().Holds(NewUuid()));
  const absl::Status back = Apply({.conversation = first});
  if (!GetParam().holds) {
    EXPECT_THAT(back, HasReason(Reason::kCapabilityMissing));
    EXPECT_EQ(agent().current().conversation, second);
    return;
  }
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(agent().current().conversation, first);
  EXPECT_TRUE(agent().Holds(second));
  EXPECT_FALSE(agent().Holds(first));
  EXPECT_THAT(Turn("what is the number").text,
              HasSubstr("The number is 4711."));
  EXPECT_THAT(Turn("hello").text, HasSubstr("model=claude-sonnet-5-5"));
}

TEST_P(AgentContractTest, AConversationOfAnotherProcessIsLoadedIfItCan) {
  ASSERT_THAT(Start(), IsOk());
  EXPECT_TRUE(agent().capabilities().resume_conversation);
  Turn("remember 4711");
  const std::string first = agent().current().conversation;
  agent().Stop(profile_.stop_grace);
  ASSERT_TRUE(RunUntilLost());
  ASSERT_THAT(Start(), IsOk());
  EXPECT_EQ(agent().capabilities().load_conversation, GetParam().loads);
  const std::string second = agent().current().conversation;
  EXPECT_NE(second, first);
  owner_.Take();
  for (const std::string& conversation : {NewUuid(), first}) {
    const bool exists = conversation == first;
    const absl::Status loaded = Apply({.conversation = conversation});
    if (GetParam().loads && exists) {
      EXPECT_THAT(loaded, IsOk());
    } else {
      EXPECT_THAT(loaded,
                  HasReason(GetParam().loads ? Reason::kConversationNotFound
                                             : Reason::kCapabilityMissing));
      EXPECT_EQ(agent().current().conversation, second);
    }
    EXPECT_THAT(owner_.log, IsEmpty()) << "the past is not told";
    EXPECT_THAT(Turn("what is the number").text,
                HasSubstr(loaded.ok() ? "The number is 4711."
                                      : "I know of no number."));
    EXPECT_THAT(Turn("hello").text, HasSubstr("model=claude-sonnet-5-5"));
    owner_.Take();
  }
}

TEST_P(AgentContractTest, ItListsTheConversationsThatItKnowsOf) {
  ASSERT_THAT(Start(), IsOk());
  Turn("remember 4711");
  std::optional<std::vector<LocalConversation>> listed;
  for (int i = 0; i < 2; ++i) {  // at once: each is answered
    agent().ListConversations(
        [&](std::vector<LocalConversation> all) { listed = std::move(all); });
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return listed.has_value(); }));
  if (!GetParam().lists) {
    EXPECT_THAT(*listed, IsEmpty());
    return;
  }
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().agent_session_id, agent().current().conversation);
  EXPECT_THAT(listed->front().first_prompt, HasSubstr("remember 4711"));
  EXPECT_GT(listed->front().update_time, absl::Now() - absl::Minutes(5));
}

TEST_P(AgentContractTest, ItSaysThatATurnHasBeenTakenUp) {
  ASSERT_THAT(Start(), IsOk());
  ASSERT_TRUE(agent().capabilities().acknowledges);
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_NO);
  const std::string id = Send("!sleep 60");
  EXPECT_NE(agent().delivered(), v1::DELIVERED_YES);
  ASSERT_TRUE(RunUntilLogged("started " + id));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
  agent().Interrupt();
  EXPECT_EQ(EndOf(id).outcome, v1::TURN_OUTCOME_INTERRUPTED);
}

TEST_P(AgentContractTest, AnUnknownConversationIsNotFound) {
  opening_.conversation = NewUuid();
  EXPECT_THAT(Start(), HasReason(Reason::kConversationNotFound));
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kConversationNotFound));
}

TEST_P(AgentContractTest, TextThatLooksLikeACommandIsText) {
  ASSERT_THAT(Start(), IsOk());
  Turn("remember 4711");
  const std::string conversation = agent().current().conversation;
  for (const char* text : {"/clear", "/model haiku", "/compact", "/exit"}) {
    EXPECT_THAT(Turn(text).text, HasSubstr(text));
  }
  EXPECT_EQ(agent().current().conversation, conversation);
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
  EXPECT_THAT(Turn("what is the number").text,
              HasSubstr("The number is 4711."));
}

TEST_P(AgentContractTest, AnyTextArrivesAsItIs) {
  ASSERT_THAT(Start(), IsOk());
  for (const char* text :
       {"two\nlines", "\"quoted\" \\ back", "tab\there", "caf\xC3\xA9",
        "\xF0\x9F\x98\x80", "{\"type\":\"user\"}"}) {
    EXPECT_THAT(Turn(text).text, HasSubstr(text));
  }
}

TEST_P(AgentContractTest, A14_InterruptingAnIdleAgentDoesNothing) {
  ASSERT_THAT(Start(), IsOk());
  agent().Interrupt();
  EXPECT_EQ(Turn("hello").outcome, v1::TURN_OUTCOME_SUCCEEDED);
}

TEST_P(AgentContractTest, A16_AnInterruptedTurnEndsAndTheNextIsItsOwn) {
  ASSERT_THAT(Start(), IsOk());
  for (const bool at_once : {true, false}) {
    owner_.Take();
    const std::string id = Send("!sleep 60");
    if (!at_once) {
      ASSERT_TRUE(RunUntilLogged("tool_call"));
    }
    agent().Interrupt();
    EXPECT_EQ(EndOf(id).outcome, v1::TURN_OUTCOME_INTERRUPTED);
    const TurnEnd next = Turn("hello");
    EXPECT_EQ(next.outcome, v1::TURN_OUTCOME_SUCCEEDED);
    EXPECT_THAT(next.text, HasSubstr("text=hello"));
  }
}

TEST_P(AgentContractTest, AnAgentThatCannotBeInterruptedIsEnded) {
  Fault("wedge@interrupt");
  profile_.interrupt_timeout = absl::Milliseconds(200);
  ASSERT_THAT(Start(), IsOk());
  Send("!sleep 60");
  ASSERT_TRUE(RunUntilLogged("tool_call"));
  agent().Interrupt();
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentUnresponsive));
  EXPECT_EQ(owner_.log.back(), "lost AGENT_UNRESPONSIVE");
}

TEST_P(AgentContractTest, APermissionIsAskedForAndTheAnswerCounts) {
  ASSERT_THAT(Start(), IsOk());
  for (const bool allow : {true, false}) {
    owner_.Take();
    const std::string id = Send(R"(!tool Bash {"command":"touch x"})");
    ASSERT_TRUE(RunUntilLogged("permission "));
    EXPECT_EQ(owner_.permission.tool_name(), GetParam().bash);
    agent().AnswerPermission(owner_.permission.permission_id(),
                             {.decision = allow ? v1::PERMISSION_DECISION_ALLOW
                                                : v1::PERMISSION_DECISION_DENY,
                              .message = "not today"});
    EXPECT_EQ(EndOf(id).outcome, v1::TURN_OUTCOME_SUCCEEDED);
    if (allow) {
      EXPECT_THAT(owner_.log, Not(Contains(HasSubstr("error"))));
    } else {
      EXPECT_THAT(owner_.log,
                  Contains(HasSubstr(GetParam().says_why ? "error \"not today\""
                                                         : "error ")));
    }
  }
}

TEST_P(AgentContractTest, APermissionForTheSessionIsAskedForOnce) {
  ASSERT_THAT(Start(), IsOk());
  const std::string tool = R"(!tool Bash {"command":"touch x"})";
  const std::string id = Send(tool);
  ASSERT_TRUE(RunUntilLogged("permission "));
  agent().AnswerPermission(owner_.permission.permission_id(),
                           {.decision = v1::PERMISSION_DECISION_ALLOW,
                            .scope = v1::PERMISSION_SCOPE_SESSION});
  EndOf(id);
  owner_.Take();
  EXPECT_EQ(Turn(tool).outcome, v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_THAT(owner_.log, Not(Contains(StartsWith("permission "))));
}

TEST_P(AgentContractTest, D12_APermissionForTheSessionHoldsInALaterProcess) {
  ASSERT_THAT(Start(), IsOk());
  const std::string tool = R"json(!tool Bash {"command":"touch (x)"})json";
  const std::string id = Send(tool);
  ASSERT_TRUE(RunUntilLogged("permission "));
  opening_.grants =
      agent().AnswerPermission(owner_.permission.permission_id(),
                               {.decision = v1::PERMISSION_DECISION_ALLOW,
                                .scope = v1::PERMISSION_SCOPE_SESSION});
  EXPECT_EQ(opening_.grants.empty(), !GetParam().keeps_grants);
  EndOf(id);
  opening_.conversation = agent().current().conversation;
  for (const char* conversation : {opening_.conversation.c_str(), ""}) {
    opening_.conversation = conversation;
    ASSERT_THAT(Start(), IsOk());
    if (!GetParam().keeps_grants) {
      Send(tool);
      EXPECT_TRUE(RunUntilLogged("permission ")) << "it is asked again";
      continue;
    }
    EXPECT_EQ(Turn(tool).outcome, v1::TURN_OUTCOME_SUCCEEDED);
    EXPECT_THAT(owner_.log, Not(Contains(StartsWith("permission "))));
  }
}

TEST_P(AgentContractTest, E8_ALaterProcessTellsWhereItsTotalOfCostBegins) {
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(agent().current().total_cost_usd, Optional(0.0));
  const double first = Turn("hello").total_cost_usd.value_or(0);
  EXPECT_GT(first, 0);
  opening_.conversation = agent().current().conversation;
  agent().Stop(absl::Seconds(5));
  ASSERT_TRUE(RunUntilLost());
  ASSERT_THAT(Start(), IsOk());
  if (!GetParam().tells_total) {
    // Not nothing: it is not known.
    EXPECT_FALSE(agent().current().total_cost_usd.has_value());
    EXPECT_GT(Turn("hello").total_cost_usd.value_or(0), 0);
    return;
  }
  ASSERT_TRUE(agent().current().total_cost_usd.has_value());
  const double begin = *agent().current().total_cost_usd;
  const double second = Turn("hello").total_cost_usd.value_or(0) - begin;
  EXPECT_GT(second, 0);
  // The conversation is longer now; it is not paid for once more.
  EXPECT_LT(second, first * 1.5);
}

TEST_P(AgentContractTest, E10_AModelThatCannotReadTheConversationIsKnown) {
  profile_.args.push_back("--blind-model=claude-haiku-5-5");
  ASSERT_THAT(Start(), IsOk());
  Turn("hello");
  ASSERT_THAT(Apply({.model = "claude-haiku-5-5"}), IsOk());
  const TurnEnd end = Turn("and now?");
  EXPECT_EQ(end.outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_THAT(end.error, HasReason(Reason::kConversationUnreadable));
  EXPECT_EQ(end.error_reason, "CONVERSATION_UNREADABLE");
  ASSERT_THAT(Apply({.model = "claude-sonnet-5-5"}), IsOk());
  EXPECT_EQ(Turn("back again").outcome, v1::TURN_OUTCOME_SUCCEEDED);
}

TEST_P(AgentContractTest, E3_AnInterruptTakesPermissionRequestsBack) {
  ASSERT_THAT(Start(), IsOk());
  const std::string id = Send(R"(!tool Bash {"command":"touch x"})");
  ASSERT_TRUE(RunUntilLogged("permission "));
  agent().Interrupt();
  EXPECT_EQ(EndOf(id).outcome, v1::TURN_OUTCOME_INTERRUPTED);
  EXPECT_THAT(owner_.log,
              Contains("withdrawn " + owner_.permission.permission_id()));
}

// Tools that edit need no permission in acceptEdits, in a turn that runs too.
TEST_P(AgentContractTest, AChangedModeHoldsAtOnceAndIsToldOnce) {
  opening_.permission_mode = "default";
  ASSERT_THAT(Start(), IsOk());
  Turn("hello");
  owner_.Take();
  const std::string id =
      Send("!deltas 20 8 20\n!tool Edit {\"file_path\":\"/tmp/x\"}");
  ASSERT_TRUE(RunUntilLogged("text "));
  EXPECT_THAT(SetMode("acceptEdits"), IsOk());
  EXPECT_EQ(EndOf(id).outcome, v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(std::count(owner_.log.begin(), owner_.log.end(),
                       "notice MODE \"acceptEdits\""),
            1);
  EXPECT_THAT(owner_.log, Not(Contains(StartsWith("permission "))));
  EXPECT_THAT(SetMode("acceptEdits"), IsOk());
  EXPECT_EQ(Turn("hello").outcome, v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(std::count_if(owner_.log.begin(), owner_.log.end(),
                          [](const std::string& line) {
                            return absl::StartsWith(line, "notice MODE");
                          }),
            1);
}

TEST_P(AgentContractTest, AModeThatIsRefusedChangesNothing) {
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(SetMode("nonsense"), HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(SetMode("bypassPermissions"), HasReason(Reason::kFieldInvalid));
  const std::string id = Send(R"(!tool Bash {"command":"touch x"})");
  ASSERT_TRUE(RunUntilLogged("permission "));
  agent().Interrupt();
  EndOf(id);
  EXPECT_THAT(owner_.log, Not(Contains(StartsWith("notice MODE"))));
}

TEST_P(AgentContractTest, AModeThatIsNotAnsweredEndsWithinItsBound) {
  Fault("delay@set-mode=60000");
  profile_.switch_timeout = absl::Milliseconds(200);
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(SetMode("plan"), HasReason(Reason::kAgentUnresponsive));
}

TEST_P(AgentContractTest, A23_AnAgentThatDiesDuringAChangeOfModeEndsIt) {
  Fault("crash@set-mode");
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(SetMode("plan"), HasReason(Reason::kAgentLost));
  ASSERT_TRUE(RunUntilLost());
}

TEST_P(AgentContractTest, AMessageInPartsArrivesAsItIs) {
  ASSERT_THAT(Start(), IsOk());
  ASSERT_TRUE(agent().capabilities().images);
  Turn("remember 4711");
  const std::string conversation = agent().current().conversation;
  auto content = std::make_shared<v1::Content>();
  content->add_parts()->set_text("/clear");
  v1::Image& image = *content->add_parts()->mutable_image();
  image.set_mime_type("image/png");
  image.set_data(std::string("\x89PNG\0\xff", 6));
  content->add_parts()->set_text("what is the number");
  const std::string id = NewUuid();
  agent().Send({.turn_id = id, .content = content});
  const TurnEnd end = EndOf(id);
  EXPECT_THAT(end.text, HasSubstr("The number is 4711."));
  EXPECT_THAT(end.text, HasSubstr("/clear\n[image image/png 6 bytes]\nwhat"));
  EXPECT_EQ(agent().current().conversation, conversation);
}

TEST_P(AgentContractTest, E9_ATurnOfItsOwnHasNoId) {
  ASSERT_THAT(Start(), IsOk());
  if (!GetParam().works_alone) {
    // An agent that has none never says so.
    EXPECT_EQ(Turn("!background 0").outcome, v1::TURN_OUTCOME_SUCCEEDED);
    EXPECT_FALSE(agent().has_background_tasks());
    EXPECT_EQ(Turn("hello").outcome, v1::TURN_OUTCOME_SUCCEEDED);
    EXPECT_THAT(owner_.log, Not(Contains("started -")));
    return;
  }
  Turn("!background 0.2");
  EXPECT_TRUE(agent().has_background_tasks());
  ASSERT_TRUE(RunUntilLogged("ended - SUCCEEDED"));
  EXPECT_THAT(owner_.log, Contains("started -"));
  EXPECT_FALSE(agent().has_background_tasks());
}

TEST_P(AgentContractTest, E7_WhatIsNotKnownIsPassedOn) {
  ASSERT_THAT(Start(), IsOk());
  Turn("!unknown");
  const auto at = std::find_if(
      owner_.log.begin(), owner_.log.end(),
      [](const std::string& line) { return line.find("unknown") == 0; });
  ASSERT_NE(at, owner_.log.end());
  EXPECT_THAT(owner_.raws[at - owner_.log.begin()], StartsWith("{"));
}

TEST_P(AgentContractTest, BadLinesEndNoTurnAndLeaveNoBadText) {
  for (const char* fault :
       {"garbage@mid-turn", "invalid-utf8@mid-turn", "nul@mid-turn"}) {
    const std::vector<std::string> args = profile_.args;
    Fault(fault);
    ASSERT_THAT(Start(), IsOk());
    EXPECT_EQ(Turn("hello").outcome, v1::TURN_OUTCOME_SUCCEEDED) << fault;
    for (const std::string& line : owner_.log) {
      EXPECT_TRUE(IsValidUtf8(line)) << fault;
    }
    profile_.args = args;
  }
}

TEST_P(AgentContractTest, ALineWithoutAnEndEndsTheAgent) {
  Fault("flood@mid-turn");
  profile_.max_line_bytes = 256 << 10;
  ASSERT_THAT(Start(), IsOk());
  Send("hello");
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentLineTooLong));
}

TEST_P(AgentContractTest, A23_AnAgentThatIsKilledIsLostOnce) {
  ASSERT_THAT(Start(), IsOk());
  Send("!sleep 60");
  ASSERT_TRUE(RunUntilLogged("tool_call"));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
  ASSERT_EQ(kill(agent().pid(), SIGKILL), 0);
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentLost));
  EXPECT_EQ(owner_.loss->exit.signal, SIGKILL);
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
  EXPECT_EQ(owner_.log.back(), "lost AGENT_LOST");
}

TEST_P(AgentContractTest, A23_AnAgentThatClosesItsStdinIsLostWithTheNextTurn) {
  Fault("close-stdin@mid-turn");
  ASSERT_THAT(Start(), IsOk());
  EXPECT_EQ(Turn("hello").outcome, v1::TURN_OUTCOME_SUCCEEDED);
  Send("hello");
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_NO);
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentLost));
  EXPECT_THAT(std::string(owner_.loss->why.message()),
              HasSubstr("closed its stdin"));
}

TEST_P(AgentContractTest, AnAgentThatDiesDuringAChangeEndsIt) {
  Fault("crash@set-model");
  opening_.model.clear();  // the start sets none
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(Apply({.model = "haiku"}), HasReason(Reason::kAgentLost));
  ASSERT_TRUE(RunUntilLost());
}

TEST_P(AgentContractTest, A2_AChangeThatWedgesEndsWithinItsBound) {
  Fault("wedge@set-model");
  opening_.model.clear();
  profile_.switch_timeout = absl::Milliseconds(200);
  ASSERT_THAT(Start(), IsOk());
  EXPECT_THAT(Apply({.model = "haiku"}), HasReason(Reason::kAgentUnresponsive));
}

TEST_P(AgentContractTest, AStartThatWedgesEndsWithinItsBound) {
  Fault("wedge@initialize");
  profile_.start_timeout = absl::Milliseconds(300);
  EXPECT_THAT(Start(), HasReason(Reason::kAgentStartTimeout));
  ASSERT_TRUE(RunUntilLost());
  EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentStartTimeout));
}

TEST_P(AgentContractTest, AStartThatFailsSaysWhy) {
  Fault("stderr@spawn=no-key-at-all");
  Fault("crash@initialize=3");
  const absl::Status status = Start();
  EXPECT_THAT(status, HasReason(Reason::kAgentStartFailed));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("exited 3: no-key-at-all"));
  ASSERT_TRUE(RunUntilLost());

  profile_.command = "/no/such/program";
  EXPECT_THAT(Start(), HasReason(Reason::kAgentStartFailed));
  ASSERT_TRUE(RunUntilLost());
  EXPECT_EQ(owner_.loss->exit.error_number, ENOENT);
}

TEST_P(AgentContractTest, ADirectoryThatIsMissingIsNotAProgramThatIsMissing) {
  const std::string gone = home_.path() + "/gone";
  opening_.working_directory = gone;
  absl::Status status = Start();
  EXPECT_THAT(status, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(status.message(),
            absl::StrCat("start ", profile_.name, ": working directory ", gone,
                         " does not exist"));
  ASSERT_TRUE(RunUntilLost());

  opening_.working_directory = UNDERSTUDY_REHEARSAL_PROGRAM;
  status = Start();
  EXPECT_THAT(status, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(status.message(),
            absl::StrCat("start ", profile_.name, ": working directory ",
                         UNDERSTUDY_REHEARSAL_PROGRAM, ": Not a directory"));
  ASSERT_TRUE(RunUntilLost());
}

TEST_P(AgentContractTest, StopEndsItGently) {
  ASSERT_THAT(Start(), IsOk());
  Turn("hello");
  agent().Stop(absl::Seconds(10));
  ASSERT_TRUE(RunUntilLost());
  EXPECT_EQ(owner_.loss->exit.cause, ExitStatus::Cause::kStopped);
  EXPECT_EQ(owner_.loss->exit.exit_code, 0);
}

TEST_P(AgentContractTest, TheOwnerMayDestroyItWhenItIsLost) {
  ASSERT_THAT(Start(), IsOk());
  owner_.on_call = [this](const std::string& line) {
    if (absl::StartsWith(line, "lost")) owner_.agent.reset();
  };
  agent().Stop(absl::ZeroDuration());
  ASSERT_TRUE(RunUntilLost());
  EXPECT_EQ(owner_.agent, nullptr);
}

TEST_P(AgentContractTest, DestroyingItEndsItSilently) {
  ASSERT_THAT(Start(), IsOk());
  Send("!sleep 60");
  ASSERT_TRUE(RunUntilLogged("tool_call"));
  owner_.Take();
  owner_.agent.reset();
  EXPECT_TRUE(loop_.RunUntil([] { return ChildrenOfThisProcess().empty(); }));
  EXPECT_THAT(owner_.log, IsEmpty());
}

}  // namespace
}  // namespace understudy::session
