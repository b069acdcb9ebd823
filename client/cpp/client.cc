#include "client/cpp/client.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/uuid.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"
#include "proto/rpc_status.h"

namespace understudy::client {
namespace {

// A server that restarts is back within a second or so.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 5000;

// A proxy of the environment is for other machines.
bool IsOnThisMachine(const std::string& address) {
  return absl::StartsWith(address, "unix:") ||
         absl::StartsWith(address, "localhost:") ||
         absl::StartsWith(address, "127.") ||
         absl::StartsWith(address, "[::1]:");
}

void SetDeadline(grpc::ClientContext& context, absl::Duration timeout) {
  if (timeout != absl::InfiniteDuration()) {
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  }
}

// Waits for the first try to connect to succeed or fail.
bool IsReached(grpc::Channel& channel, absl::Time deadline) {
  grpc_connectivity_state state = channel.GetState(/*try_to_connect=*/true);
  while (state != GRPC_CHANNEL_READY) {
    if (state == GRPC_CHANNEL_TRANSIENT_FAILURE ||
        state == GRPC_CHANNEL_SHUTDOWN ||
        !channel.WaitForStateChange(state, absl::ToChronoTime(deadline))) {
      return false;
    }
    state = channel.GetState(true);
  }
  return true;
}

// Why a channel is not connected: only a call is told.
std::string WhyNotReached(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(context, absl::Seconds(1));
  v1::GetServerInfoResponse response;
  const grpc::Status status =
      v1::PoolAdmin::NewStub(channel)->GetServerInfo(&context, {}, &response);
  return status.error_code() == grpc::StatusCode::UNAVAILABLE
             ? status.error_message()
             : "no answer in time";
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// The folder for this user's sockets.
std::string RuntimeFolder() {
  std::string folder = Variable("XDG_RUNTIME_DIR");
  return folder.empty() ? absl::StrCat("/tmp/understudy-", geteuid()) : folder;
}

// Who else could put a socket where the default one is would read and answer
// all that is meant for the server. OK also for a folder that does not exist.
absl::Status CheckFolder(const std::string& folder, bool is_private) {
  const auto refuse = [&](const char* why) {
    return absl::FailedPreconditionError(
        absl::StrCat("the default socket is not trusted: ", folder, " ", why));
  };
  struct stat info;
  if (lstat(folder.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISDIR(info.st_mode)) return refuse("is not a folder");
  const bool is_roots = info.st_uid == 0 && !is_private;
  if (info.st_uid != geteuid() && !is_roots) {
    return refuse("belongs to another user");
  }
  const bool is_sticky = (info.st_mode & S_ISVTX) != 0 && !is_private;
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !is_sticky) {
    return refuse("can be written to by others");
  }
  return absl::OkStatus();
}

// What of a server's default socket must be as the server makes it.
absl::Status CheckDefaultFolders() {
  const std::string folder = RuntimeFolder();
  absl::Status status = CheckFolder(folder, /*is_private=*/false);
  if (!status.ok()) return status;
  const std::string own = folder + "/understudy";
  if (access(own.c_str(), F_OK) != 0) {
    // Not even tried: another user might make it now.
    return absl::UnavailableError(absl::StrCat("connect to ", DefaultTarget(),
                                               ": ", std::strerror(errno)));
  }
  return CheckFolder(own, /*is_private=*/true);
}

}  // namespace

std::string DefaultTarget() {
  if (std::string target = Variable("UNDERSTUDY_SERVER"); !target.empty()) {
    return target;
  }
  return absl::StrCat("unix:", RuntimeFolder(), "/understudy/understudy.sock");
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(
    const std::string& target, const ClientOptions& options) {
  const std::string address = target.empty() ? DefaultTarget() : target;
  if (target.empty() && Variable("UNDERSTUDY_SERVER").empty()) {
    absl::Status status = CheckDefaultFolders();
    if (!status.ok()) return status;
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  if (IsOnThisMachine(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const auto channel = grpc::CreateCustomChannel(
      address,
      options.credentials != nullptr ? options.credentials
                                     : grpc::InsecureChannelCredentials(),
      arguments);
  if (!IsReached(*channel, absl::Now() + options.connect_timeout)) {
    return absl::UnavailableError(
        absl::StrCat("connect to ", address, ": ", WhyNotReached(channel)));
  }
  return std::make_unique<Client>(channel, options.retry);
}

Client::Client(std::shared_ptr<grpc::ChannelInterface> channel,
               RetryOptions retry)
    : channel_(std::move(channel)),
      retry_(std::move(retry)),
      control_(v1::AgentControl::NewStub(channel_)),
      pool_(v1::PoolAdmin::NewStub(channel_)) {}

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Client::Call(
    Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    Request request, const CallOptions& options) const {
  if constexpr (requires { request.set_request_id(""); }) {
    if (request.request_id().empty()) request.set_request_id(NewUuid());
  }
  Response response;
  const absl::Status status = CallWithRetries(
      retry_, absl::Now() + options.timeout, [&](grpc::ClientContext& context) {
        return (stub.*method)(&context, request, &response);
      });
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<v1::Session> Client::CreateSession(
    v1::CreateSessionRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::CreateSession,
              std::move(request), options);
}

absl::StatusOr<v1::Session> Client::GetSession(
    v1::GetSessionRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::GetSession,
              std::move(request), options);
}

absl::StatusOr<v1::ListSessionsResponse> Client::ListSessions(
    v1::ListSessionsRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::ListSessions,
              std::move(request), options);
}

absl::StatusOr<v1::UpdateSessionResponse> Client::UpdateSession(
    v1::UpdateSessionRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::UpdateSession,
              std::move(request), options);
}

absl::Status Client::DeleteSession(v1::DeleteSessionRequest request,
                                   const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::DeleteSession,
              std::move(request), options)
      .status();
}

absl::StatusOr<v1::SendMessageResponse> Client::SendMessage(
    v1::SendMessageRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::SendMessage,
              std::move(request), options);
}

absl::StatusOr<v1::TransitionResponse> Client::SwitchModel(
    v1::SwitchModelRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::SwitchModel,
              std::move(request), options);
}

absl::StatusOr<v1::TransitionResponse> Client::Clear(
    v1::ClearRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::Clear, std::move(request),
              options);
}

absl::StatusOr<v1::TransitionResponse> Client::Resume(
    v1::ResumeRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::Resume, std::move(request),
              options);
}

absl::StatusOr<v1::InterruptResponse> Client::Interrupt(
    v1::InterruptRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::Interrupt, std::move(request),
              options);
}

absl::StatusOr<v1::ResolvePermissionResponse> Client::ResolvePermission(
    v1::ResolvePermissionRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::ResolvePermission,
              std::move(request), options);
}

absl::StatusOr<v1::SetPermissionModeResponse> Client::SetPermissionMode(
    v1::SetPermissionModeRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::SetPermissionMode,
              std::move(request), options);
}

absl::StatusOr<v1::ListAgentsResponse> Client::ListAgents(
    v1::ListAgentsRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::ListAgents,
              std::move(request), options);
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels(
    v1::ListModelsRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::ListModels,
              std::move(request), options);
}

absl::StatusOr<v1::ListConversationsResponse> Client::ListConversations(
    v1::ListConversationsRequest request, const CallOptions& options) const {
  return Call(*control_, &v1::AgentControl::Stub::ListConversations,
              std::move(request), options);
}

absl::StatusOr<v1::GetPoolResponse> Client::GetPool(
    v1::GetPoolRequest request, const CallOptions& options) const {
  return Call(*pool_, &v1::PoolAdmin::Stub::GetPool, std::move(request),
              options);
}

absl::StatusOr<v1::WarmPoolResponse> Client::WarmPool(
    v1::WarmPoolRequest request, const CallOptions& options) const {
  return Call(*pool_, &v1::PoolAdmin::Stub::WarmPool, std::move(request),
              options);
}

absl::StatusOr<v1::DrainSlotsResponse> Client::DrainSlots(
    v1::DrainSlotsRequest request, const CallOptions& options) const {
  return Call(*pool_, &v1::PoolAdmin::Stub::DrainSlots, std::move(request),
              options);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo(
    v1::GetServerInfoRequest request, const CallOptions& options) const {
  return Call(*pool_, &v1::PoolAdmin::Stub::GetServerInfo, std::move(request),
              options);
}

absl::Status Client::WatchEvents(
    const v1::WatchEventsRequest& request,
    absl::FunctionRef<bool(const v1::Event&)> on_event,
    const CallOptions& options) const {
  grpc::ClientContext context;
  SetDeadline(context, options.timeout);
  const auto reader = control_->WatchEvents(&context, request);
  v1::Event event;
  while (reader->Read(&event)) {
    if (on_event(event)) continue;
    context.TryCancel();
    reader->Finish();
    return absl::OkStatus();
  }
  return FromGrpcStatus(reader->Finish());
}

std::unique_ptr<AttachStream> Client::Attach(
    AttachStream::Observer& observer) const {
  return std::make_unique<AttachStream>(channel_, observer);
}

std::unique_ptr<EventStream> Client::StreamEvents(
    EventStreamOptions options) const {
  return std::make_unique<EventStream>(channel_, std::move(options));
}

}  // namespace understudy::client
