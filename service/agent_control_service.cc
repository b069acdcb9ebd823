#include "service/agent_control_service.h"

#include "service/attach_reactor.h"
#include "service/unary.h"
#include "service/watch_reactor.h"

namespace understudy::service {

AgentControlService::AgentControlService(const StreamGround& ground,
                                         Commands& commands, StreamSet& streams,
                                         absl::Duration progress_interval)
    : ground_(ground),
      commands_(commands),
      streams_(streams),
      progress_interval_(progress_interval) {}

grpc::ServerUnaryReactor* AgentControlService::CreateSession(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("CreateSession", commands_, *request, response,
               &Commands::CreateSession);
}

grpc::ServerUnaryReactor* AgentControlService::GetSession(Context*,
                                                          const Bytes* request,
                                                          Bytes* response) {
  return Serve("GetSession", commands_, *request, response,
               &Commands::GetSession);
}

grpc::ServerUnaryReactor* AgentControlService::ListSessions(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("ListSessions", commands_, *request, response,
               &Commands::ListSessions);
}

grpc::ServerUnaryReactor* AgentControlService::UpdateSession(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("UpdateSession", commands_, *request, response,
               &Commands::UpdateSession);
}

grpc::ServerUnaryReactor* AgentControlService::DeleteSession(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("DeleteSession", commands_, *request, response,
               &Commands::DeleteSession);
}

grpc::ServerUnaryReactor* AgentControlService::SendMessage(Context*,
                                                           const Bytes* request,
                                                           Bytes* response) {
  return Serve("SendMessage", commands_, *request, response,
               &Commands::SendMessage);
}

grpc::ServerUnaryReactor* AgentControlService::SwitchModel(Context*,
                                                           const Bytes* request,
                                                           Bytes* response) {
  return Serve("SwitchModel", commands_, *request, response,
               &Commands::SwitchModel);
}

grpc::ServerUnaryReactor* AgentControlService::Clear(Context*,
                                                     const Bytes* request,
                                                     Bytes* response) {
  return Serve("Clear", commands_, *request, response, &Commands::Clear);
}

grpc::ServerUnaryReactor* AgentControlService::Resume(Context*,
                                                      const Bytes* request,
                                                      Bytes* response) {
  return Serve("Resume", commands_, *request, response, &Commands::Resume);
}

grpc::ServerUnaryReactor* AgentControlService::Interrupt(Context*,
                                                         const Bytes* request,
                                                         Bytes* response) {
  return Serve("Interrupt", commands_, *request, response,
               &Commands::Interrupt);
}

grpc::ServerUnaryReactor* AgentControlService::ResolvePermission(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("ResolvePermission", commands_, *request, response,
               &Commands::ResolvePermission);
}

grpc::ServerUnaryReactor* AgentControlService::SetPermissionMode(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("SetPermissionMode", commands_, *request, response,
               &Commands::SetPermissionMode);
}

grpc::ServerUnaryReactor* AgentControlService::ListAgents(Context*,
                                                          const Bytes* request,
                                                          Bytes* response) {
  return Serve("ListAgents", commands_, *request, response,
               &Commands::ListAgents);
}

grpc::ServerUnaryReactor* AgentControlService::ListModels(Context*,
                                                          const Bytes* request,
                                                          Bytes* response) {
  return Serve("ListModels", commands_, *request, response,
               &Commands::ListModels);
}

grpc::ServerUnaryReactor* AgentControlService::ListConversations(
    Context*, const Bytes* request, Bytes* response) {
  return Serve("ListConversations", commands_, *request, response,
               &Commands::ListConversations);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* AgentControlService::WatchEvents(
    Context*, const Bytes* request) {
  return WatchReactor::Start(ground_, streams_, commands_.rules(), *request);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
AgentControlService::Attach(Context*) {
  return AttachReactor::Start(ground_, streams_, commands_, progress_interval_);
}

}  // namespace understudy::service
