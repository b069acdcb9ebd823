#include "service/convert.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/util/time_util.h"
#include "service/filter.h"
#include "session/base/id.h"

namespace understudy::service {
namespace {

using session::MoveParams;
using session::SessionState;

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

// The directory that was checked, whatever becomes of a link to it.
std::string Resolved(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(
      realpath(path.c_str(), nullptr), &free);
  return resolved == nullptr ? path : std::string(resolved.get());
}

session::TurnPolicy ToTurnPolicy(v1::TurnPolicy policy) {
  switch (policy) {
    case v1::TURN_POLICY_INTERRUPT:
      return session::TurnPolicy::kInterrupt;
    case v1::TURN_POLICY_FAIL:
      return session::TurnPolicy::kFail;
    default:
      return session::TurnPolicy::kAfterTurn;
  }
}

v1::SessionState ToState(SessionState state) {
  switch (state) {
    case SessionState::kDormant:
      return v1::SESSION_STATE_DORMANT;
    case SessionState::kIdle:
      return v1::SESSION_STATE_IDLE;
    case SessionState::kRunning:
      return v1::SESSION_STATE_RUNNING;
    case SessionState::kTransitioning:
      return v1::SESSION_STATE_TRANSITIONING;
  }
  return v1::SESSION_STATE_UNSPECIFIED;
}

std::string ToText(const v1::SendMessageRequest& request) {
  if (!request.has_content()) return request.text();
  std::string text;
  for (const v1::Part& part : request.content().parts()) {
    text += part.text();
  }
  return text;
}

// FNV-1a of 128 bits: stable and quick, and a client that searches for a
// collision only confuses itself.
std::string Hash(std::string_view bytes) {
  using Wide = unsigned __int128;
  constexpr Wide kPrime = (Wide{1} << 88) + 0x13b;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64) + 0x62b821756295c58d;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<uint8_t>(byte)) * kPrime;
  }
  return absl::StrCat(
      absl::Hex(static_cast<uint64_t>(hash >> 64), absl::kZeroPad16),
      absl::Hex(static_cast<uint64_t>(hash), absl::kZeroPad16));
}

// What 0 means, of an enumeration that has a default; else 0.
int DefaultOf(const google::protobuf::EnumDescriptor* type) {
  if (type == v1::WaitUntil_descriptor()) return v1::WAIT_UNTIL_ACCEPTED;
  if (type == v1::TurnPolicy_descriptor()) return v1::TURN_POLICY_AFTER_TURN;
  if (type == v1::PermissionScope_descriptor()) {
    return v1::PERMISSION_SCOPE_ONCE;
  }
  return 0;
}

}  // namespace

std::string LowerUuid(std::string_view id) {
  return session::CanonicalUuid(id).value_or(std::string());
}

std::string Fingerprint(const google::protobuf::Message& request) {
  const std::unique_ptr<google::protobuf::Message> content(request.New());
  content->CopyFrom(request);
  const google::protobuf::Reflection& reflection = *content->GetReflection();
  const google::protobuf::Descriptor& descriptor = *content->GetDescriptor();
  if (const auto* field = descriptor.FindFieldByName("request_id")) {
    reflection.ClearField(content.get(), field);
  }
  if (const auto* field = descriptor.FindFieldByName("session_id")) {
    reflection.SetString(content.get(), field,
                         LowerUuid(reflection.GetString(*content, field)));
  }
  if (const auto* field = descriptor.FindFieldByName("session")) {
    auto& session = static_cast<v1::Session&>(
        *reflection.MutableMessage(content.get(), field));
    session.set_session_id(LowerUuid(session.session_id()));
  }
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = descriptor.field(i);
    if (field->enum_type() != nullptr &&
        reflection.GetEnumValue(*content, field) ==
            DefaultOf(field->enum_type())) {
      reflection.ClearField(content.get(), field);
    }
  }
  std::string bytes = absl::StrCat(descriptor.full_name(), "\n");
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    content->SerializeToCodedStream(&coded);
  }
  return Hash(bytes);
}

int ToPageSize(int page_size) {
  return page_size == 0 ? kDefaultPageSize : std::min(page_size, kMaxPageSize);
}

session::CreateParams ToParams(const v1::CreateSessionRequest& request,
                               const Rules& rules) {
  session::CreateParams params;
  params.session_id = LowerUuid(request.session_id());
  params.agent =
      request.agent().empty() ? rules.agents.front() : request.agent();
  params.model = request.model();
  params.working_directory = Resolved(request.working_directory());
  params.labels = {request.labels().begin(), request.labels().end()};
  return params;
}

absl::StatusOr<session::ListParams> ToParams(
    const v1::ListSessionsRequest& request) {
  absl::StatusOr<session::ListParams> params = ParseFilter(request.filter());
  if (params.ok()) {
    params->page_size = ToPageSize(request.page_size());
    params->page_token = request.page_token();
  }
  return params;
}

session::SendParams ToParams(const v1::SendMessageRequest& request) {
  session::SendParams params;
  params.session_id = LowerUuid(request.session_id());
  params.text = ToText(request);
  if (request.has_content()) {
    params.content = std::make_shared<const v1::Content>(request.content());
  }
  if (!request.model().empty()) params.model = request.model();
  params.wait_completed = request.wait_until() == v1::WAIT_UNTIL_COMPLETED;
  return params;
}

session::UpdateParams ToParams(const v1::UpdateSessionRequest& request) {
  const auto& paths = request.update_mask().paths();
  const auto& labels = request.session().labels();
  session::UpdateParams params;
  params.session_id = LowerUuid(request.session().session_id());
  // Without a mask what is there is meant, and there is no empty map.
  params.replace = paths.empty() && !labels.empty();
  for (const std::string& path : paths) {
    if (const auto key = LabelOfPath(path); !key.has_value()) {
      params.replace = true;
    } else if (const auto label = labels.find(std::string(*key));
               label == labels.end()) {
      params.labels[std::string(*key)] = std::nullopt;
    } else {
      params.labels[label->first] = label->second;
    }
  }
  if (params.replace) params.labels = {labels.begin(), labels.end()};
  return params;
}

session::ModeParams ToParams(const v1::SetPermissionModeRequest& request) {
  return {.session_id = LowerUuid(request.session_id()),
          .permission_mode = request.permission_mode()};
}

MoveParams ToParams(const v1::SwitchModelRequest& request) {
  MoveParams params;
  params.kind = MoveParams::Kind::kSwitchModel;
  params.session_id = LowerUuid(request.session_id());
  params.model = request.model();
  params.policy = ToTurnPolicy(request.turn_policy());
  return params;
}

MoveParams ToParams(const v1::ClearRequest& request) {
  MoveParams params;
  params.kind = MoveParams::Kind::kClear;
  params.session_id = LowerUuid(request.session_id());
  params.conversation = request.resume_agent_session_id();
  params.policy = ToTurnPolicy(request.turn_policy());
  return params;
}

MoveParams ToParams(const v1::ResumeRequest& request) {
  MoveParams params;
  params.kind = MoveParams::Kind::kResume;
  params.session_id = LowerUuid(request.session_id());
  params.conversation = request.agent_session_id();
  if (!request.model().empty()) params.model = request.model();
  params.policy = ToTurnPolicy(request.turn_policy());
  return params;
}

session::PermissionParams ToParams(
    const v1::ResolvePermissionRequest& request) {
  session::PermissionParams params;
  params.session_id = LowerUuid(request.session_id());
  params.permission_id = request.permission_id();
  params.answer.decision = request.decision();
  params.answer.scope = request.scope() == v1::PERMISSION_SCOPE_UNSPECIFIED
                            ? v1::PERMISSION_SCOPE_ONCE
                            : request.scope();
  params.answer.option_id = request.option_id();
  params.answer.updated_input_json = request.updated_input_json();
  params.answer.message = request.message();
  return params;
}

v1::Session ToSession(const session::SessionInfo& info) {
  v1::Session session;
  session.set_session_id(info.record.session_id());
  session.set_agent(info.record.agent());
  session.set_model(info.record.model());
  session.set_model_override(info.record.model_override());
  session.set_working_directory(info.record.working_directory());
  *session.mutable_labels() = info.record.labels();
  session.set_state(ToState(info.state));
  session.set_agent_session_id(info.record.agent_session_id());
  session.set_incarnation(info.record.incarnation());
  session.set_epoch(info.epoch);
  session.set_running_turn_id(info.running_turn_id);
  session.set_queued_messages(info.queued_messages);
  for (const std::string& id : info.pending_permission_ids) {
    session.add_pending_permission_ids(id);
  }
  session.set_oldest_sequence(info.oldest_sequence);
  session.set_newest_sequence(info.newest_sequence);
  *session.mutable_usage() = info.record.usage();
  *session.mutable_create_time() = info.record.create_time();
  *session.mutable_update_time() = info.record.update_time();
  session.set_permission_mode(info.record.permission_mode());
  return session;
}

v1::SendMessageResponse ToResponse(const session::SendResult& result) {
  v1::SendMessageResponse response;
  response.set_turn_id(result.turn_id);
  response.set_sequence(result.sequence);
  if (!result.completed.has_value()) return response;
  const v1::TurnCompleted& completed = *result.completed;
  response.set_outcome(completed.outcome());
  response.set_stop_reason(completed.stop_reason());
  response.set_text(completed.text());
  if (completed.has_usage()) *response.mutable_usage() = completed.usage();
  if (completed.has_error()) *response.mutable_error() = completed.error();
  return response;
}

v1::TransitionResponse ToResponse(std::string_view session_id,
                                  const session::MoveResult& result) {
  v1::TransitionResponse response;
  response.set_session_id(std::string(session_id));
  response.set_agent(result.agent);
  response.set_changed(result.changed);
  response.set_previous_model(result.previous_model);
  response.set_model(result.model);
  response.set_previous_agent_session_id(result.previous_agent_session_id);
  response.set_agent_session_id(result.agent_session_id);
  response.set_route(result.route);
  response.set_verified(result.verified);
  response.set_incarnation(result.incarnation);
  response.set_sequence(result.sequence);
  return response;
}

v1::InterruptResponse ToResponse(const session::InterruptResult& result) {
  v1::InterruptResponse response;
  response.set_interrupted(result.interrupted);
  response.set_turn_id(result.turn_id);
  return response;
}

v1::Agent ToAgent(const session::AgentInfo& info) {
  v1::Agent agent;
  agent.set_name(info.name);
  agent.set_kind(info.kind);
  agent.set_version(info.version);
  agent.set_default_model(info.default_model);
  v1::Capabilities& capabilities = *agent.mutable_capabilities();
  capabilities.set_known(info.known);
  capabilities.set_native_switch(info.capabilities.switch_model);
  capabilities.set_clear(info.capabilities.new_conversation);
  capabilities.set_resume(info.capabilities.load_conversation);
  capabilities.set_interrupt(info.capabilities.interrupt);
  capabilities.set_permissions(info.capabilities.permissions);
  return agent;
}

v1::Model ToModel(const session::ModelRow& row) {
  v1::Model model;
  model.set_model(row.model);
  model.set_name(row.name);
  model.set_is_current(row.is_current);
  model.set_is_default(row.is_default);
  model.set_known(row.known);
  return model;
}

v1::Conversation ToConversation(const session::ConversationRow& row) {
  v1::Conversation conversation;
  conversation.set_agent_session_id(row.agent_session_id);
  *conversation.mutable_update_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(row.update_time));
  conversation.set_first_prompt(row.first_prompt);
  conversation.set_source(v1::CONVERSATION_SOURCE_LOCAL);
  return conversation;
}

}  // namespace understudy::service
