#include "session/agent/claude_permissions.h"

#include <utility>

#include "absl/status/statusor.h"
#include "session/agent/claude_command.h"
#include "session/agent/claude_grants.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

constexpr std::string_view kAllow = "allow";
constexpr std::string_view kAllowSession = "allow_session";
constexpr std::string_view kDeny = "deny";

// The rules that a request suggests, made to hold for this process alone:
// nothing of it is written to anybody's settings.
std::string SessionRules(JsonValue suggestions) {
  std::string rules;
  for (const JsonValue suggestion : suggestions) {
    if (!suggestion.IsObject()) continue;
    rules.append(rules.empty() ? "[" : ",");
    rules.append(R"({"destination":"session")");
    for (const JsonValue member : suggestion) {
      const std::string name = member.name();
      if (name == "destination") continue;
      rules.append(Concat({",", JsonString(name), ":", member.raw()}));
    }
    rules.append("}");
  }
  if (!rules.empty()) rules.append("]");
  return rules;
}

void Offer(std::string_view id, v1::PermissionOptionKind kind,
           std::string_view name, v1::PermissionRequested& request) {
  v1::PermissionOption& option = *request.add_options();
  option.set_option_id(std::string(id));
  option.set_kind(kind);
  option.set_name(std::string(name));
}

}  // namespace

v1::Event ClaudePermissions::Open(std::string_view id, JsonValue request) {
  const JsonValue input = request["input"];
  Request open{input.IsObject() ? std::string(input.raw()) : "{}",
               SessionRules(request["permission_suggestions"]),
               ClaudeGrants(request["permission_suggestions"])};
  v1::Event event;
  v1::PermissionRequested& asked = *event.mutable_permission_requested();
  asked.set_permission_id(std::string(id));
  asked.set_tool_call_id(request["tool_use_id"].String());
  asked.set_tool_name(request["tool_name"].String());
  asked.set_input_json(open.input);
  asked.set_description(request["description"].String());
  Offer(kAllow, v1::PERMISSION_OPTION_KIND_ALLOW_ONCE, "Allow", asked);
  if (!open.rules.empty()) {
    Offer(kAllowSession, v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS,
          "Allow for this session", asked);
  }
  Offer(kDeny, v1::PERMISSION_OPTION_KIND_DENY_ONCE, "Deny", asked);
  open_.insert_or_assign(std::string(id), std::move(open));
  return event;
}

std::optional<ClaudePermissions::Answered> ClaudePermissions::Answer(
    std::string_view id, const PermissionAnswer& answer) {
  const auto it = open_.find(id);
  if (it == open_.end()) return std::nullopt;
  Request asked = std::move(it->second);
  open_.erase(it);

  bool allow = answer.decision == v1::PERMISSION_DECISION_ALLOW;
  bool remember = answer.scope == v1::PERMISSION_SCOPE_SESSION;
  if (!answer.option_id.empty()) {
    remember = answer.option_id == kAllowSession;
    allow = remember || answer.option_id == kAllow;
  }
  if (!allow) {
    return Answered{
        ClaudeDeny(id, answer.message.empty() ? "The user denied this."
                                              : answer.message),
        {}};
  }
  absl::StatusOr<std::string> input = asked.input;
  if (!answer.updated_input_json.empty()) {
    input = CompactJson(answer.updated_input_json);
  }
  if (!input.ok() || input->front() != '{') {
    return Answered{ClaudeDeny(id, "The changed input is not a JSON object."),
                    {}};
  }
  if (!remember) return Answered{ClaudeAllow(id, *input, ""), {}};
  return Answered{ClaudeAllow(id, *input, asked.rules),
                  std::move(asked.grants)};
}

bool ClaudePermissions::Withdraw(std::string_view id) {
  const auto it = open_.find(id);
  if (it == open_.end()) return false;
  open_.erase(it);
  return true;
}

std::vector<std::string> ClaudePermissions::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, request] : open_) ids.push_back(id);
  return ids;
}

}  // namespace understudy::session
