#include "session/agent/acp_tools.h"

#include <utility>

#include "session/base/concat.h"

namespace understudy::session {
namespace {

// Of tools of one turn; what an agent uses beyond is still told, but as if it
// were heard of for the first time.
constexpr size_t kMaxUses = 10000;

// Of the output that is put together from pieces; more of it is told as it
// comes, and is not part of the result.
constexpr size_t kMaxOutputBytes = 4 << 20;

v1::ToolStatus StatusOf(JsonValue status) {
  if (status.Is("in_progress")) return v1::TOOL_STATUS_IN_PROGRESS;
  if (status.Is("completed")) return v1::TOOL_STATUS_COMPLETED;
  if (status.Is("failed")) return v1::TOOL_STATUS_FAILED;
  return v1::TOOL_STATUS_PENDING;
}

void AppendLine(std::string_view text, std::string& out) {
  if (text.empty()) return;
  if (!out.empty() && out.back() != '\n') out.push_back('\n');
  out.append(text);
}

// What the tool gave, in the agent's own form.
std::string RawText(JsonValue output) {
  if (output.IsString()) return output.String();
  for (const std::string_view name :
       {"output", "formatted_output", "error", "message"}) {
    if (output[name].IsString()) return output[name].String();
  }
  if (output.IsNull()) return {};
  return std::string(output.raw());
}

}  // namespace

// ACP has no name of a tool. claude-agent-acp 0.100 gives Claude Code's,
// codex-acp 2.6 a `name`; else its kind is the word for it.
std::string AcpToolName(JsonValue update) {
  for (const JsonValue name : {update["_meta"]["claudeCode"]["toolName"],
                               update["name"], update["kind"]}) {
    if (name.IsString()) return name.String();
  }
  return {};
}

std::string AcpContentText(JsonValue content) {
  std::string text;
  for (const JsonValue block : content) {
    if (block["type"].Is("content")) {
      AppendLine(block["content"]["text"].String(), text);
    } else if (block["type"].Is("diff")) {
      AppendLine(Concat({"--- ", block["path"].String(), "\n",
                         block["newText"].String()}),
                 text);
    }
  }
  return text;
}

AcpTools::Told AcpTools::Update(JsonValue update) {
  Told told;
  const std::string id = update["toolCallId"].String();
  if (uses_.size() >= kMaxUses && uses_.find(id) == uses_.end()) {
    uses_.clear();
  }
  const auto [it, created] = uses_.try_emplace(id);
  Use& use = it->second;
  if (use.over) return told;

  bool changed = created;
  const auto take = [&changed](std::string value, const std::string& before,
                               auto set) {
    if (value.empty() || value == before) return;
    changed = true;
    set(std::move(value));
  };
  v1::ToolCall& call = use.call;
  call.set_tool_call_id(id);
  // A kind does not take the place of a name.
  if (call.name().empty() ||
      update["_meta"]["claudeCode"]["toolName"].IsString() ||
      update["name"].IsString()) {
    take(AcpToolName(update), call.name(),
         [&call](std::string name) { call.set_name(std::move(name)); });
  }
  take(update["title"].String(), call.title(),
       [&call](std::string title) { call.set_title(std::move(title)); });
  if (const JsonValue input = update["rawInput"];
      input.exists() && !input.IsNull()) {
    take(std::string(input.raw()), call.input_json(),
         [&call](std::string in) { call.set_input_json(std::move(in)); });
  }
  if (update["status"].IsString() || created) {
    const v1::ToolStatus status = StatusOf(update["status"]);
    use.over =
        status == v1::TOOL_STATUS_COMPLETED || status == v1::TOOL_STATUS_FAILED;
    // The result tells that it is over.
    if (status != call.status() && !use.over) changed = true;
    call.set_status(status);
  }
  if (changed) *told.events.emplace_back().mutable_tool_call() = call;

  std::string output = AcpContentText(update["content"]);
  // codex-acp 2.6 tells the output of commands piece by piece, and nowhere
  // else.
  if (const JsonValue more = update["_meta"]["terminal_output_delta"]["data"];
      more.IsString() && output.empty()) {
    told.output = more.String();
    if (use.output.size() + told.output.size() <= kMaxOutputBytes) {
      use.output.append(told.output);
    }
  }
  if (use.over) {
    if (output.empty()) output = RawText(update["rawOutput"]);
    if (output.empty()) output = use.output;
    v1::ToolResult& result = *told.events.emplace_back().mutable_tool_result();
    result.set_tool_call_id(id);
    result.set_output(std::move(output));
    result.set_is_error(call.status() == v1::TOOL_STATUS_FAILED);
    use.output.clear();
    call.clear_input_json();
  } else if (!created && call.status() == v1::TOOL_STATUS_IN_PROGRESS &&
             output.size() > use.output.size() &&
             output.starts_with(use.output)) {
    // The whole of it so far, each time. What is there before it runs is what
    // it is to do.
    told.output = output.substr(use.output.size());
    use.output = std::move(output);
  }
  return told;
}

}  // namespace understudy::session
