#include "session/agent/acp_permissions.h"

#include <array>
#include <utility>

#include "session/agent/acp_tools.h"
#include "session/agent/json_rpc.h"
#include "session/base/concat.h"
#include "session/base/id.h"

namespace understudy::session {
namespace {

constexpr std::string_view kCancelled =
    R"({"outcome":{"outcome":"cancelled"}})";

v1::PermissionOptionKind KindOf(JsonValue kind) {
  if (kind.Is("allow_once")) return v1::PERMISSION_OPTION_KIND_ALLOW_ONCE;
  if (kind.Is("allow_always")) return v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS;
  if (kind.Is("reject_always")) return v1::PERMISSION_OPTION_KIND_DENY_ALWAYS;
  // What is not known allows nothing.
  return v1::PERMISSION_OPTION_KIND_DENY_ONCE;
}

bool IsKnown(JsonValue kind) {
  return kind.Is("allow_once") || kind.Is("allow_always") ||
         kind.Is("reject_once") || kind.Is("reject_always");
}

// The kinds that stand for an answer, the best first.
std::array<v1::PermissionOptionKind, 2> Wanted(const PermissionAnswer& answer) {
  const bool session = answer.scope == v1::PERMISSION_SCOPE_SESSION;
  if (answer.decision == v1::PERMISSION_DECISION_ALLOW) {
    // Never more than was allowed.
    return {session ? v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS
                    : v1::PERMISSION_OPTION_KIND_ALLOW_ONCE,
            v1::PERMISSION_OPTION_KIND_ALLOW_ONCE};
  }
  return session ? std::array{v1::PERMISSION_OPTION_KIND_DENY_ALWAYS,
                              v1::PERMISSION_OPTION_KIND_DENY_ONCE}
                 : std::array{v1::PERMISSION_OPTION_KIND_DENY_ONCE,
                              v1::PERMISSION_OPTION_KIND_DENY_ALWAYS};
}

}  // namespace

v1::Event AcpPermissions::Open(std::string_view id, JsonValue params,
                               const v1::ToolCall* known) {
  const JsonValue tool = params["toolCall"];
  v1::Event event;
  v1::PermissionRequested& asked = *event.mutable_permission_requested();
  asked.set_permission_id(NewUuid());
  asked.set_tool_call_id(tool["toolCallId"].String());
  if (known != nullptr) {
    asked.set_tool_name(known->name());
    asked.set_input_json(known->input_json());
    asked.set_description(known->title());
  }
  if (asked.tool_name().empty()) asked.set_tool_name(AcpToolName(tool));
  if (const JsonValue input = tool["rawInput"]; input.IsObject()) {
    asked.set_input_json(std::string(input.raw()));
  }
  if (asked.input_json().empty()) asked.set_input_json("{}");
  if (tool["title"].IsString()) {
    asked.set_description(tool["title"].String());
  }
  // Kimi Code 2.1 says only there what it is about to do.
  if (const std::string text = AcpContentText(tool["content"]); !text.empty()) {
    asked.set_description(Concat(
        {asked.description(), asked.description().empty() ? "" : "\n", text}));
  }
  Request request{.id = std::string(id), .options = {}};
  for (const JsonValue one : params["options"]) {
    const std::string option_id = one["optionId"].String();
    const v1::PermissionOptionKind kind = KindOf(one["kind"]);
    if (option_id.empty()) continue;
    v1::PermissionOption& option = *asked.add_options();
    option.set_option_id(option_id);
    option.set_kind(kind);
    option.set_name(one["name"].String());
    // What is not known stands for no answer but its own.
    if (IsKnown(one["kind"])) request.options.push_back({option_id, kind});
  }
  open_.insert_or_assign(asked.permission_id(), std::move(request));
  return event;
}

std::optional<std::string> AcpPermissions::Answer(
    std::string_view permission_id, const PermissionAnswer& answer) {
  const auto it = open_.find(permission_id);
  if (it == open_.end()) return std::nullopt;
  const Request request = std::move(it->second);
  open_.erase(it);
  std::string chosen = answer.option_id;
  if (chosen.empty()) {
    for (const v1::PermissionOptionKind kind : Wanted(answer)) {
      for (const Option& option : request.options) {
        if (chosen.empty() && option.kind == kind) chosen = option.id;
      }
    }
  }
  // Nothing on offer says so: not allowed either way.
  if (chosen.empty()) return Cancelled(request.id);
  return JsonRpcResult(
      request.id, Concat({R"({"outcome":{"outcome":"selected","optionId":)",
                          JsonString(chosen), "}}"}));
}

std::optional<std::string> AcpPermissions::Cancel(
    std::string_view permission_id) {
  const auto it = open_.find(permission_id);
  if (it == open_.end()) return std::nullopt;
  std::string line = Cancelled(it->second.id);
  open_.erase(it);
  return line;
}

std::string AcpPermissions::Cancelled(std::string_view id) {
  return JsonRpcResult(id, kCancelled);
}

std::string AcpPermissions::Find(std::string_view id) const {
  for (const auto& [permission_id, request] : open_) {
    if (request.id == id) return permission_id;
  }
  return {};
}

std::vector<std::string> AcpPermissions::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, unused] : open_) ids.push_back(id);
  return ids;
}

}  // namespace understudy::session
