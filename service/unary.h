// Unary: one call of a unary RPC, from its bytes to its one answer.
//
// Methods are raw: gRPC hands over the bytes, so that a request that cannot be
// decoded is refused with FIELD_INVALID like any other malformed one.
//
// Who answers first wins: the engine, or OnCancel when the client has gone or
// its deadline has passed (then the engine's call is withdrawn if it still
// waits). What comes later finds the call answered. The reactor lives until
// gRPC is done with it and nobody holds an Answer any more.
//
// Threads: any.

#ifndef UNDERSTUDY_SERVICE_UNARY_H_
#define UNDERSTUDY_SERVICE_UNARY_H_

#include <atomic>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "service/call_log.h"
#include "service/commands.h"

namespace understudy::service {

class UnaryReactor final : public grpc::ServerUnaryReactor,
                           public std::enable_shared_from_this<UnaryReactor> {
 public:
  // `commands` outlives the reactor, `response` until the call is done.
  static std::shared_ptr<UnaryReactor> Start(std::string_view method,
                                             Commands& commands,
                                             grpc::ByteBuffer* response);

  CallLog& log() { return log_; }

  // What OnCancel withdraws. Before the reactor is handed to gRPC.
  void set_call(session::CallId call) { call_ = call; }

  void Finish(const google::protobuf::Message& response);
  void Finish(const absl::Status& status);

 private:
  UnaryReactor(std::string_view method, Commands& commands,
               grpc::ByteBuffer* response)
      : commands_(commands), response_(response), log_(method) {}

  void OnCancel() override;
  void OnDone() override;

  // True for the one who may answer.
  bool Claim() { return !finished_.exchange(true); }

  Commands& commands_;
  grpc::ByteBuffer* const response_;
  CallLog log_;
  session::CallId call_ = 0;
  std::atomic<bool> finished_ = false;
  std::shared_ptr<UnaryReactor> self_;  // until OnDone
};

// Decodes `bytes`; notes the ids in `log`.
absl::Status ReadRequest(const grpc::ByteBuffer& bytes, CallLog& log,
                         google::protobuf::Message* request);

// Decodes the request, runs it by `run(request, answer)`, which returns the
// engine's call, and answers with what comes of it.
template <typename Request, typename Response, typename Run>
grpc::ServerUnaryReactor* Serve(std::string_view method, Commands& commands,
                                const grpc::ByteBuffer& bytes,
                                grpc::ByteBuffer* response, Run run) {
  const auto reactor = UnaryReactor::Start(method, commands, response);
  Request request;
  if (absl::Status status = ReadRequest(bytes, reactor->log(), &request);
      !status.ok()) {
    reactor->Finish(status);
    return reactor.get();
  }
  Answer<Response> answer = [reactor](absl::StatusOr<Response> result) {
    if (result.ok()) {
      reactor->Finish(*result);
    } else {
      reactor->Finish(result.status());
    }
  };
  reactor->set_call(run(request, std::move(answer)));
  return reactor.get();
}

template <typename Request, typename Response>
grpc::ServerUnaryReactor* Serve(
    std::string_view method, Commands& commands, const grpc::ByteBuffer& bytes,
    grpc::ByteBuffer* response,
    session::CallId (Commands::*run)(const Request&, Answer<Response>)) {
  return Serve<Request, Response>(
      method, commands, bytes, response,
      [&commands, run](const Request& request, Answer<Response> answer) {
        return (commands.*run)(request, std::move(answer));
      });
}

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_UNARY_H_
