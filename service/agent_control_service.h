// AgentControlService: the gRPC methods of AgentControl. It has no state of its
// own and decides nothing: requests go to Commands, streams to their reactors.
//
// Every method is raw (bytes in, bytes out): what cannot be decoded is answered
// like any malformed request, and events are sent as the log holds them.
//
// Threads: gRPC's.

#ifndef UNDERSTUDY_SERVICE_AGENT_CONTROL_SERVICE_H_
#define UNDERSTUDY_SERVICE_AGENT_CONTROL_SERVICE_H_

#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "service/commands.h"
#include "service/feed.h"
#include "service/stream_set.h"
#include "understudy/v1/agent_control.grpc.pb.h"

namespace understudy::service {

// clang-format off
using RawAgentControl =
    v1::AgentControl::WithRawCallbackMethod_CreateSession<
    v1::AgentControl::WithRawCallbackMethod_GetSession<
    v1::AgentControl::WithRawCallbackMethod_ListSessions<
    v1::AgentControl::WithRawCallbackMethod_UpdateSession<
    v1::AgentControl::WithRawCallbackMethod_DeleteSession<
    v1::AgentControl::WithRawCallbackMethod_SendMessage<
    v1::AgentControl::WithRawCallbackMethod_SwitchModel<
    v1::AgentControl::WithRawCallbackMethod_Clear<
    v1::AgentControl::WithRawCallbackMethod_Resume<
    v1::AgentControl::WithRawCallbackMethod_Interrupt<
    v1::AgentControl::WithRawCallbackMethod_ResolvePermission<
    v1::AgentControl::WithRawCallbackMethod_SetPermissionMode<
    v1::AgentControl::WithRawCallbackMethod_ListAgents<
    v1::AgentControl::WithRawCallbackMethod_ListModels<
    v1::AgentControl::WithRawCallbackMethod_ListConversations<
    v1::AgentControl::WithRawCallbackMethod_WatchEvents<
    v1::AgentControl::WithRawCallbackMethod_Attach<
    v1::AgentControl::Service>>>>>>>>>>>>>>>>>;
// clang-format on

class AgentControlService final : public RawAgentControl {
 public:
  // `commands` and `streams` outlive the service.
  AgentControlService(const StreamGround& ground, Commands& commands,
                      StreamSet& streams, absl::Duration progress_interval);

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Unary = grpc::ServerUnaryReactor;

  Unary* CreateSession(Context*, const Bytes*, Bytes*) override;
  Unary* GetSession(Context*, const Bytes*, Bytes*) override;
  Unary* ListSessions(Context*, const Bytes*, Bytes*) override;
  Unary* UpdateSession(Context*, const Bytes*, Bytes*) override;
  Unary* DeleteSession(Context*, const Bytes*, Bytes*) override;
  Unary* SendMessage(Context*, const Bytes*, Bytes*) override;
  Unary* SwitchModel(Context*, const Bytes*, Bytes*) override;
  Unary* Clear(Context*, const Bytes*, Bytes*) override;
  Unary* Resume(Context*, const Bytes*, Bytes*) override;
  Unary* Interrupt(Context*, const Bytes*, Bytes*) override;
  Unary* ResolvePermission(Context*, const Bytes*, Bytes*) override;
  Unary* SetPermissionMode(Context*, const Bytes*, Bytes*) override;
  Unary* ListAgents(Context*, const Bytes*, Bytes*) override;
  Unary* ListModels(Context*, const Bytes*, Bytes*) override;
  Unary* ListConversations(Context*, const Bytes*, Bytes*) override;
  grpc::ServerWriteReactor<Bytes>* WatchEvents(Context*, const Bytes*) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* Attach(Context*) override;

 private:
  const StreamGround ground_;
  Commands& commands_;
  StreamSet& streams_;
  const absl::Duration progress_interval_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_AGENT_CONTROL_SERVICE_H_
