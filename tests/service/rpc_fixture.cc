#include "tests/service/rpc_fixture.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "google/protobuf/text_format.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "grpcpp/impl/codegen/rpc_method.h"
#include "proto/rpc_status.h"
#include "service/wire.h"

namespace understudy::service {
namespace {

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

constexpr char kAttach[] = "/understudy.v1.AgentControl/Attach";

}  // namespace

RpcFixture::RpcFixture(session::SessionManager::Options options)
    : engine_(std::move(options)) {
  StartServer();
}

void RpcFixture::StartServer() {
  RpcServer::Options server;
  for (const session::Profile& profile : engine_.options.profiles) {
    server.rules.agents.push_back(profile.name);
  }
  server.progress_interval = kProgressInterval;
  server.info.store_kind = "memory";
  server.info.node_id = "node";
  server.info.version = "1.2.3";
  server_ = RpcServer::Start({*engine_.manager, engine_.loop, *reading_},
                             std::move(server))
                .value();
  channel_ = server_->InProcessChannel();
  stub_ = v1::AgentControl::NewStub(channel_);
  pool_ = v1::PoolAdmin::NewStub(channel_);
}

RpcFixture::~RpcFixture() {
  server_ = nullptr;
  engine_.Run();
}

void RpcFixture::Restart() {
  server_ = nullptr;
  engine_.Restart();
  StartServer();
}

RpcFixture::Pending::Pending(
    std::function<grpc::Status(grpc::ClientContext&)> call)
    : thread_([this, call = std::move(call)] {
        status_ = call(context_);
        ended_ = true;
      }) {}

RpcFixture::Pending::~Pending() {
  context_.TryCancel();
  if (thread_.joinable()) thread_.join();
}

absl::Status RpcFixture::Pending::status() {
  if (thread_.joinable()) thread_.join();
  return FromGrpcStatus(status_);
}

absl::Status RpcFixture::End(Pending& call) {
  EXPECT_TRUE(engine_.loop.RunUntil([&] { return call.ended(); }));
  if (!call.ended()) call.Cancel();
  return call.status();
}

void RpcFixture::Await(const std::function<bool()>& done,
                       std::string_view what) {
  ASSERT_TRUE(engine_.loop.RunUntil(done)) << "waited for " << what;
}

absl::Status RpcFixture::Call(
    std::function<grpc::Status(grpc::ClientContext&)> call) {
  Pending pending(std::move(call));
  return End(pending);
}

absl::Status RpcFixture::CallRaw(const std::string& method,
                                 const std::string& bytes,
                                 grpc::ByteBuffer* response) {
  grpc::ByteBuffer ignored;
  if (response == nullptr) response = &ignored;
  return Call([&](grpc::ClientContext& context) {
    const grpc::internal::RpcMethod rpc(method.c_str(),
                                        grpc::internal::RpcMethod::NORMAL_RPC);
    return grpc::internal::BlockingUnaryCall<grpc::ByteBuffer,
                                             grpc::ByteBuffer>(
        channel_.get(), rpc, &context, ToBuffer(bytes), response);
  });
}

void RpcFixture::HoldTurns() {
  engine_.world.decide = [](session::FakeStep step, session::FakeAgent&) {
    return step == session::FakeStep::kEnd
               ? session::FakeFate{session::FakeFate::Kind::kSilent}
               : session::FakeFate{};
  };
}

void RpcFixture::Drain() {
  bool drained = false;
  engine_.manager->Drain(absl::Seconds(1), [&] { drained = true; });
  while (!drained && engine_.loop.AdvanceToNextTimer()) {
  }
  EXPECT_TRUE(drained);
}

std::string RpcFixture::CreateSession() {
  v1::Session session;
  const absl::Status status = Call([&](grpc::ClientContext& context) {
    v1::CreateSessionRequest request;
    request.set_working_directory("/tmp");
    request.set_agent(engine_.options.profiles.front().name);
    return stub_->CreateSession(&context, request, &session);
  });
  EXPECT_TRUE(status.ok()) << status;
  return session.session_id();
}

v1::SendMessageResponse RpcFixture::SendMessage(const std::string& session_id,
                                                const std::string& text) {
  v1::SendMessageResponse response;
  const absl::Status status = Call([&](grpc::ClientContext& context) {
    v1::SendMessageRequest request;
    request.set_session_id(session_id);
    request.set_text(text);
    request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
    return stub_->SendMessage(&context, request, &response);
  });
  EXPECT_TRUE(status.ok()) << status;
  return response;
}

WatchClient::WatchClient(v1::AgentControl::Stub& stub,
                         const v1::WatchEventsRequest& request)
    : reader_([this, &stub, request] {
        const auto stream = stub.WatchEvents(&context_, request);
        stream->WaitForInitialMetadata();
        watching_ = true;
        for (v1::Event event; stream->Read(&event);) {
          received_.Add(std::move(event));
        }
        received_.End(FromGrpcStatus(stream->Finish()));
      }) {}

WatchClient::~WatchClient() {
  context_.TryCancel();
  reader_.join();
}

AttachClient::AttachClient(grpc::Channel& channel) {
  const grpc::internal::RpcMethod rpc(
      kAttach, grpc::internal::RpcMethod::BIDI_STREAMING);
  stream_.reset(grpc::internal::ClientReaderWriterFactory<
                grpc::ByteBuffer, grpc::ByteBuffer>::Create(&channel, rpc,
                                                            &context_));
  reader_ = std::thread([this] {
    for (grpc::ByteBuffer bytes; stream_->Read(&bytes);) {
      largest_ = std::max(largest_.load(), bytes.Length());
      v1::AttachResponse response;
      EXPECT_TRUE(ParseMessage(bytes, &response).ok());
      received_.Add(std::move(response));
      absl::MutexLock lock(&mu_, absl::Condition(this, &AttachClient::reads));
    }
    received_.End(FromGrpcStatus(stream_->Finish()));
  });
}

AttachClient::~AttachClient() {
  context_.TryCancel();
  Continue();
  reader_.join();
}

void AttachClient::Write(const v1::AttachRequest& request) {
  stream_->Write(SerializeMessage(request));
}

void AttachClient::WriteBytes(const std::string& bytes) {
  stream_->Write(ToBuffer(bytes));
}

void AttachClient::Write(const std::string& text) {
  v1::AttachRequest request;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request))
      << text;
  Write(request);
}

void AttachClient::CloseInput() { stream_->WritesDone(); }

void AttachClient::Pause() {
  absl::MutexLock lock(&mu_);
  paused_ = true;
}

void AttachClient::Continue() {
  absl::MutexLock lock(&mu_);
  paused_ = false;
}

std::vector<v1::Event> AttachClient::Events(uint64_t subscription_id) const {
  std::vector<v1::Event> events;
  for (const v1::AttachResponse& response : responses()) {
    if (!response.has_batch() ||
        response.batch().subscription_id() != subscription_id) {
      continue;
    }
    events.insert(events.end(), response.batch().events().begin(),
                  response.batch().events().end());
  }
  return events;
}

std::vector<v1::Closed> AttachClient::Closed(uint64_t subscription_id) const {
  std::vector<v1::Closed> all;
  for (const v1::AttachResponse& response : responses()) {
    if (response.closed().subscription_id() == subscription_id) {
      all.push_back(response.closed());
    }
  }
  return all;
}

std::vector<v1::Subscribed> AttachClient::Subscribed(
    uint64_t subscription_id) const {
  std::vector<v1::Subscribed> all;
  for (const v1::AttachResponse& response : responses()) {
    if (response.subscribed().subscription_id() == subscription_id) {
      all.push_back(response.subscribed());
    }
  }
  return all;
}

std::vector<v1::Progress> AttachClient::Progress(
    uint64_t subscription_id) const {
  std::vector<v1::Progress> all;
  for (const v1::AttachResponse& response : responses()) {
    if (response.progress().subscription_id() == subscription_id) {
      all.push_back(response.progress());
    }
  }
  return all;
}

std::vector<v1::Result> AttachClient::Results(
    const std::string& request_id) const {
  std::vector<v1::Result> all;
  for (const v1::AttachResponse& response : responses()) {
    if (response.has_result() && response.result().request_id() == request_id) {
      all.push_back(response.result());
    }
  }
  return all;
}

std::vector<uint64_t> Sequences(const std::vector<v1::Event>& events) {
  std::vector<uint64_t> sequences;
  for (const v1::Event& event : events) {
    if (event.sequence() != 0) sequences.push_back(event.sequence());
  }
  return sequences;
}

}  // namespace understudy::service
