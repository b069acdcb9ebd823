// FakeAgentControl: a server of understudy.v1 that keeps nothing and does as a
// test tells it: fails calls, records what it was sent, shows a log of events
// that the test writes.
//
// It has one session, kSessionId; its agent answers a message "fail" by a
// failed turn, "ask" by a permission request first, and any other by its echo.
//
// Threads: any.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_CONTROL_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_CONTROL_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/channel.h"
#include "grpcpp/server.h"
#include "tests/fakes/fake_event_log.h"
#include "understudy/v1/agent_control.grpc.pb.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy {

class FakeAgentControl : public v1::AgentControl::CallbackService,
                         public v1::PoolAdmin::CallbackService {
 public:
  static constexpr char kSessionId[] = "6a1f3c52-9c1e-4b37-8f3e-0d2f5a7b9c11";

  // A unary call, as it came.
  struct Call {
    std::string method;      // "SendMessage"
    std::string request_id;  // of requests that have one
    std::string request;     // in text format, on one line
  };

  // The next unary calls fail, one for each status.
  void Fail(std::vector<absl::Status> statuses);
  // From now on commands over Attach get no answer.
  void StopAnswering();

  std::vector<Call> calls() const;
  FakeEventLog& log() { return log_; }

  using Unary = grpc::ServerUnaryReactor*;
  using Context = grpc::CallbackServerContext*;

  Unary CreateSession(Context, const v1::CreateSessionRequest*,
                      v1::Session*) override;
  Unary GetSession(Context, const v1::GetSessionRequest*,
                   v1::Session*) override;
  Unary ListSessions(Context, const v1::ListSessionsRequest*,
                     v1::ListSessionsResponse*) override;
  Unary UpdateSession(Context, const v1::UpdateSessionRequest*,
                      v1::UpdateSessionResponse*) override;
  Unary DeleteSession(Context, const v1::DeleteSessionRequest*,
                      google::protobuf::Empty*) override;
  Unary SendMessage(Context, const v1::SendMessageRequest*,
                    v1::SendMessageResponse*) override;
  Unary SwitchModel(Context, const v1::SwitchModelRequest*,
                    v1::TransitionResponse*) override;
  Unary Clear(Context, const v1::ClearRequest*,
              v1::TransitionResponse*) override;
  Unary Resume(Context, const v1::ResumeRequest*,
               v1::TransitionResponse*) override;
  Unary Interrupt(Context, const v1::InterruptRequest*,
                  v1::InterruptResponse*) override;
  Unary ResolvePermission(Context, const v1::ResolvePermissionRequest*,
                          v1::ResolvePermissionResponse*) override;
  Unary SetPermissionMode(Context, const v1::SetPermissionModeRequest*,
                          v1::SetPermissionModeResponse*) override;
  Unary ListAgents(Context, const v1::ListAgentsRequest*,
                   v1::ListAgentsResponse*) override;
  Unary ListModels(Context, const v1::ListModelsRequest*,
                   v1::ListModelsResponse*) override;
  Unary ListConversations(Context, const v1::ListConversationsRequest*,
                          v1::ListConversationsResponse*) override;
  grpc::ServerWriteReactor<v1::Event>* WatchEvents(
      Context, const v1::WatchEventsRequest*) override;
  grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>* Attach(
      Context) override;

  Unary GetServerInfo(Context, const v1::GetServerInfoRequest*,
                      v1::GetServerInfoResponse*) override;

 private:
  absl::Status Begin(const std::string& method,
                     const google::protobuf::Message& request);
  v1::Session Session() const;
  v1::TransitionResponse Transition() const;
  // Writes the events of a turn.
  v1::SendMessageResponse RunTurn(const v1::SendMessageRequest& request);

  FakeEventLog log_;

  mutable absl::Mutex mutex_;
  std::deque<absl::Status> failures_ ABSL_GUARDED_BY(mutex_);
  bool answering_ ABSL_GUARDED_BY(mutex_) = true;
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::string model_ ABSL_GUARDED_BY(mutex_) = "rehearsal-1";
  int turns_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A fake that is served: in this process, and at `address` if there is one.
class FakeServer {
 public:
  explicit FakeServer(FakeAgentControl& service,
                      const std::string& address = "");
  // Cuts what is open.
  ~FakeServer();

  std::shared_ptr<grpc::Channel> InProcessChannel();
  // Of an address like 127.0.0.1:0, the port that was chosen.
  int port() const { return port_; }

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace understudy

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_CONTROL_H_
