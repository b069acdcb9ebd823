// Commands: what unary RPCs and the commands of Attach have in common. Each
// method checks the request, calls the engine, and turns its result into the
// answer.
//
// An answer is given exactly once: inside the call if the request breaks a
// rule, else usually on the engine's loop, where it must not block.
//
// Threads: any.

#ifndef UNDERSTUDY_SERVICE_COMMANDS_H_
#define UNDERSTUDY_SERVICE_COMMANDS_H_

#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/empty.pb.h"
#include "service/answer.h"
#include "service/check.h"
#include "session/session_manager.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

// CAPABILITY_MISSING: this version does not have `method`.
absl::Status UnsupportedError(std::string_view method);

class Commands {
 public:
  using CallId = session::CallId;

  // `manager` outlives this.
  Commands(session::SessionManager& manager, Rules rules);

  // Each returns what Withdraw takes, 0 if the call cannot be withdrawn.
  CallId CreateSession(const v1::CreateSessionRequest& request,
                       Answer<v1::Session> answer);
  CallId GetSession(const v1::GetSessionRequest& request,
                    Answer<v1::Session> answer);
  CallId ListSessions(const v1::ListSessionsRequest& request,
                      Answer<v1::ListSessionsResponse> answer);
  CallId UpdateSession(const v1::UpdateSessionRequest& request,
                       Answer<v1::UpdateSessionResponse> answer);
  CallId DeleteSession(const v1::DeleteSessionRequest& request,
                       Answer<google::protobuf::Empty> answer);
  CallId SendMessage(const v1::SendMessageRequest& request,
                     Answer<v1::SendMessageResponse> answer);
  CallId SwitchModel(const v1::SwitchModelRequest& request,
                     Answer<v1::TransitionResponse> answer);
  CallId Clear(const v1::ClearRequest& request,
               Answer<v1::TransitionResponse> answer);
  CallId Resume(const v1::ResumeRequest& request,
                Answer<v1::TransitionResponse> answer);
  CallId Interrupt(const v1::InterruptRequest& request,
                   Answer<v1::InterruptResponse> answer);
  CallId ResolvePermission(const v1::ResolvePermissionRequest& request,
                           Answer<v1::ResolvePermissionResponse> answer);
  CallId SetPermissionMode(const v1::SetPermissionModeRequest& request,
                           Answer<v1::SetPermissionModeResponse> answer);
  CallId ListAgents(const v1::ListAgentsRequest& request,
                    Answer<v1::ListAgentsResponse> answer);
  CallId ListModels(const v1::ListModelsRequest& request,
                    Answer<v1::ListModelsResponse> answer);
  CallId ListConversations(const v1::ListConversationsRequest& request,
                           Answer<v1::ListConversationsResponse> answer);

  // The caller no longer waits.
  void Withdraw(CallId call);

  const Rules& rules() const { return rules_; }

 private:
  template <typename Request>
  CallId Move(const Request& request, Answer<v1::TransitionResponse> answer);

  session::SessionManager& manager_;
  const Rules rules_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_COMMANDS_H_
