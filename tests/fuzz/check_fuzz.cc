// Requests as they may come over the wire: what passes the checks keeps the
// rules that proto/README.md and the protos state, written down here a second
// time; what does not pass is told so in an error that is fit to be shown.
//
// The first byte chooses the request; the rest is its bytes.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "proto/error.h"
#include "service/check.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

constexpr size_t kMaxText = 256;

bool IsHex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
         (c >= 'A' && c <= 'F');
}

bool IsLetterOrDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

void Uuid(const std::string& id) {
  const std::string form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  Require(id.size() == form.size(), "a UUID", id);
  for (size_t i = 0; i < id.size(); ++i) {
    Require(form[i] == '-' ? id[i] == '-' : IsHex(id[i]), "a UUID", id);
  }
}

void MadeOf(const std::string& text, std::string_view punctuation) {
  Require(!text.empty() && text.size() <= 128 && IsLetterOrDigit(text[0]),
          "an id or a model", text);
  for (const char c : text) {
    Require(IsLetterOrDigit(c) || punctuation.find(c) != punctuation.npos,
            "an id or a model", text);
  }
}

void OptionalUuid(const std::string& id) {
  if (!id.empty()) Uuid(id);
}
void Id(const std::string& id) { MadeOf(id, "._:-"); }
void OptionalId(const std::string& id) {
  if (!id.empty()) Id(id);
}
void OptionalModel(const std::string& model) {
  if (!model.empty()) MadeOf(model, "._:/@[]-");
}
void Text(const std::string& text) {
  Require(!text.empty() && text.size() <= kMaxText, "a text within its bound");
}
template <typename Request>
void Change(const Request& request) {
  Uuid(request.session_id());
  OptionalUuid(request.request_id());
}
template <typename Request>
void Page(const Request& request) {
  Require(request.page_size() >= 0, "a page size");
}
void Agent(const std::string& agent) {
  Require(agent.empty() || agent == "claude", "a profile that exists", agent);
}

void Rules(const v1::CreateSessionRequest& request) {
  OptionalUuid(request.session_id());
  OptionalUuid(request.request_id());
  Agent(request.agent());
  OptionalModel(request.model());
  const std::string& directory = request.working_directory();
  Require(directory == "/tmp" || directory.starts_with("/tmp/"),
          "a directory under its root", directory);
  Require(directory.find("..") == std::string::npos ||
              directory.find("/../") == std::string::npos,
          "a directory that does not climb", directory);
  for (const auto& [key, value] : request.labels()) {
    Id(key);
    Require(value.size() <= 256, "a label within its bound");
  }
}
void Rules(const v1::GetSessionRequest& request) { Uuid(request.session_id()); }
void Rules(const v1::ListSessionsRequest& request) { Page(request); }
void Rules(const v1::DeleteSessionRequest& request) { Change(request); }
void Rules(const v1::SendMessageRequest& request) {
  Change(request);
  OptionalModel(request.model());
  Require(v1::WaitUntil_IsValid(request.wait_until()), "a known wait_until");
  if (!request.has_content()) return Text(request.text());
  size_t bytes = 0;
  Require(request.content().parts_size() > 0, "content has parts");
  for (const v1::Part& part : request.content().parts()) {
    Require(part.part_case() != v1::Part::PART_NOT_SET, "a part is something");
    if (part.has_text()) Text(part.text());
    bytes += part.text().size() + part.image().data().size();
  }
  Require(bytes <= kMaxText, "content within its bound");
}
void Rules(const v1::SwitchModelRequest& request) {
  Change(request);
  OptionalModel(request.model());
  Require(v1::TurnPolicy_IsValid(request.turn_policy()), "a known policy");
}
void Rules(const v1::ClearRequest& request) {
  Change(request);
  OptionalId(request.resume_agent_session_id());
  Require(v1::TurnPolicy_IsValid(request.turn_policy()), "a known policy");
}
void Rules(const v1::ResumeRequest& request) {
  Change(request);
  Id(request.agent_session_id());
  OptionalModel(request.model());
  Require(v1::TurnPolicy_IsValid(request.turn_policy()), "a known policy");
}
void Rules(const v1::InterruptRequest& request) {
  Change(request);
  OptionalId(request.turn_id());
}
void Rules(const v1::ResolvePermissionRequest& request) {
  Change(request);
  Id(request.permission_id());
  OptionalId(request.option_id());
  Require(v1::PermissionDecision_IsValid(request.decision()) &&
              v1::PermissionScope_IsValid(request.scope()),
          "known values");
  Require(request.decision() != v1::PERMISSION_DECISION_UNSPECIFIED ||
              !request.option_id().empty(),
          "a decision");
  const std::string& json = request.updated_input_json();
  Require(json.empty() || nlohmann::json::parse(json).is_object(),
          "an input is an object", json);
}
void Rules(const v1::ListAgentsRequest& request) { Page(request); }
void Rules(const v1::ListModelsRequest& request) {
  OptionalUuid(request.session_id());
  Agent(request.agent());
  Page(request);
}
void Rules(const v1::ListConversationsRequest& request) {
  Uuid(request.session_id());
  Page(request);
}
void Rules(const v1::WatchEventsRequest& request) {
  Uuid(request.session_id());
}
void Rules(const v1::AttachRequest& request) {
  switch (request.command_case()) {
    case v1::AttachRequest::kSubscribe:
      OptionalUuid(request.request_id());
      return Require(request.subscribe().subscription_id() != 0, "not 0");
    case v1::AttachRequest::kUnsubscribe:
      OptionalUuid(request.request_id());
      return Require(request.unsubscribe().subscription_id() != 0, "not 0");
    case v1::AttachRequest::COMMAND_NOT_SET:
      return Require(false, "a command");
    default:
      return Uuid(request.request_id());
  }
}

// What goes to a person and into a log.
void Shown(const absl::Status& status) {
  Require(ReasonOf(status).has_value(), "an error has a reason");
  const std::string_view message(status.message().data(),
                                 status.message().size());
  Require(!message.empty() &&
              std::all_of(message.begin(), message.end(),
                          [](char c) { return c >= ' ' && c <= '~'; }),
          "an error is printable", message);
  Require(message.size() < 64 << 10, "an error has a bound");
}

template <typename Request>
void Try(std::string_view bytes) {
  static const service::Rules rules{.max_text_bytes = kMaxText,
                                    .working_directory_roots = {"/tmp"},
                                    .agents = {"claude"}};
  Request request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return;
  }
  const absl::Status status = Check(request, rules);
  if (status.ok()) {
    Rules(request);
  } else {
    Shown(status);
  }
}

constexpr void (*kTries[])(std::string_view) = {
    Try<v1::CreateSessionRequest>,
    Try<v1::GetSessionRequest>,
    Try<v1::ListSessionsRequest>,
    Try<v1::DeleteSessionRequest>,
    Try<v1::SendMessageRequest>,
    Try<v1::SwitchModelRequest>,
    Try<v1::ClearRequest>,
    Try<v1::ResumeRequest>,
    Try<v1::InterruptRequest>,
    Try<v1::ResolvePermissionRequest>,
    Try<v1::ListAgentsRequest>,
    Try<v1::ListModelsRequest>,
    Try<v1::ListConversationsRequest>,
    Try<v1::WatchEventsRequest>,
    Try<v1::AttachRequest>,
};

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Input input(data, size);
  const size_t which = input.Byte() % std::size(understudy::fuzz::kTries);
  understudy::fuzz::kTries[which](input.rest());
  return 0;
}
