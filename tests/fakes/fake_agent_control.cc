#include "tests/fakes/fake_agent_control.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/support/server_callback.h"
#include "proto/error.h"
#include "proto/rpc_status.h"
#include "tests/fakes/fake_attach.h"

namespace understudy {
namespace {

constexpr char kConversation[] = "c0ffee00-1111-4222-8333-444455556666";

std::string RequestIdOf(const google::protobuf::Message& request) {
  const auto* field = request.GetDescriptor()->FindFieldByName("request_id");
  return field == nullptr ? ""
                          : request.GetReflection()->GetString(request, field);
}

absl::Status NoSuchSession(const std::string& session_id) {
  return MakeError(Reason::kSessionNotFound,
                   absl::StrCat("session ", session_id, ": no such session"));
}

grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* context,
                                 const absl::Status& status) {
  auto* reactor = context->DefaultReactor();
  // What has no reason is what gRPC itself makes of a lost connection.
  reactor->Finish(
      ReasonOf(status).has_value()
          ? ToGrpcStatus(status)
          : grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                         std::string(status.message())));
  return reactor;
}

// A page of two, so that whoever lists has to turn it.
template <typename Response, typename Add>
void AddPage(const std::string& token, int count, Response& response, Add add) {
  const int from = token.empty() ? 0 : std::stoi(token);
  const int to = std::min(from + 2, count);
  for (int i = from; i < to; ++i) add(i);
  if (to < count) response.set_next_page_token(absl::StrCat(to));
}

// Shows the log once, to its end, and stays open until it is cancelled.
class WatchReactor : public grpc::ServerWriteReactor<v1::Event> {
 public:
  explicit WatchReactor(FakeEventLog& log) : log_(log) { Next(); }

 private:
  void Next() {
    if (next_ == log_.size()) return;
    event_ = log_.At(next_++);
    StartWrite(&event_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) Next();
  }
  void OnCancel() override { Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

  FakeEventLog& log_;
  size_t next_ = 0;
  v1::Event event_;
};

// Ends at once.
class FailedWatch : public grpc::ServerWriteReactor<v1::Event> {
 public:
  explicit FailedWatch(const absl::Status& status) {
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

}  // namespace

void FakeAgentControl::Fail(std::vector<absl::Status> statuses) {
  absl::MutexLock lock(&mutex_);
  failures_.insert(failures_.end(), statuses.begin(), statuses.end());
}

void FakeAgentControl::StopAnswering() {
  absl::MutexLock lock(&mutex_);
  answering_ = false;
}

std::vector<FakeAgentControl::Call> FakeAgentControl::calls() const {
  absl::MutexLock lock(&mutex_);
  return calls_;
}

// Records a call and says how it is to fail, if it is.
absl::Status FakeAgentControl::Begin(const std::string& method,
                                     const google::protobuf::Message& request) {
  absl::MutexLock lock(&mutex_);
  calls_.push_back({method, RequestIdOf(request), request.ShortDebugString()});
  if (!failures_.empty()) {
    absl::Status failure = failures_.front();
    failures_.pop_front();
    return failure;
  }
  const auto* field = request.GetDescriptor()->FindFieldByName("session_id");
  if (field == nullptr || method == "CreateSession") return absl::OkStatus();
  const std::string id = request.GetReflection()->GetString(request, field);
  const bool known = id.empty() || id == kSessionId;
  return known ? absl::OkStatus() : NoSuchSession(id);
}

v1::Session FakeAgentControl::Session() const {
  v1::Session session;
  session.set_session_id(kSessionId);
  session.set_agent("rehearsal");
  session.set_working_directory("/srv/work");
  session.set_state(v1::SESSION_STATE_IDLE);
  session.set_agent_session_id(kConversation);
  session.set_oldest_sequence(1);
  session.set_newest_sequence(log_.newest_sequence());
  session.mutable_create_time()->set_seconds(1700000000);
  session.mutable_update_time()->set_seconds(1700000001);
  absl::MutexLock lock(&mutex_);
  session.set_model(model_);
  return session;
}

v1::TransitionResponse FakeAgentControl::Transition() const {
  v1::TransitionResponse response;
  response.set_session_id(kSessionId);
  response.set_agent("rehearsal");
  response.set_changed(true);
  response.set_agent_session_id(kConversation);
  response.set_route(v1::ROUTE_NATIVE);
  response.set_verified(true);
  response.set_incarnation(1);
  absl::MutexLock lock(&mutex_);
  response.set_model(model_);
  response.set_previous_model(model_);
  return response;
}

v1::SendMessageResponse FakeAgentControl::RunTurn(
    const v1::SendMessageRequest& request) {
  v1::SendMessageResponse response;
  {
    absl::MutexLock lock(&mutex_);
    response.set_turn_id(absl::StrCat("turn-", ++turns_));
  }
  const auto add = [&](v1::Event event) {
    event.set_session_id(kSessionId);
    event.set_turn_id(response.turn_id());
    event.mutable_time()->set_seconds(1700000000);
    return log_.Append(std::move(event));
  };
  const auto say = [&](const std::string& text) {
    for (const char letter : text) {
      v1::Event delta;
      delta.mutable_text_delta()->set_text(std::string(1, letter));
      add(delta);
    }
    v1::Event message;
    message.mutable_message()->set_text(text);
    message.mutable_message()->set_last_part(true);
    message.set_raw(absl::StrCat(R"({"type":"text","text":")", text, "\"}"));
    add(message);
  };
  v1::Event accepted;
  accepted.mutable_message_accepted()->set_text(request.text());
  response.set_sequence(add(accepted));
  v1::Event started;
  started.mutable_turn_started()->set_text(request.text());
  add(started);
  if (request.text() == "ask") {
    v1::Event asked;
    asked.mutable_permission_requested()->set_permission_id("permission-1");
    asked.mutable_permission_requested()->set_tool_name("Bash");
    add(asked);
  }
  v1::Event completed;
  auto& end = *completed.mutable_turn_completed();
  if (request.text() == "fail") {
    end.set_outcome(v1::TURN_OUTCOME_FAILED);
    end.mutable_error()->set_reason("API_ERROR");
    end.mutable_error()->set_message("the model is overloaded");
  } else {
    say(absl::StrCat("You said: ", request.text(), "."));
    say("Anything else?");
    end.set_outcome(v1::TURN_OUTCOME_SUCCEEDED);
    end.set_text("Anything else?");
  }
  add(completed);
  if (request.wait_until() == v1::WAIT_UNTIL_COMPLETED) {
    response.set_outcome(end.outcome());
    response.set_text(end.text());
    if (end.has_error()) *response.mutable_error() = end.error();
  }
  return response;
}

FakeAgentControl::Unary FakeAgentControl::CreateSession(
    Context context, const v1::CreateSessionRequest* request,
    v1::Session* response) {
  const absl::Status status = Begin("CreateSession", *request);
  *response = Session();
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::GetSession(
    Context context, const v1::GetSessionRequest* request,
    v1::Session* response) {
  const absl::Status status = Begin("GetSession", *request);
  *response = Session();
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::ListSessions(
    Context context, const v1::ListSessionsRequest* request,
    v1::ListSessionsResponse* response) {
  const absl::Status status = Begin("ListSessions", *request);
  AddPage(request->page_token(), 3, *response,
          [&](int) { *response->add_sessions() = Session(); });
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::UpdateSession(
    Context context, const v1::UpdateSessionRequest* request,
    v1::UpdateSessionResponse* response) {
  const absl::Status status = Begin("UpdateSession", *request);
  *response->mutable_session() = Session();
  *response->mutable_session()->mutable_labels() = request->session().labels();
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::DeleteSession(
    Context context, const v1::DeleteSessionRequest* request,
    google::protobuf::Empty*) {
  const absl::Status status = Begin("DeleteSession", *request);
  if (status.ok()) log_.Delete();
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::SendMessage(
    Context context, const v1::SendMessageRequest* request,
    v1::SendMessageResponse* response) {
  const absl::Status status = Begin("SendMessage", *request);
  if (status.ok()) *response = RunTurn(*request);
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::SwitchModel(
    Context context, const v1::SwitchModelRequest* request,
    v1::TransitionResponse* response) {
  const absl::Status status = Begin("SwitchModel", *request);
  *response = Transition();
  response->set_model(request->model());
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::Clear(
    Context context, const v1::ClearRequest* request,
    v1::TransitionResponse* response) {
  const absl::Status status = Begin("Clear", *request);
  *response = Transition();
  response->set_previous_agent_session_id(kConversation);
  response->clear_agent_session_id();
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::Resume(
    Context context, const v1::ResumeRequest* request,
    v1::TransitionResponse* response) {
  const absl::Status status = Begin("Resume", *request);
  *response = Transition();
  response->set_agent_session_id(request->agent_session_id());
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::Interrupt(
    Context context, const v1::InterruptRequest* request,
    v1::InterruptResponse* response) {
  const absl::Status status = Begin("Interrupt", *request);
  response->set_interrupted(true);
  response->set_turn_id("turn-1");
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::ResolvePermission(
    Context context, const v1::ResolvePermissionRequest* request,
    v1::ResolvePermissionResponse*) {
  return Finish(context, Begin("ResolvePermission", *request));
}

FakeAgentControl::Unary FakeAgentControl::SetPermissionMode(
    Context context, const v1::SetPermissionModeRequest* request,
    v1::SetPermissionModeResponse* response) {
  response->set_permission_mode(request->permission_mode());
  return Finish(context, Begin("SetPermissionMode", *request));
}

FakeAgentControl::Unary FakeAgentControl::ListAgents(
    Context context, const v1::ListAgentsRequest* request,
    v1::ListAgentsResponse* response) {
  const absl::Status status = Begin("ListAgents", *request);
  AddPage(request->page_token(), 3, *response, [&](int i) {
    v1::Agent& agent = *response->add_agents();
    agent.set_name(absl::StrCat("agent-", i));
    agent.set_kind("claude");
    agent.mutable_capabilities()->set_clear(true);
  });
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::ListModels(
    Context context, const v1::ListModelsRequest* request,
    v1::ListModelsResponse* response) {
  const absl::Status status = Begin("ListModels", *request);
  AddPage(request->page_token(), 3, *response, [&](int i) {
    v1::Model& model = *response->add_models();
    model.set_model(absl::StrCat("model-", i));
    model.set_is_current(i == 1);
  });
  return Finish(context, status);
}

FakeAgentControl::Unary FakeAgentControl::ListConversations(
    Context context, const v1::ListConversationsRequest* request,
    v1::ListConversationsResponse* response) {
  const absl::Status status = Begin("ListConversations", *request);
  AddPage(request->page_token(), 3, *response, [&](int i) {
    v1::Conversation& conversation = *response->add_conversations();
    conversation.set_agent_session_id(absl::StrCat("conversation-", i));
    conversation.set_first_prompt("Hello\nthere");
  });
  return Finish(context, status);
}

grpc::ServerWriteReactor<v1::Event>* FakeAgentControl::WatchEvents(
    Context, const v1::WatchEventsRequest* request) {
  const absl::Status status = Begin("WatchEvents", *request);
  if (!status.ok()) return new FailedWatch(status);
  return new WatchReactor(log_);
}

grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>*
FakeAgentControl::Attach(Context) {
  return new FakeAttach(
      [this](const std::string& session_id) {
        return session_id == kSessionId ? &log_ : nullptr;
      },
      [this](const v1::AttachRequest& request) -> std::optional<v1::Result> {
        {
          absl::MutexLock lock(&mutex_);
          if (!answering_) return std::nullopt;
        }
        v1::Result result;
        result.set_request_id(request.request_id());
        if (!request.has_send_message()) {
          *result.mutable_status() =
              ToRpcStatus(FieldInvalid("command", "send_message is known"));
          return result;
        }
        const absl::Status status =
            Begin("Attach.send_message", request.send_message());
        if (status.ok()) {
          *result.mutable_send_message() = RunTurn(request.send_message());
        }
        *result.mutable_status() = ToRpcStatus(status);
        return result;
      });
}

FakeAgentControl::Unary FakeAgentControl::GetServerInfo(
    Context context, const v1::GetServerInfoRequest* request,
    v1::GetServerInfoResponse* response) {
  const absl::Status status = Begin("GetServerInfo", *request);
  response->set_version("1.2.3");
  response->set_store_kind("memory");
  response->mutable_uptime()->set_seconds(90);
  return Finish(context, status);
}

FakeServer::FakeServer(FakeAgentControl& service, const std::string& address) {
  grpc::ServerBuilder builder;
  builder.RegisterService(
      static_cast<v1::AgentControl::CallbackService*>(&service));
  builder.RegisterService(
      static_cast<v1::PoolAdmin::CallbackService*>(&service));
  if (!address.empty()) {
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                             &port_);
  }
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() {
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

std::shared_ptr<grpc::Channel> FakeServer::InProcessChannel() {
  return server_->InProcessChannel({});
}

}  // namespace understudy
