// Convert: requests of the API into calls of the engine, and its results into
// answers.
//
// Requests have passed Check. Ids leave in lower case. Pure functions; any
// thread.

#ifndef UNDERSTUDY_SERVICE_CONVERT_H_
#define UNDERSTUDY_SERVICE_CONVERT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "service/check.h"
#include "session/calls.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

// `id`, a UUID or empty, in lower case.
std::string LowerUuid(std::string_view id);

// Of the request's content: equal for requests that ask for the same,
// whatever their request_id, the case of their ids, and whether they spell a
// default out; other for all others; the same in every process.
std::string Fingerprint(const google::protobuf::Message& request);

// Who asks; `request` has a field request_id.
template <typename Request>
session::Caller ToCaller(const Request& request) {
  session::Caller caller;
  caller.request_id = LowerUuid(request.request_id());
  if (!caller.request_id.empty()) caller.fingerprint = Fingerprint(request);
  return caller;
}

// How many rows a page has that was asked for with `page_size`.
int ToPageSize(int page_size);

session::CreateParams ToParams(const v1::CreateSessionRequest& request,
                               const Rules& rules);
absl::StatusOr<session::ListParams> ToParams(
    const v1::ListSessionsRequest& request);
session::SendParams ToParams(const v1::SendMessageRequest& request);
session::UpdateParams ToParams(const v1::UpdateSessionRequest& request);
session::ModeParams ToParams(const v1::SetPermissionModeRequest& request);
session::MoveParams ToParams(const v1::SwitchModelRequest& request);
session::MoveParams ToParams(const v1::ClearRequest& request);
session::MoveParams ToParams(const v1::ResumeRequest& request);
session::PermissionParams ToParams(const v1::ResolvePermissionRequest& request);

v1::Session ToSession(const session::SessionInfo& info);

v1::SendMessageResponse ToResponse(const session::SendResult& result);
v1::TransitionResponse ToResponse(std::string_view session_id,
                                  const session::MoveResult& result);
v1::InterruptResponse ToResponse(const session::InterruptResult& result);
v1::Agent ToAgent(const session::AgentInfo& info);
v1::Model ToModel(const session::ModelRow& row);
v1::Conversation ToConversation(const session::ConversationRow& row);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_CONVERT_H_
