// A ClaudeAgent and the process it believes to speak to, which says the lines
// in testdata/claude/VERSION/*.jsonl. In them stand
//   $REQUEST       the id of the request that is answered
//   $TURN          the id of the turn
//   $CONVERSATION  the conversation, $NEXT the one after it
//   $MODEL         the model in effect

#ifndef UNDERSTUDY_TESTS_SESSION_AGENT_CLAUDE_FIXTURE_H_
#define UNDERSTUDY_TESTS_SESSION_AGENT_CLAUDE_FIXTURE_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/session/agent/agent_fixture.h"

namespace understudy::session {

inline constexpr char kNewClaude[] = "2.1.329";
inline constexpr char kOldClaude[] = "2.1.197";

inline constexpr char kTurn1[] = "11111111-1111-4111-8111-111111111111";
inline constexpr char kTurn2[] = "22222222-2222-4222-8222-222222222222";
inline constexpr char kNext[] = "33333333-3333-4333-8333-333333333333";
inline constexpr char kEarlier[] = "44444444-4444-4444-8444-444444444444";

class ClaudeFixture : public AgentFixture {
 protected:
  explicit ClaudeFixture(std::string version = kNewClaude)
      : version_(std::move(version)) {
    profile_.name = "claude";
    profile_.kind = "claude";
    profile_.command = "claude-program";
    opening_.model = "claude-sonnet-5-5";
    opening_.working_directory = "/";
  }

  bool old() const { return version_ == kOldClaude; }

  // --- The process ---

  Lines Data(const std::string& name, const std::string& turn = "",
             const std::string& request = "") const {
    return Recorded(absl::StrCat("claude/", version_, "/", name, ".jsonl"),
                    {{"$REQUEST", request},
                     {"$TURN", turn},
                     {"$CONVERSATION", conversation_},
                     {"$NEXT", kNext},
                     {"$MODEL", model_}});
  }

  // Single lines, for where the order is the matter.
  Json Init(const std::string& turn) const {
    Json line = {{"type", "system"},
                 {"subtype", "init"},
                 {"session_id", conversation_},
                 {"model", model_},
                 {"permissionMode", "default"},
                 {"slash_commands", {"clear", "compact"}},
                 {"claude_code_version", version_}};
    if (old()) return line;
    line["capabilities"] = {"msg_lifecycle_v1"};
    if (!turn.empty()) line["user_message_uuids"] = {turn};
    return line;
  }
  Json Result(const std::string& turn, const std::string& text) const {
    Json line = {{"session_id", conversation_},
                 {"is_error", false},
                 {"subtype", "success"},
                 {"terminal_reason", "completed"},
                 {"stop_reason", "end_turn"},
                 {"result", text},
                 {"type", "result"}};
    if (!old() && !turn.empty()) {
      line["user_message_uuid"] = turn;
      line["user_message_uuids"] = {turn};
    }
    return line;
  }
  static Json Foreign(Json result) {
    result["origin"] = {{"kind", "task-notification"}};
    return result;
  }
  Json Lifecycle(const std::string& turn, const std::string& state) const {
    return {{"type", "command_lifecycle"},
            {"command_uuid", turn},
            {"state", state},
            {"session_id", conversation_}};
  }
  // The process takes a turn up.
  void Begin(const std::string& turn) {
    if (!old()) {
      Say(Lines{Lifecycle(turn, "queued").dump(),
                Lifecycle(turn, "started").dump()});
    }
    Say(Init(turn));
  }

  // How many requests of a kind it was written.
  int Requests(const std::string& subtype) {
    int count = 0;
    for (const Json& line : Written()) {
      count +=
          line.contains("request") && line["request"]["subtype"] == subtype;
    }
    return count;
  }

  std::optional<std::string> Argument(const std::string& name) {
    for (const std::string& argument : child().command().argv) {
      if (absl::StartsWith(argument, name + "=")) {
        return argument.substr(name.size() + 1);
      }
    }
    return std::nullopt;
  }

  // --- The agent ---

  absl::Status Make() override {
    absl::Status made = AgentFixture::Make();
    if (!made.ok()) return made;
    conversation_ = Argument("--session-id").value_or(opening_.conversation);
    model_ = Argument("--model").value_or("");
    return made;
  }

  void Send(const std::string& turn, const std::string& text = "hello") {
    agent().Send({turn, text});
    loop_.RunUntilIdle();
  }

  std::string version_;
  std::string conversation_;
  std::string model_;
  std::set<std::string> unanswered_;  // requests that the process ignores
  std::map<std::string, std::string> instead_;  // answered by another file

 private:
  void Answer(FakeChild& process, const Json& line) override {
    if (line["type"] != "control_request") return;
    std::string subtype = line["request"]["subtype"];
    if (unanswered_.count(subtype) > 0) return;
    if (instead_.count(subtype) > 0) subtype = instead_[subtype];
    if (subtype == "set_model") model_ = "claude-haiku-5-5";
    process.Say(Data(subtype, "", line["request_id"]));
  }
};

// The same with both versions.
class EachClaude : public ClaudeFixture,
                   public ::testing::WithParamInterface<const char*> {
 protected:
  EachClaude() : ClaudeFixture(GetParam()) {}
};

inline std::string VersionName(
    const ::testing::TestParamInfo<const char*>& info) {
  return absl::StrReplaceAll(info.param, {{".", "_"}});
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_AGENT_CLAUDE_FIXTURE_H_
