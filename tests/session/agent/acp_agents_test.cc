// The real agents that were recorded, each through the same day: what becomes
// of their lines is in testdata/acp/AGENT/golden.txt, to be read by people.

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "absl/strings/str_join.h"
#include "tests/session/agent/acp_fixture.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

class AcpAgentsTest : public AcpFixture,
                      public ::testing::WithParamInterface<const char*> {
 protected:
  AcpAgentsTest() { folder_ = GetParam(); }

  bool Has(const std::string& name) const {
    return std::filesystem::exists(absl::StrCat(UNDERSTUDY_TESTDATA, "/acp/",
                                                folder_, "/", name, ".jsonl"));
  }

  void Heading(const std::string& text) { Note(absl::StrCat("# ", text)); }
  void Note(const std::string& line) { told_.push_back(line); }
  void NoteState() {
    const AgentState& now = agent().current();
    Note(absl::StrCat(
        "model ", now.model, now.verified ? "" : " unverified", ", cost ",
        now.total_cost_usd ? absl::StrCat(*now.total_cost_usd) : "unknown"));
  }
  void NoteLog() {
    for (std::string& line : owner_.Take()) {
      absl::StrReplaceAll({{owner_.permission.permission_id(), "$PERMISSION"},
                           {kTurn, "$TURN"}},
                          &line);
      Note(line);
    }
  }
  void NoteEnd() {
    if (owner_.ends.empty()) return;
    const TurnEnd end = owner_.ends.back();
    owner_.ends.clear();
    Note(absl::StrCat(
        "usage ", end.usage.input_tokens(), " in ", end.usage.output_tokens(),
        " out, cost ",
        end.total_cost_usd ? absl::StrCat(*end.total_cost_usd) : "unknown"));
  }

  // The model that was switched to when it was recorded.
  std::string SwitchedTo() const {
    const Json answer = Json::parse(Data("set_model").back());
    for (const Json& option :
         answer["result"].value("configOptions", Json::array())) {
      if (option["id"] == "model") return option["currentValue"];
    }
    return "gemini-2.5-flash";
  }

  void Play(const std::string& name) {
    Heading(name);
    Send();
    Say(Data(name, conversation(), Prompt()));
    NoteLog();
    NoteEnd();
  }

  std::string Golden() const {
    std::ifstream file(
        absl::StrCat(UNDERSTUDY_TESTDATA, "/acp/", folder_, "/golden.txt"));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::vector<std::string> told_;
};

INSTANTIATE_TEST_SUITE_P(
    Agents, AcpAgentsTest,
    ::testing::Values("opencode-1.18.33", "codex-acp-2.6.0",
                      "gemini-cli-0.61.0", "claude-agent-acp-0.100.0"),
    [](const ::testing::TestParamInfo<const char*>& info) {
      return absl::StrReplaceAll(info.param, {{".", "_"}, {"-", "_"}});
    });

TEST_P(AcpAgentsTest, ADayOfItIsAsItIsWrittenDown) {
  Heading("initialize, new");
  MustStart();
  Note("version " + std::string(agent().version()));
  const Capabilities& can = agent().capabilities();
  Note(absl::StrCat("load ", can.load_conversation, " resume ",
                    can.resume_conversation, " shared ",
                    can.shared_conversation, " images ", can.images));
  for (const ModelInfo& model : agent().models()) {
    Note(absl::StrCat("offers ", model.model, " \"", model.name, "\"",
                      model.is_default ? " by default" : ""));
  }
  NoteState();
  Play("turn");
  Play("permission");
  ASSERT_FALSE(owner_.permission.permission_id().empty());
  Note("asks for " + owner_.permission.input_json());
  for (const v1::PermissionOption& option : owner_.permission.options()) {
    Note(absl::StrCat("or ", option.option_id(), " ",
                      v1::PermissionOptionKind_Name(option.kind()), " \"",
                      option.name(), "\""));
  }
  agent().AnswerPermission(owner_.permission.permission_id(),
                           {.decision = v1::PERMISSION_DECISION_ALLOW});
  loop_.RunUntilIdle();
  Note(LastWritten()["result"].dump());
  Say(Data("allowed", conversation(), Prompt()));
  NoteLog();
  NoteEnd();
  for (const char* name : {"thought", "tool"}) {
    if (Has(name)) Play(name);
  }

  Heading("cancelled");
  Send();
  Lines lines = Data("cancelled", conversation(), Prompt());
  const std::string last = lines.back();
  lines.pop_back();
  Say(lines);
  agent().Interrupt();
  Say(Lines{last});
  NoteLog();

  Heading("set_model");
  const std::string wanted = SwitchedTo();
  EXPECT_THAT(Apply({.model = wanted}), Optional(IsOk()));
  NoteLog();
  NoteState();
  if (Has("unknown_model")) {
    Heading("unknown_model");
    instead_["session/set_config_option"] = "unknown_model";
    EXPECT_THAT(Apply({.model = "no-such-model"}),
                Optional(HasReason(Reason::kModelRejected)));
    Note(std::string(changed_->message()));
    NoteState();
  }
  if (Has("failed")) Play("failed");
  Play("lost");
  EXPECT_EQ(absl::StrJoin(told_, "\n") + "\n", Golden());
  if (const char* const out = getenv("UNDERSTUDY_GOLDEN_OUT")) {
    std::ofstream(absl::StrCat(out, "/", folder_, ".txt"))
        << absl::StrJoin(told_, "\n") << "\n";
  }
}

// Gemini CLI's load loses what it loads: it is not asked to.
TEST_P(AcpAgentsTest, AConversationThatExistsIsGoneOnWith) {
  opening_.conversation = "11111111-2222-4333-8444-555555555555";
  opening_.model = SwitchedTo();
  if (!Has("no_conversation")) {
    EXPECT_THAT(Start(), Optional(HasReason(Reason::kCapabilityMissing)));
    EXPECT_THAT(Written("session/load"), IsEmpty());
    return;
  }
  // The same settings come as the answer to either.
  if (!Has("resume")) instead_["session/resume"] = "set_model";
  MustStart();
  EXPECT_EQ(conversation(), opening_.conversation);
  EXPECT_EQ(agent().current().model, SwitchedTo());
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_P(AcpAgentsTest, OneThatDoesNotExistIsNotFound) {
  if (!Has("no_conversation")) instead_["session/new"] = "lost";
  opening_.conversation = Has("no_conversation") ? "no-such-session" : "";
  instead_["session/resume"] = "no_conversation";
  EXPECT_THAT(Start(), Optional(HasReason(Has("no_conversation")
                                              ? Reason::kConversationNotFound
                                              : Reason::kAgentStartFailed)));
}

TEST_P(AcpAgentsTest, ItsListIsRead) {
  if (Has("list")) {
    opening_.working_directory =
        Json::parse(Data("list")[0])["result"]["sessions"][0]["cwd"];
  }
  MustStart();
  std::optional<std::vector<LocalConversation>> listed;
  agent().ListConversations(
      [&](std::vector<LocalConversation> all) { listed = std::move(all); });
  loop_.RunUntilIdle();
  ASSERT_TRUE(listed.has_value());
  ASSERT_EQ(listed->empty(), !Has("list"));
  for (const LocalConversation& one : *listed) {
    EXPECT_FALSE(one.agent_session_id.empty());
    EXPECT_FALSE(one.first_prompt.empty());
    EXPECT_GT(one.update_time, absl::UnixEpoch());
  }
}

}  // namespace
}  // namespace understudy::session
