#include "service/unary.h"

#include "proto/rpc_status.h"
#include "service/wire.h"

namespace understudy::service {

std::shared_ptr<UnaryReactor> UnaryReactor::Start(std::string_view method,
                                                  Commands& commands,
                                                  grpc::ByteBuffer* response) {
  std::shared_ptr<UnaryReactor> reactor(
      new UnaryReactor(method, commands, response));
  reactor->self_ = reactor;
  return reactor;
}

void UnaryReactor::Finish(const google::protobuf::Message& response) {
  if (!Claim()) return;
  *response_ = SerializeMessage(response);
  log_.Finish(absl::OkStatus());
  ServerUnaryReactor::Finish(grpc::Status::OK);
}

void UnaryReactor::Finish(const absl::Status& status) {
  if (!Claim()) return;
  log_.Finish(status);
  ServerUnaryReactor::Finish(ToGrpcStatus(status));
}

void UnaryReactor::OnCancel() {
  Finish(absl::CancelledError("the client no longer waits"));
  commands_.Withdraw(call_);
}

void UnaryReactor::OnDone() { self_.reset(); }

absl::Status ReadRequest(const grpc::ByteBuffer& bytes, CallLog& log,
                         google::protobuf::Message* request) {
  absl::Status status = ParseMessage(bytes, request);
  if (status.ok()) log.Read(*request);
  return status;
}

}  // namespace understudy::service
