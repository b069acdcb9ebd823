// Tool calls of a turn: the call, the permission, the result.

#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/permission_rules.h"
#include "session/agent/rehearsal/tool_process.h"
#include "session/agent/rehearsal/turn.h"

namespace understudy::session {
namespace {

constexpr char kRejected[] =
    "The user doesn't want to proceed with this tool use. The tool use was "
    "rejected (eg. if it was a file edit, the new_string was NOT written to "
    "the file). STOP what you are doing and wait for the user to tell you how "
    "to proceed.";
constexpr char kStopped[] =
    " Correction to the text above: this call was stopped while running, not "
    "refused before it ran.";
constexpr char kStreamClosed[] =
    "Tool permission request failed: AbortError: Tool permission stream "
    "closed before response received";

Json Suggestions(const Conversation& c, const std::string& tool,
                 const Json& input) {
  Json rule = {{"toolName", tool}};
  std::string subject = SubjectOf(input);
  if (!subject.empty()) rule["ruleContent"] = subject + " *";
  return Json::array({{{"type", "addRules"},
                       {"rules", Json::array({rule})},
                       {"behavior", "allow"},
                       {"destination", "localSettings"}},
                      {{"type", "addDirectories"},
                       {"directories", Json::array({c.cwd})},
                       {"destination", "session"}},
                      {{"type", "setMode"},
                       {"mode", "acceptEdits"},
                       {"destination", "session"}}});
}

std::string NewTaskId() { return "b" + NewUuid().substr(0, 8); }

}  // namespace

void Turn::CallTool(std::string name, Json input, Action decide) {
  tool_ = ToolCall{.id = absl::StrCat("toolu_rehearsal", c_.requests),
                   .name = std::move(name),
                   .input = std::move(input)};
  Event({{"type", "content_block_start"},
         {"index", block_},
         {"content_block",
          {{"type", "tool_use"},
           {"id", tool_->id},
           {"name", tool_->name},
           {"input", Json::object()}}}});
  Event(
      {{"type", "content_block_delta"},
       {"index", block_},
       {"delta",
        {{"type", "input_json_delta"}, {"partial_json", Dump(tool_->input)}}}});
  EndBlock({{"type", "tool_use"},
            {"id", tool_->id},
            {"name", tool_->name},
            {"input", tool_->input}});
  EndRequest("tool_use");
  Then(std::move(decide));
}

void Turn::DecidePermission() {
  if (IsAllowed(c_, tool_->name, tool_->input)) {
    return Then([this] { FinishTool("done", {{"source", "config"}}); });
  }
  if (c_.options.asks_permission && c_.permission_mode != "dontAsk") {
    Reach(Fault::Point::kPermission);
    return Then([this] { AskPermission(); });
  }
  std::string message =
      absl::StrCat("Claude requested permissions to use ", tool_->name,
                   ", but you haven't granted it yet.");
  c_.Write(SystemFrame(c_, "permission_denied",
                       {{"tool_name", tool_->name},
                        {"tool_use_id", tool_->id},
                        {"message", message}}));
  DenyTool(message, Json::object());
}

void Turn::AskPermission() {
  if (host_.input_ended()) return DenyTool(kStreamClosed, Json::object());
  tool_->permission_id = NewUuid();
  Json request = {{"subtype", "can_use_tool"},
                  {"tool_name", tool_->name},
                  {"display_name", tool_->name},
                  {"input", tool_->input}};
  std::string description = GetString(tool_->input, "description");
  if (!description.empty()) request["description"] = description;
  request["permission_suggestions"] =
      Suggestions(c_, tool_->name, tool_->input);
  request["tool_use_id"] = tool_->id;
  c_.Write({{"type", "control_request"},
            {"request_id", tool_->permission_id},
            {"request", request}});
  actions_.Wait();
}

void Turn::OnPermissionAnswer(const Json& response) {
  if (!tool_ || tool_->permission_id.empty() ||
      GetString(response, "request_id") != tool_->permission_id) {
    return;
  }
  tool_->permission_id.clear();
  actions_.GoOn();
  const Json& answer = Get(response, "response");
  std::string behavior = GetString(answer, "behavior");
  c_.log.Write({{"event", "permission"},
                {"tool", tool_->name},
                {"behaviour", behavior}});
  if (behavior == "allow") {
    if (Get(answer, "updatedInput").is_object()) {
      tool_->input = answer["updatedInput"];
    }
    const Json& updates = Get(answer, "updatedPermissions");
    Remember(updates);
    FinishTool("done", {{"source", updates.empty() ? "user_temporary"
                                                   : "user_permanent"}});
  } else if (behavior == "deny" && GetBool(answer, "interrupt", false)) {
    Abort();
    return;
  } else if (behavior == "deny") {
    DenyTool(GetString(answer, "message"), {{"source", "user_reject"}});
  } else {
    std::string error = GetString(response, "error");
    DenyTool(absl::StrCat("Tool permission request failed: ",
                          error.empty() ? "invalid response" : error),
             {{"source", "config"}});
  }
}

void Turn::Remember(const Json& updates) {
  if (!updates.is_array()) return;
  for (const Json& update : updates) {
    std::string type = GetString(update, "type");
    if (type == "setMode") c_.permission_mode = GetString(update, "mode");
    if (type != "addRules" || GetString(update, "behavior") != "allow") {
      continue;
    }
    for (const Json& rule : Get(update, "rules")) {
      std::string content = GetString(rule, "ruleContent");
      c_.allowed_tools.insert(GetString(rule, "toolName") +
                              (content.empty() ? "" : "(" + content + ")"));
    }
  }
}

void Turn::DenyTool(std::string_view message, const Json& decision) {
  result_.permission_denials.push_back({{"tool_name", tool_->name},
                                        {"tool_use_id", tool_->id},
                                        {"tool_input", tool_->input}});
  Json block = {{"type", "tool_result"},
                {"content", message},
                {"is_error", true},
                {"tool_use_id", tool_->id}};
  Json content = Json::array({block});
  c_.transcript.AppendUser({{"role", "user"}, {"content", content}});
  Json meta = {{"id", tool_->id}, {"non_execution_kind", "permission-rule"}};
  if (!decision.empty()) meta["permission_decision"] = decision;
  c_.Write(UserFrame(c_, content,
                     {{"tool_use_result", "Error: " + std::string(message)},
                      {"tool_result_meta", Json::array({meta})}}));
  tool_.reset();
  FoldWaitingMessages();
}

void Turn::FinishTool(const Json& text, const Json& decision) {
  Json block = {{"tool_use_id", tool_->id},
                {"type", "tool_result"},
                {"content", text},
                {"is_error", false}};
  Json content = Json::array({block});
  c_.transcript.AppendUser({{"role", "user"}, {"content", content}});
  Json accepted = {{"decision", "accept"}};
  accepted.update(decision);
  Json meta = {{"id", tool_->id}, {"permission_decision", accepted}};
  c_.Write(
      UserFrame(c_, content,
                {{"tool_use_result",
                  {{"stdout", text}, {"stderr", ""}, {"interrupted", false}}},
                 {"tool_result_meta", Json::array({meta})}}));
  tool_.reset();
  FoldWaitingMessages();
}

void Turn::StartCommand(std::string seconds, bool in_background) {
  pid_t pid = StartSleep(seconds);
  if (pid < 0) return DenyTool("fork failed", Json::object());
  c_.loop.WatchChild(pid);
  c_.log.Write({{"event", "tool"}, {"child", pid}});
  if (!in_background) {
    tool_->pid = pid;
    return actions_.Wait();
  }
  BackgroundTask task{.pid = pid,
                      .task_id = NewTaskId(),
                      .run_id = "0rehearsal-" + NewUuid().substr(0, 8),
                      .tool_use_id = tool_->id,
                      .description = "Wait"};
  c_.tasks.push_back(task);
  c_.Write(BackgroundTasksFrame(c_));
  c_.Write(SystemFrame(c_, "task_started",
                       {{"task_id", task.task_id},
                        {"run_id", task.run_id},
                        {"tool_use_id", task.tool_use_id},
                        {"description", task.description},
                        {"is_backgrounded", true},
                        {"task_type", "local_bash"}}));
  FinishTool("Command running in background with ID: " + task.task_id,
             {{"source", "config"}});
}

void Turn::OnChildExit(pid_t pid, int exit_code) {
  if (!tool_ || tool_->pid != pid) return;
  tool_->pid = 0;
  actions_.GoOn();
  if (exit_code == 0) {
    FinishTool("(Bash completed with no output)", {{"source", "config"}});
  } else {
    DenyTool(absl::StrCat("Exit code ", exit_code), Json::object());
  }
}

void Turn::OnInputEnd() {
  if (!tool_ || tool_->permission_id.empty()) return;
  tool_->permission_id.clear();
  actions_.GoOn();
  DenyTool(kStreamClosed, {{"source", "config"}});
}

// The tool's side of an interruption.
void Turn::AbortTool(bool was_running) {
  if (tool_->pid > 0) KillTree(std::exchange(tool_->pid, 0));
  Json block = {
      {"type", "tool_result"},
      {"content", std::string(kRejected) + (was_running ? kStopped : "")},
      {"is_error", true},
      {"tool_use_id", tool_->id}};
  Json content = Json::array({block});
  c_.transcript.AppendUser({{"role", "user"}, {"content", content}});
  Json meta = {{"id", tool_->id}, {"non_execution_kind", "user-rejected"}};
  c_.Write(UserFrame(c_, content,
                     {{"tool_use_result", "User rejected tool use"},
                      {"tool_result_meta", Json::array({meta})}}));
  if (was_running) return;
  result_.permission_denials.push_back({{"tool_name", tool_->name},
                                        {"tool_use_id", tool_->id},
                                        {"tool_input", tool_->input}});
}

}  // namespace understudy::session
