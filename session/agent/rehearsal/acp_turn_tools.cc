// Tool calls of a turn: the call, the permission, the result.

#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/acp_frames.h"
#include "session/agent/rehearsal/acp_turn.h"
#include "session/agent/rehearsal/permission_rules.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {
namespace {

constexpr char kRejected[] =
    "The user rejected permission to use this specific tool call.";

// What "always" and "never" are remembered as: the command, whatever comes
// behind it.
std::string RuleFor(const std::string& tool, const Json& input) {
  std::string subject = SubjectOf(input);
  return subject.empty() ? tool : absl::StrCat(tool, "(", subject, " *)");
}

}  // namespace

std::string AcpTurn::ToolCall::title() const {
  std::string subject = SubjectOf(input);
  return subject.empty() ? name : subject;
}

void AcpTurn::CallTool(std::string name, Json input, Action decide) {
  tool_ = ToolCall{.id = "call_" + NewUuid(),
                   .name = std::move(name),
                   .input = std::move(input)};
  if (c_.options.acp.tool_call) AnnounceTool();
  EndBlock({{"type", "tool_use"},
            {"id", tool_->id},
            {"name", tool_->name},
            {"input", tool_->input}});
  EndRequest();
  Then(std::move(decide));
}

void AcpTurn::AnnounceTool() {
  // As a model's call that streams: what is called first, then with what.
  Update({{"sessionUpdate", "tool_call"},
          {"toolCallId", tool_->id},
          {"title", tool_->name},
          {"kind", ToolKind(tool_->name)},
          {"status", "pending"},
          {"locations", Json::array()},
          {"rawInput", Json::object()}});
  Update({{"sessionUpdate", "tool_call_update"},
          {"toolCallId", tool_->id},
          {"title", tool_->title()},
          {"rawInput", tool_->input}});
}

void AcpTurn::DecidePermission() {
  if (AnyMatches(c_.denied_tools, tool_->name, tool_->input)) {
    return FailTool(kRejected);
  }
  if (IsAllowed(c_, tool_->name, tool_->input)) return RunTool();
  if (c_.permission_mode == "dontAsk") {
    return FailTool(absl::StrCat("Permission to use ", tool_->name,
                                 " has not been granted."));
  }
  Reach(Fault::Point::kPermission);
  Then([this] { AskPermission(); });
}

void AcpTurn::AskPermission() {
  if (input_ended_) return FailTool("Nobody is left to give permission.");
  Json call = {{"toolCallId", tool_->id},       {"title", tool_->title()},
               {"kind", ToolKind(tool_->name)}, {"status", "pending"},
               {"locations", Json::array()},    {"rawInput", tool_->input}};
  tool_->permission_id = client_.Request(
      "session/request_permission",
      {{"sessionId", c_.session_id()},
       {"toolCall", call},
       {"options", PermissionOptions()}},
      [this](const Json& message) { OnPermissionAnswer(message); });
  actions_.Wait();
}

void AcpTurn::OnPermissionAnswer(const Json& message) {
  tool_->permission_id.reset();
  actions_.GoOn();
  const Json& outcome = Get(Get(message, "result"), "outcome");
  const std::string_view kind = KindOfOption(GetString(outcome, "optionId"));
  const bool selected = GetString(outcome, "outcome") == "selected";
  const bool cancelled = GetString(outcome, "outcome") == "cancelled";
  c_.log.Write({{"event", "permission"},
                {"tool", tool_->name},
                {"behaviour", selected    ? std::string(kind)
                              : cancelled ? "cancelled"
                                          : "error"}});
  if (cancelled) return Cancel();
  if (!selected || kind.empty()) {
    const std::string error = GetString(Get(message, "error"), "message");
    return FailTool(absl::StrCat("Tool permission request failed: ",
                                 error.empty() ? "no such option" : error));
  }
  const std::string rule = RuleFor(tool_->name, tool_->input);
  if (kind == "allow_always") c_.allowed_tools.insert(rule);
  if (kind == "reject_always") c_.denied_tools.insert(rule);
  if (kind == "reject_once" || kind == "reject_always") {
    return FailTool(kRejected);
  }
  RunTool();
}

// Nothing is executed.
void AcpTurn::RunTool() {
  Update({{"sessionUpdate", "tool_call_update"},
          {"toolCallId", tool_->id},
          {"status", "in_progress"},
          {"kind", ToolKind(tool_->name)},
          {"title", tool_->title()},
          {"rawInput", tool_->input}});
  Then([this] { FinishTool("done"); });
}

void AcpTurn::FinishTool(std::string_view text) {
  Update({{"sessionUpdate", "tool_call_update"},
          {"toolCallId", tool_->id},
          {"status", "completed"},
          {"title", tool_->title()},
          {"content", ToolContent(text)},
          {"rawOutput", {{"output", text}}}});
  EndTool(text, false);
}

void AcpTurn::FailTool(std::string_view text, bool interrupted) {
  Json output = {{"error", text}};
  if (interrupted) output["metadata"] = {{"interrupted", true}};
  Update({{"sessionUpdate", "tool_call_update"},
          {"toolCallId", tool_->id},
          {"status", "failed"},
          {"title", tool_->title()},
          {"content", ToolContent(text)},
          {"rawOutput", output}});
  EndTool(text, true);
}

void AcpTurn::EndTool(std::string_view text, bool failed) {
  if (tool_->pid > 0) KillTree(tool_->pid);
  if (tool_->permission_id) client_.Forget(*tool_->permission_id);
  Json block = {{"type", "tool_result"},
                {"content", text},
                {"is_error", failed},
                {"tool_use_id", tool_->id}};
  c_.transcript.AppendUser(
      {{"role", "user"}, {"content", Json::array({block})}});
  tool_.reset();
}

void AcpTurn::StartCommand(std::string seconds, bool in_background) {
  pid_t pid = StartSleep(seconds);
  if (pid < 0) return FailTool("fork failed");
  c_.loop.WatchChild(pid);
  c_.log.Write({{"event", "tool"}, {"child", pid}});
  Update({{"sessionUpdate", "tool_call_update"},
          {"toolCallId", tool_->id},
          {"status", "in_progress"},
          {"kind", "execute"},
          {"title", tool_->title()},
          {"rawInput", tool_->input}});
  if (!in_background) {
    tool_->pid = pid;
    return actions_.Wait();
  }
  const std::string task_id = "b" + NewUuid().substr(0, 8);
  c_.tasks.push_back({.pid = pid,
                      .task_id = task_id,
                      .run_id = "",
                      .tool_use_id = tool_->id,
                      .description = "Wait"});
  FinishTool("Command running in background with ID: " + task_id);
}

void AcpTurn::OnChildExit(pid_t pid, int exit_code) {
  if (!tool_ || tool_->pid != pid) return;
  tool_->pid = 0;
  actions_.GoOn();
  if (exit_code == 0) return FinishTool("(no output)");
  FailTool(absl::StrCat("Exit code ", exit_code));
}

void AcpTurn::ShowPlan(const Json& input) {
  Update(Plan(input));
  ReachMidTurn();
}

}  // namespace understudy::session
