// AgentOwner: what an agent tells, written down one line a call, for tests that
// own an agent.
//
//   started <turn>             ended <turn> SUCCEEDED end_turn "text"
//   text "..."                 ended <turn> FAILED ... MODEL_REJECTED "why"
//   thought "..."              message "..."
//   unknown system/foo         notice RETRYING "..."
//   state <model> <conversation>
//   lost AGENT_LOST
//
// An unsolicited turn is "-". The quiet moments are only counted.

#ifndef UNDERSTUDY_TESTS_SUPPORT_AGENT_OWNER_H_
#define UNDERSTUDY_TESTS_SUPPORT_AGENT_OWNER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/error.h"
#include "session/agent/agent.h"

namespace understudy::session {

class AgentOwner final : public Agent::Observer {
 public:
  void OnDelta(DeltaKind kind, std::string_view tool_call_id,
               std::string_view text, std::string_view raw) override {
    const char* const word = kind == DeltaKind::kText      ? "text"
                             : kind == DeltaKind::kThought ? "thought"
                                                           : "output";
    Note(std::string(word) + Quoted(text), raw);
    if (!tool_call_id.empty()) log.back() += " " + std::string(tool_call_id);
  }
  void OnEvent(v1::Event event, std::string_view raw) override {
    if (event.has_permission_requested()) {
      permission = event.permission_requested();
    }
    Note(Described(event), raw);
  }
  void OnTurnStarted(std::string_view turn_id, std::string_view raw) override {
    Note("started " + Named(turn_id), raw);
  }
  void OnTurnEnded(TurnEnd end, std::string_view raw) override {
    std::string line = "ended " + Named(end.turn_id) + " " +
                       Short(v1::TurnOutcome_Name(end.outcome), "OUTCOME_");
    if (!end.stop_reason.empty()) line += " " + end.stop_reason;
    if (!end.error_reason.empty()) line += " " + end.error_reason;
    const std::string text =
        end.error.ok() ? end.text : std::string(end.error.message());
    if (!text.empty()) line += Quoted(text);
    ends.push_back(std::move(end));
    Note(std::move(line), raw);
  }
  void OnPermissionWithdrawn(std::string_view permission_id) override {
    Note("withdrawn " + std::string(permission_id), {});
  }
  void OnStateChanged() override {
    const AgentState& now = agent->current();
    Note("state " + now.model + " " + now.conversation, {});
  }
  void OnQuiet() override { ++quiet; }
  void OnLost(const Loss& lost) override {
    loss = lost;
    const std::optional<Reason> reason = ReasonOf(lost.why);
    Note("lost " + std::string(reason ? ReasonName(*reason) : "?"), {});
  }

  // The lines since the last call.
  std::vector<std::string> Take() {
    raws.clear();
    return std::exchange(log, {});
  }

  std::unique_ptr<Agent> agent;

  std::vector<std::string> log;
  std::vector<std::string> raws;  // of each line of the log
  std::vector<TurnEnd> ends;
  v1::PermissionRequested permission;  // the latest
  std::optional<Loss> loss;
  int quiet = 0;
  // Called after each line that was added to the log.
  std::function<void(const std::string&)> on_call;

 private:
  void Note(std::string line, std::string_view raw) {
    log.push_back(std::move(line));
    raws.emplace_back(raw);
    if (on_call) on_call(std::string(log.back()));
  }

  static std::string Quoted(std::string_view text) {
    return " \"" + std::string(text) + "\"";
  }
  static std::string Named(std::string_view turn_id) {
    return turn_id.empty() ? "-" : std::string(turn_id);
  }
  // What follows `mark` in the name of an enum value.
  static std::string Short(const std::string& name, std::string_view mark) {
    return name.substr(name.find(mark) + mark.size());
  }

  static std::string Described(const v1::Event& event) {
    switch (event.payload_case()) {
      case v1::Event::kMessage:
        return "message" + Quoted(event.message().text());
      case v1::Event::kThought:
        return "thought" + Quoted(event.thought().text());
      case v1::Event::kToolCall:
        return "tool_call " + event.tool_call().tool_call_id() + " " +
               event.tool_call().name() + " " + event.tool_call().input_json();
      case v1::Event::kToolResult:
        return "tool_result " + event.tool_result().tool_call_id() +
               (event.tool_result().is_error() ? " error" : "") +
               Quoted(event.tool_result().output());
      case v1::Event::kPermissionRequested:
        return "permission " + event.permission_requested().permission_id() +
               " " + event.permission_requested().tool_name();
      case v1::Event::kUsage:
        return "usage " + std::to_string(event.usage().input_tokens()) + " " +
               std::to_string(event.usage().output_tokens());
      case v1::Event::kNotice:
        return "notice " +
               Short(v1::NoticeKind_Name(event.notice().kind()), "KIND_") +
               Quoted(event.notice().message());
      case v1::Event::kUnknown:
        return "unknown " + event.unknown().type();
      default:
        return event.ShortDebugString();
    }
  }
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_AGENT_OWNER_H_
