#include "service/check.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "proto/error.h"
#include "service/filter.h"
#include "session/base/id.h"
#include "session/base/utf8.h"
#include "session/calls.h"

namespace understudy::service {
namespace {

constexpr size_t kMaxLabelBytes = 256;
constexpr int kMaxParts = 1000;
constexpr std::string_view kImageTypes[] = {"image/png", "image/jpeg",
                                            "image/gif", "image/webp"};
constexpr size_t kMaxPermissionMessageBytes = 64 << 10;
constexpr size_t kMaxPageTokenBytes = 1024;

// A value as it may be shown: the beginning, in printable ASCII.
std::string Shown(std::string_view value) {
  constexpr size_t kShown = 48;
  return absl::StrCat("\"",
                      absl::CHexEscape(std::string(value.substr(0, kShown))),
                      value.size() > kShown ? "...\"" : "\"");
}

// Collects what is wrong with one request.
class Violations {
 public:
  void Add(std::string_view field, std::string_view description) {
    list_.push_back({std::string(field), std::string(description)});
  }

  void Uuid(std::string_view field, std::string_view value) {
    if (!session::IsUuid(value)) {
      Add(field, absl::StrCat("must be a UUID, not ", Shown(value)));
    }
  }
  void OptionalUuid(std::string_view field, std::string_view value) {
    if (!value.empty()) Uuid(field, value);
  }
  void Id(std::string_view field, std::string_view value) {
    if (!session::IsId(value)) {
      Add(field, absl::StrCat("must match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$,"
                              " unlike ",
                              Shown(value)));
    }
  }
  void OptionalId(std::string_view field, std::string_view value) {
    if (!value.empty()) Id(field, value);
  }
  void OptionalModel(std::string_view field, std::string_view value) {
    if (!value.empty() && !session::IsModelName(value)) {
      Add(field,
          absl::StrCat("must match ^[A-Za-z0-9][A-Za-z0-9._:/@\\[\\]-]{0,127}$,"
                       " unlike ",
                       Shown(value)));
    }
  }
  void Enum(std::string_view field, int value, bool known) {
    if (!known) {
      Add(field, absl::StrCat("has no value ", value, " in this version"));
    }
  }
  void Text(std::string_view field, std::string_view value, size_t max_bytes) {
    if (value.size() > max_bytes) {
      Add(field, absl::StrCat("must not exceed ", max_bytes, " bytes; it has ",
                              value.size()));
    } else if (!session::IsValidUtf8(value)) {
      Add(field, "must be valid UTF-8");
    }
  }
  // The fields of every list.
  template <typename Request>
  void Page(const Request& request) {
    if (request.page_size() < 0) {
      Add("page_size", absl::StrCat("must not be negative, as ",
                                    request.page_size(), " is"));
    }
    Text("page_token", request.page_token(), kMaxPageTokenBytes);
  }
  // The fields of every request about a session that changes something.
  template <typename Request>
  void Change(const Request& request) {
    Uuid("session_id", request.session_id());
    OptionalUuid("request_id", request.request_id());
  }
  template <typename Request>
  void TurnPolicy(const Request& request) {
    Enum("turn_policy", request.turn_policy(),
         v1::TurnPolicy_IsValid(request.turn_policy()));
  }

  bool empty() const { return list_.empty(); }
  absl::Status ToStatus() const {
    return list_.empty() ? absl::OkStatus() : FieldInvalid(list_);
  }

 private:
  std::vector<FieldViolation> list_;
};

bool IsUnder(std::string_view path, std::string_view root) {
  if (root == "/" || path == root) return true;
  return path.starts_with(root) && path[root.size()] == '/';
}

// What is wrong with `path`; empty if nothing is.
std::string WorkingDirectoryFault(const std::string& path, const Rules& rules) {
  if (path.empty()) return "is required";
  if (path.front() != '/') return "must be an absolute path";
  if (path.size() >= PATH_MAX) return "is too long for a path";
  if (std::any_of(path.begin(), path.end(), absl::ascii_iscntrl)) {
    return "must not contain control characters";
  }
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "." || part == "..") {
      return "must be normalized: without . and .. in it";
    }
  }
  const std::unique_ptr<char, decltype(&free)> resolved(
      realpath(path.c_str(), nullptr), &free);
  if (resolved == nullptr) {
    return absl::StrCat("cannot be used: ", std::strerror(errno));
  }
  const std::string_view target = resolved.get();
  if (!rules.working_directory_roots.empty() &&
      std::none_of(
          rules.working_directory_roots.begin(),
          rules.working_directory_roots.end(),
          [&](const std::string& root) { return IsUnder(target, root); })) {
    return "is not under a directory that this server allows";
  }
  struct stat info;
  if (stat(resolved.get(), &info) != 0) {
    return absl::StrCat("cannot be used: ", std::strerror(errno));
  }
  if (!S_ISDIR(info.st_mode)) return "is not a directory";
  if (access(resolved.get(), X_OK) != 0) {
    return absl::StrCat("cannot be entered: ", std::strerror(errno));
  }
  return "";
}

absl::Status NoSuchAgent(std::string_view agent, const Rules& rules) {
  absl::Status status =
      MakeError(Reason::kAgentNotFound,
                absl::StrCat("agent: there is no profile ", Shown(agent)),
                {{"agent", std::string(agent)}});
  const absl::Status field = FieldInvalid(
      "agent", rules.agents.empty()
                   ? "the server has no profile"
                   : absl::StrCat("must be a profile, one of ListAgents; ",
                                  Shown(agent), " is none"));
  status.SetPayload(kBadRequestUrl, *field.GetPayload(kBadRequestUrl));
  return status;
}

// A profile, or "" for the only one.
void CheckAgentName(std::string_view agent, const Rules& rules,
                    Violations& violations) {
  violations.OptionalId("agent", agent);
  if (agent.empty() && rules.agents.size() != 1) {
    violations.Add("agent", absl::StrCat("is required: the server has ",
                                         rules.agents.size(), " profiles"));
  }
}

absl::Status CheckAgentExists(std::string_view agent, const Rules& rules) {
  if (agent.empty() || std::find(rules.agents.begin(), rules.agents.end(),
                                 agent) != rules.agents.end()) {
    return absl::OkStatus();
  }
  return NoSuchAgent(agent, rules);
}

// `field` is the field's name.
template <typename Map>
void CheckLabels(std::string_view field, const Map& labels,
                 Violations& violations) {
  if (labels.size() > session::kMaxLabels) {
    violations.Add(field,
                   absl::StrCat("must not be more than ", session::kMaxLabels,
                                "; there are ", labels.size()));
    return;
  }
  for (const auto& [key, value] : labels) {
    if (!session::IsId(key)) {
      violations.Id(field, key);
    } else {
      violations.Text(absl::StrCat(std::string(field), ".", key), value,
                      kMaxLabelBytes);
    }
  }
}

void CheckUpdateMask(const google::protobuf::FieldMask& mask,
                     Violations& violations) {
  for (const std::string& path : mask.paths()) {
    if (path == "labels" || path == "*") continue;
    if (const auto key = LabelOfPath(path); key.has_value()) {
      if (session::IsId(*key)) continue;
    }
    const bool is_field =
        v1::Session::descriptor()->FindFieldByName(path) != nullptr;
    violations.Add(
        "update_mask",
        absl::StrCat("must have paths like labels, labels.KEY and *; ",
                     Shown(path),
                     is_field ? " cannot be changed" : " is no field"));
  }
}

void CheckImage(const std::string& field, const v1::Image& image,
                Violations& violations) {
  if (std::find(std::begin(kImageTypes), std::end(kImageTypes),
                image.mime_type()) == std::end(kImageTypes)) {
    violations.Add(field + ".mime_type",
                   absl::StrCat("must be image/png, image/jpeg, image/gif or "
                                "image/webp, not ",
                                Shown(image.mime_type())));
  }
  if (image.data().empty()) {
    violations.Add(field + ".data", "must not be empty");
  }
}

void CheckContent(const v1::Content& content, size_t max_bytes,
                  Violations& violations) {
  if (content.parts().empty()) {
    violations.Add("content.parts", "must not be empty");
  }
  if (content.parts_size() > kMaxParts) {
    violations.Add("content.parts",
                   absl::StrCat("must not be more than ", kMaxParts,
                                "; there are ", content.parts_size()));
    return;
  }
  size_t bytes = 0;
  for (int i = 0; i < content.parts_size(); ++i) {
    const v1::Part& part = content.parts(i);
    const std::string field = absl::StrCat("content.parts[", i, "]");
    switch (part.part_case()) {
      case v1::Part::kText:
        if (part.text().empty()) {
          violations.Add(field + ".text", "must not be empty");
        }
        violations.Text(field + ".text", part.text(), max_bytes);
        bytes += part.text().size();
        break;
      case v1::Part::kImage:
        CheckImage(field + ".image", part.image(), violations);
        bytes += part.image().data().size();
        break;
      case v1::Part::PART_NOT_SET:
        violations.Add(field, "must be text or image");
        break;
    }
  }
  if (bytes > max_bytes) {
    violations.Add("content", absl::StrCat("must not exceed ", max_bytes,
                                           " bytes; it has ", bytes));
  }
}

bool IsJsonObject(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != text.npos && text[begin] == '{' &&
         nlohmann::json::accept(text);
}

}  // namespace

std::optional<std::string_view> LabelOfPath(std::string_view path) {
  constexpr std::string_view kLabels = "labels.";
  if (!path.starts_with(kLabels)) return std::nullopt;
  return path.substr(kLabels.size());
}

absl::Status Check(const v1::CreateSessionRequest& request,
                   const Rules& rules) {
  Violations violations;
  violations.OptionalUuid("session_id", request.session_id());
  CheckAgentName(request.agent(), rules, violations);
  violations.OptionalModel("model", request.model());
  if (const std::string fault =
          WorkingDirectoryFault(request.working_directory(), rules);
      !fault.empty()) {
    violations.Add("working_directory", fault);
  }
  CheckLabels("labels", request.labels(), violations);
  violations.OptionalUuid("request_id", request.request_id());
  if (!violations.empty()) return violations.ToStatus();
  return CheckAgentExists(request.agent(), rules);
}

absl::Status Check(const v1::GetSessionRequest& request, const Rules&) {
  Violations violations;
  violations.Uuid("session_id", request.session_id());
  return violations.ToStatus();
}

absl::Status Check(const v1::ListSessionsRequest& request, const Rules&) {
  Violations violations;
  violations.Page(request);
  if (const auto filter = ParseFilter(request.filter()); !filter.ok()) {
    for (const auto& [field, text] : FieldViolationsOf(filter.status())) {
      violations.Add(field, text);
    }
  }
  return violations.ToStatus();
}

absl::Status Check(const v1::UpdateSessionRequest& request, const Rules&) {
  Violations violations;
  violations.Uuid("session.session_id", request.session().session_id());
  violations.OptionalUuid("request_id", request.request_id());
  CheckLabels("session.labels", request.session().labels(), violations);
  CheckUpdateMask(request.update_mask(), violations);
  return violations.ToStatus();
}

absl::Status Check(const v1::DeleteSessionRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::SendMessageRequest& request, const Rules& rules) {
  Violations violations;
  violations.Change(request);
  if (request.has_content()) {
    CheckContent(request.content(), rules.max_text_bytes, violations);
  } else if (request.text().empty()) {
    violations.Add("text", "must not be empty");
  } else if (request.text().find_first_not_of(" \t\r\n\v\f") ==
             std::string::npos) {
    violations.Add("text", "must not be blank");
  } else {
    violations.Text("text", request.text(), rules.max_text_bytes);
  }
  violations.OptionalModel("model", request.model());
  violations.Enum("wait_until", request.wait_until(),
                  v1::WaitUntil_IsValid(request.wait_until()));
  return violations.ToStatus();
}

absl::Status Check(const v1::SwitchModelRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  violations.OptionalModel("model", request.model());
  violations.TurnPolicy(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::ClearRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  violations.OptionalId("resume_agent_session_id",
                        request.resume_agent_session_id());
  violations.TurnPolicy(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::ResumeRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  violations.Id("agent_session_id", request.agent_session_id());
  violations.OptionalModel("model", request.model());
  violations.TurnPolicy(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::InterruptRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  violations.OptionalId("turn_id", request.turn_id());
  return violations.ToStatus();
}

absl::Status Check(const v1::ResolvePermissionRequest& request,
                   const Rules& rules) {
  Violations violations;
  violations.Change(request);
  violations.Id("permission_id", request.permission_id());
  violations.OptionalId("option_id", request.option_id());
  violations.Enum("decision", request.decision(),
                  v1::PermissionDecision_IsValid(request.decision()));
  if (request.decision() == v1::PERMISSION_DECISION_UNSPECIFIED &&
      request.option_id().empty()) {
    violations.Add("decision", "is required where there is no option_id");
  }
  violations.Enum("scope", request.scope(),
                  v1::PermissionScope_IsValid(request.scope()));
  if (const std::string& json = request.updated_input_json(); !json.empty()) {
    violations.Text("updated_input_json", json, rules.max_text_bytes);
    if (json.size() <= rules.max_text_bytes && !IsJsonObject(json)) {
      violations.Add("updated_input_json", "must be a JSON object");
    }
    if (request.decision() == v1::PERMISSION_DECISION_DENY &&
        request.option_id().empty()) {
      violations.Add("updated_input_json",
                     "must be empty where the tool is denied");
    }
  }
  violations.Text("message", request.message(), kMaxPermissionMessageBytes);
  return violations.ToStatus();
}

absl::Status Check(const v1::SetPermissionModeRequest& request, const Rules&) {
  Violations violations;
  violations.Change(request);
  violations.OptionalId("permission_mode", request.permission_mode());
  return violations.ToStatus();
}

absl::Status Check(const v1::ListAgentsRequest& request, const Rules&) {
  Violations violations;
  violations.Page(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::ListModelsRequest& request, const Rules& rules) {
  Violations violations;
  violations.OptionalUuid("session_id", request.session_id());
  if (request.session_id().empty()) {
    CheckAgentName(request.agent(), rules, violations);
  } else if (!request.agent().empty()) {
    violations.Add("agent", "must be empty where there is a session_id");
  }
  violations.Page(request);
  if (!violations.empty()) return violations.ToStatus();
  return CheckAgentExists(request.agent(), rules);
}

absl::Status Check(const v1::ListConversationsRequest& request, const Rules&) {
  Violations violations;
  violations.Uuid("session_id", request.session_id());
  violations.Page(request);
  return violations.ToStatus();
}

absl::Status Check(const v1::WatchEventsRequest& request, const Rules&) {
  Violations violations;
  violations.Uuid("session_id", request.session_id());
  return violations.ToStatus();
}

absl::Status Check(const v1::AttachRequest& request, const Rules&) {
  Violations violations;
  const auto command = [&](const std::string& inner_request_id) {
    violations.Uuid("request_id", request.request_id());
    if (!inner_request_id.empty() &&
        !absl::EqualsIgnoreCase(inner_request_id, request.request_id())) {
      violations.Add("request_id",
                     "of the command must be empty or that of the message");
    }
  };
  switch (request.command_case()) {
    case v1::AttachRequest::kSubscribe:
      violations.OptionalUuid("request_id", request.request_id());
      if (request.subscribe().subscription_id() == 0) {
        violations.Add("subscription_id", "must not be 0");
      }
      violations.Uuid("session_id", request.subscribe().session_id());
      break;
    case v1::AttachRequest::kUnsubscribe:
      violations.OptionalUuid("request_id", request.request_id());
      if (request.unsubscribe().subscription_id() == 0) {
        violations.Add("subscription_id", "must not be 0");
      }
      break;
    case v1::AttachRequest::kSendMessage:
      command(request.send_message().request_id());
      break;
    case v1::AttachRequest::kSwitchModel:
      command(request.switch_model().request_id());
      break;
    case v1::AttachRequest::kClear:
      command(request.clear().request_id());
      break;
    case v1::AttachRequest::kResume:
      command(request.resume().request_id());
      break;
    case v1::AttachRequest::kInterrupt:
      command(request.interrupt().request_id());
      break;
    case v1::AttachRequest::kResolvePermission:
      command(request.resolve_permission().request_id());
      break;
    case v1::AttachRequest::COMMAND_NOT_SET:
      violations.Add("command", "is required, and must be one of this version");
      break;
  }
  return violations.ToStatus();
}

}  // namespace understudy::service
