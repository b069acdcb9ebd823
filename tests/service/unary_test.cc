#include "service/unary.h"

#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "proto/rpc_status.h"
#include "tests/support/engine.h"
#include "tests/support/status_matchers.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy::service {
namespace {

using session::HasReason;
using ::testing::ElementsAre;

using IntAnswer = Answer<int>;

TEST(AnswerTest, IsGivenOnce) {
  std::vector<absl::StatusOr<int>> given;
  {
    IntAnswer answer = [&](absl::StatusOr<int> result) {
      given.push_back(std::move(result));
    };
    IntAnswer moved = std::move(answer);
    std::move(moved)(7);
  }
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(*given[0], 7);
}

TEST(AnswerTest, IsAnErrorIfItIsDropped) {
  std::vector<absl::Status> given;
  {
    IntAnswer answer = [&](absl::StatusOr<int> result) {
      given.push_back(result.status());
    };
    IntAnswer moved = std::move(answer);
  }
  EXPECT_THAT(given, ElementsAre(HasReason(Reason::kInternal)));
}

// A server whose one method takes the answer and does not give it.
class Forgetful final
    : public v1::PoolAdmin::WithRawCallbackMethod_GetServerInfo<
          v1::PoolAdmin::Service> {
 public:
  Forgetful() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  absl::Status Call() {
    const auto stub = v1::PoolAdmin::NewStub(server_->InProcessChannel({}));
    grpc::ClientContext context;
    v1::GetServerInfoResponse response;
    return FromGrpcStatus(stub->GetServerInfo(&context, {}, &response));
  }

  void AwaitCall() { called_.WaitForNotification(); }
  void Forget() { answer_.reset(); }

  bool keeps = false;  // until Forget

 private:
  using Info = Answer<v1::GetServerInfoResponse>;

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext*,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override {
    return Serve<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
        "GetServerInfo", commands_, *request, response,
        [this](const auto&, Info answer) -> session::CallId {
          if (keeps) answer_.emplace(std::move(answer));
          called_.Notify();
          return 0;
        });
  }

  session::Engine engine_;
  Commands commands_{*engine_.manager, Rules()};
  std::optional<Info> answer_;
  absl::Notification called_;
  std::unique_ptr<grpc::Server> server_;
};

TEST(UnaryTest, FailsACallWhoseAnswerIsDroppedAtOnce) {
  Forgetful server;
  EXPECT_THAT(server.Call(), HasReason(Reason::kInternal));
}

TEST(UnaryTest, FailsACallWhoseAnswerIsDroppedLater) {
  Forgetful server;
  server.keeps = true;
  absl::Status status;
  std::thread caller([&] { status = server.Call(); });
  server.AwaitCall();
  server.Forget();
  caller.join();
  EXPECT_THAT(status, HasReason(Reason::kInternal));
}

}  // namespace
}  // namespace understudy::service
