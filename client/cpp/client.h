// Client: the API of a server, one method for each RPC.
//
// Calls return StatusOr; the errors' reasons and details are read with
// proto/error.h. A request that may carry a `request_id` and has none gets one,
// so that every call is safe to repeat, and is repeated as retry.h says until
// its deadline.
//
// Threads: any; the object is immutable.

#ifndef UNDERSTUDY_CLIENT_CPP_CLIENT_H_
#define UNDERSTUDY_CLIENT_CPP_CLIENT_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/attach.h"
#include "client/cpp/event_stream.h"
#include "client/cpp/retry.h"
#include "grpcpp/impl/channel_interface.h"
#include "grpcpp/security/credentials.h"
#include "understudy/v1/agent_control.grpc.pb.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy::client {

struct ClientOptions {
  // Null: plain text, as on a unix socket.
  std::shared_ptr<grpc::ChannelCredentials> credentials = {};
  // How long Connect waits for the server to answer.
  absl::Duration connect_timeout = absl::Seconds(5);
  RetryOptions retry = {};
};

struct CallOptions {
  // For all tries together.
  absl::Duration timeout = absl::InfiniteDuration();
};

// Where the server is if nobody says: UNDERSTUDY_SERVER, else
// unix:${XDG_RUNTIME_DIR:-/tmp/understudy-UID}/understudy/understudy.sock.
std::string DefaultTarget();

class Client {
 public:
  // Connects to `target`, unix:/path or host:port; empty: DefaultTarget().
  // UNAVAILABLE if no server is reached there. A connection that is lost later
  // comes back by itself. FAILED_PRECONDITION: the folder of the default socket
  // is not this user's alone, so that another user's program might listen
  // there; a target that is named, here or by UNDERSTUDY_SERVER, is taken as it
  // is.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(
      const std::string& target = "", const ClientOptions& options = {});

  // On a channel of the caller's own making.
  explicit Client(std::shared_ptr<grpc::ChannelInterface> channel,
                  RetryOptions retry = {});

  absl::StatusOr<v1::Session> CreateSession(
      v1::CreateSessionRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::Session> GetSession(v1::GetSessionRequest request,
                                         const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListSessionsResponse> ListSessions(
      v1::ListSessionsRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::UpdateSessionResponse> UpdateSession(
      v1::UpdateSessionRequest request, const CallOptions& options = {}) const;
  absl::Status DeleteSession(v1::DeleteSessionRequest request,
                             const CallOptions& options = {}) const;

  absl::StatusOr<v1::SendMessageResponse> SendMessage(
      v1::SendMessageRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::TransitionResponse> SwitchModel(
      v1::SwitchModelRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::TransitionResponse> Clear(
      v1::ClearRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::TransitionResponse> Resume(
      v1::ResumeRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::InterruptResponse> Interrupt(
      v1::InterruptRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::ResolvePermissionResponse> ResolvePermission(
      v1::ResolvePermissionRequest request,
      const CallOptions& options = {}) const;
  absl::StatusOr<v1::SetPermissionModeResponse> SetPermissionMode(
      v1::SetPermissionModeRequest request,
      const CallOptions& options = {}) const;

  absl::StatusOr<v1::ListAgentsResponse> ListAgents(
      v1::ListAgentsRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListModelsResponse> ListModels(
      v1::ListModelsRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::ListConversationsResponse> ListConversations(
      v1::ListConversationsRequest request,
      const CallOptions& options = {}) const;

  absl::StatusOr<v1::GetPoolResponse> GetPool(
      v1::GetPoolRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::WarmPoolResponse> WarmPool(
      v1::WarmPoolRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::DrainSlotsResponse> DrainSlots(
      v1::DrainSlotsRequest request, const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      v1::GetServerInfoRequest request, const CallOptions& options = {}) const;

  // One WatchEvents call, as it is: calls `on_event` until it returns false
  // (OK) or the call ends (its status). Does not resume: StreamEvents does.
  absl::Status WatchEvents(const v1::WatchEventsRequest& request,
                           absl::FunctionRef<bool(const v1::Event&)> on_event,
                           const CallOptions& options = {}) const;

  // One Attach call. The observer must outlive it.
  std::unique_ptr<AttachStream> Attach(AttachStream::Observer& observer) const;

  // The events of a session, across interruptions.
  std::unique_ptr<EventStream> StreamEvents(EventStreamOptions options) const;

 private:
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(
      Stub& stub,
      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                   Response*),
      Request request, const CallOptions& options) const;

  const std::shared_ptr<grpc::ChannelInterface> channel_;
  const RetryOptions retry_;
  const std::unique_ptr<v1::AgentControl::Stub> control_;
  const std::unique_ptr<v1::PoolAdmin::Stub> pool_;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_CLIENT_H_
