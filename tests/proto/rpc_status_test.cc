#include "proto/rpc_status.h"

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "understudy/v1/agent_control.grpc.pb.h"

namespace understudy {
namespace {

using ::testing::EndsWith;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::StartsWith;

absl::Status RichError() {
  return MakeError(Reason::kAgentLost, "agent claude died: signal 9",
                   {{"signal", "9"}, {"delivered", "MAYBE"}}, absl::Seconds(2));
}

TEST(RpcStatusTest, EveryReasonSurvivesBothWays) {
  for (const Reason reason : AllReasons()) {
    SCOPED_TRACE(std::string(ReasonName(reason)));
    const absl::Status error =
        MakeError(reason, "why", {{"key", "value"}}, absl::Seconds(3));
    EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(error)), error);
    EXPECT_EQ(FromRpcStatus(ToRpcStatus(error)), error);
    EXPECT_EQ(static_cast<int>(ToGrpcStatus(error).error_code()),
              static_cast<int>(ReasonCode(reason)));
  }
}

TEST(RpcStatusTest, FieldViolationsSurvive) {
  const absl::Status error = FieldInvalid("session_id", "is not a UUID");
  EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(error)), error);
  EXPECT_EQ(FromRpcStatus(ToRpcStatus(error)), error);
}

TEST(RpcStatusTest, OkIsOkWithoutDetails) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_THAT(ToGrpcStatus(absl::OkStatus()).error_details(), IsEmpty());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).ByteSizeLong(), 0u);
  EXPECT_TRUE(FromRpcStatus(google::rpc::Status()).ok());
}

TEST(RpcStatusTest, StandardToolsFindTheDetails) {
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(ToGrpcStatus(RichError()).error_details()));

  EXPECT_EQ(rpc.code(), static_cast<int>(absl::StatusCode::kUnavailable));
  EXPECT_EQ(rpc.message(), "agent claude died: signal 9");
  ASSERT_THAT(rpc.details(), SizeIs(2));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rpc.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "AGENT_LOST");
  EXPECT_EQ(info.domain(), "understudy.dev");
  EXPECT_EQ(info.metadata().at("delivered"), "MAYBE");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(rpc.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
}

TEST(RpcStatusTest, AStatusWithoutAReasonIsInternal) {
  for (const absl::Status& plain :
       {absl::NotFoundError("no row"), absl::UnknownError("no row"),
        absl::UnimplementedError("no row")}) {
    const grpc::Status status = ToGrpcStatus(plain);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_EQ(status.error_message(), "no row");
    EXPECT_THAT(ReasonOf(FromGrpcStatus(status)),
                Optional(Eq(Reason::kInternal)));
  }
}

TEST(RpcStatusTest, CancellationAndDeadlinePass) {
  for (const absl::Status& plain :
       {absl::CancelledError("gone"), absl::DeadlineExceededError("late")}) {
    const grpc::Status status = ToGrpcStatus(plain);
    EXPECT_EQ(static_cast<int>(status.error_code()),
              static_cast<int>(plain.code()));
    EXPECT_THAT(status.error_details(), IsEmpty());
    EXPECT_EQ(FromGrpcStatus(status), plain);
  }
}

TEST(RpcStatusTest, AStatusOfGrpcItselfKeepsItsCode) {
  const absl::Status status = FromGrpcStatus(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "connection refused"));
  EXPECT_EQ(status, absl::UnavailableError("connection refused"));
  EXPECT_EQ(ReasonOf(status), std::nullopt);
}

TEST(RpcStatusTest, DamagedDetailsLeaveCodeAndMessage) {
  EXPECT_EQ(FromGrpcStatus(grpc::Status(grpc::StatusCode::NOT_FOUND, "gone",
                                        "\xff\xff\xff")),
            absl::NotFoundError("gone"));
}

TEST(RpcStatusTest, AReasonNewerThanThisBuildPassesThrough) {
  google::rpc::ErrorInfo info;
  info.set_reason("OF_TOMORROW");
  info.set_domain("understudy.dev");
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(absl::StatusCode::kAborted));
  rpc.add_details()->PackFrom(info);

  const absl::Status status = FromRpcStatus(rpc);
  EXPECT_EQ(ReasonOf(status), std::nullopt);
  EXPECT_EQ(ToRpcStatus(status).SerializeAsString(), rpc.SerializeAsString());
}

TEST(RpcStatusTest, AResultWithinAMessageIsNotShortened) {
  const std::string tail(64 << 10, 'x');
  const absl::Status error =
      MakeError(Reason::kAgentLost, "died", {{"stderr_tail", tail}});
  EXPECT_EQ(MetadataOf(FromRpcStatus(ToRpcStatus(error)))["stderr_tail"], tail);
}

// Serves statuses over a unix socket: gRPC limits what a client takes as
// trailers only on a real connection.
class FailingService final : public v1::AgentControl::Service {
 public:
  explicit FailingService(grpc::Status status) : status_(std::move(status)) {}
  grpc::Status GetSession(grpc::ServerContext*, const v1::GetSessionRequest*,
                          v1::Session*) override {
    return status_;
  }

 private:
  const grpc::Status status_;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string path =
        std::filesystem::temp_directory_path() / "rpc_status_test.XXXXXX";
    if (mkdtemp(path.data()) == nullptr) abort();
    path_ = path;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

absl::Status OverTheWire(const absl::Status& error) {
  const TemporaryDirectory directory;
  const std::string address = "unix:" + (directory.path() / "s").string();
  FailingService service(ToGrpcStatus(error));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  const auto stub = v1::AgentControl::NewStub(
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::Session session;
  return FromGrpcStatus(stub->GetSession(&context, {}, &session));
}

TEST(RpcStatusTest, ARichErrorCrossesARealConnection) {
  EXPECT_EQ(OverTheWire(RichError()), RichError());
}

TEST(RpcStatusTest, AnErrorWithALongTailStaysReadableByADefaultClient) {
  const std::string tail = std::string(64 << 10, 'x') + "the last words";
  const absl::Status error = OverTheWire(
      MakeError(Reason::kAgentStartFailed, "agent claude exited with 1",
                {{"exit_code", "1"}, {"stderr_tail", tail}}));

  EXPECT_EQ(error.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ReasonOf(error), Optional(Eq(Reason::kAgentStartFailed)));
  EXPECT_EQ(error.message(), "agent claude exited with 1");
  ErrorMetadata metadata = MetadataOf(error);
  EXPECT_EQ(metadata["exit_code"], "1");
  EXPECT_THAT(metadata["stderr_tail"], EndsWith("the last words"));
  EXPECT_GE(metadata["stderr_tail"].size(), 1024u);
}

TEST(RpcStatusTest, ALongMessageStaysReadableByADefaultClient) {
  std::string message = "model rejected: ";
  for (int i = 0; i < 10'000; ++i) message += "\xe2\x82\xac";
  const absl::Status error =
      OverTheWire(MakeError(Reason::kModelRejected, message));

  EXPECT_THAT(ReasonOf(error), Optional(Eq(Reason::kModelRejected)));
  EXPECT_THAT(std::string(error.message()), StartsWith("model rejected: "));
}

TEST(RpcStatusTest, ManyViolationsStayReadableByADefaultClient) {
  const std::vector<FieldViolation> many(
      5000, {"labels." + std::string(200, 'k'), "has a bad key"});
  const absl::Status error = OverTheWire(FieldInvalid(many));

  EXPECT_THAT(ReasonOf(error), Optional(Eq(Reason::kFieldInvalid)));
  ASSERT_FALSE(FieldViolationsOf(error).empty());
  EXPECT_EQ(FieldViolationsOf(error)[0].field, many[0].field);
}

}  // namespace
}  // namespace understudy
