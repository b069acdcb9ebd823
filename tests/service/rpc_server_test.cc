#include "service/rpc_server.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.pb.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "service/wire.h"
#include "session/base/id.h"
#include "tests/fakes/fake_agent.h"
#include "tests/service/rpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace understudy::service {
namespace {

using session::FakeAgent;
using session::FakeFate;
using session::FakeStep;
using session::HasReason;
using session::IsOk;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class RpcServerTest : public RpcFixture {
 protected:
  // One that waits for the end of its turn.
  static v1::SendMessageRequest Message(const std::string& session_id) {
    v1::SendMessageRequest request;
    request.set_session_id(session_id);
    request.set_text("hello");
    request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
    return request;
  }
};

TEST_F(RpcServerTest, RefusesBytesThatAreNoRequest) {
  for (const char* method :
       {"CreateSession", "GetSession", "ListSessions", "DeleteSession",
        "SendMessage", "SwitchModel", "Clear", "Resume", "Interrupt",
        "ResolvePermission", "ListAgents", "ListModels", "ListConversations",
        "UpdateSession", "SetPermissionMode"}) {
    SCOPED_TRACE(method);
    const absl::Status status = CallRaw(
        absl::StrCat("/understudy.v1.AgentControl/", method), "\xff\xff\xff");
    EXPECT_THAT(status, HasReason(Reason::kFieldInvalid));
    EXPECT_THAT(FieldViolationsOf(status), SizeIs(1));
  }
  // A text that is not UTF-8: field 2 of SendMessageRequest.
  EXPECT_THAT(
      CallRaw("/understudy.v1.AgentControl/SendMessage", "\x12\x01\xff"),
      HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(CallRaw("/understudy.v1.PoolAdmin/GetServerInfo", "\xff"),
              HasReason(Reason::kFieldInvalid));
  EXPECT_EQ(engine_.store.writes(), 0);
}

TEST_F(RpcServerTest, NamesTheFieldOfABadRequest) {
  const absl::Status status = Call([&](grpc::ClientContext& context) {
    v1::SwitchModelRequest request;
    request.set_session_id(session::NewUuid());
    request.set_model("--model=x");
    v1::TransitionResponse response;
    return stub_->SwitchModel(&context, request, &response);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status, HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(FieldViolationsOf(status),
              ElementsAre(Field(&FieldViolation::field, "model")));
}

TEST_F(RpcServerTest, C8_SaysWhatThisVersionDoesNotHave) {
  v1::GetPoolResponse pool;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return pool_->GetPool(&context, {}, &pool);
              }),
              HasReason(Reason::kCapabilityMissing));
  v1::WarmPoolResponse warm;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return pool_->WarmPool(&context, {}, &warm);
              }),
              HasReason(Reason::kCapabilityMissing));
  v1::DrainSlotsResponse drain;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return pool_->DrainSlots(&context, {}, &drain);
              }),
              HasReason(Reason::kCapabilityMissing));
}

TEST_F(RpcServerTest, ChangesLabelsAndThePermissionMode) {
  const std::string session = CreateSession();
  v1::UpdateSessionRequest update;
  update.mutable_session()->set_session_id(session);
  (*update.mutable_session()->mutable_labels())["team"] = "a";
  update.mutable_update_mask()->add_paths("labels");
  update.set_request_id(session::NewUuid());
  for (int i = 0; i < 2; ++i) {
    v1::UpdateSessionResponse updated;
    EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                  return stub_->UpdateSession(&context, update, &updated);
                }),
                IsOk());
    EXPECT_EQ(updated.session().session_id(), session);
    EXPECT_THAT(updated.session().labels(), ElementsAre(Pair("team", "a")));
    EXPECT_EQ(updated.session().state(), v1::SESSION_STATE_DORMANT);
  }
  v1::SetPermissionModeRequest mode;
  mode.set_session_id(session);
  mode.set_permission_mode("plan");
  v1::SetPermissionModeResponse set;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return stub_->SetPermissionMode(&context, mode, &set);
              }),
              IsOk());
  EXPECT_EQ(set.permission_mode(), "plan");
  v1::GetSessionRequest get;
  get.set_session_id(session);
  v1::Session read;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return stub_->GetSession(&context, get, &read);
              }),
              IsOk());
  EXPECT_EQ(read.permission_mode(), "plan");
  EXPECT_THAT(read.labels(), ElementsAre(Pair("team", "a")));
  EXPECT_EQ(engine_.world.started, 0);
}

TEST_F(RpcServerTest, TakesAPictureAndTellsARepeatFromAnother) {
  const std::string session = CreateSession();
  v1::SendMessageRequest request;
  request.set_session_id(session);
  request.set_request_id(session::NewUuid());
  request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
  request.mutable_content()->add_parts()->set_text("what is this");
  v1::Image& image = *request.mutable_content()->add_parts()->mutable_image();
  image.set_mime_type("image/png");
  image.set_data(std::string("\0\xff", 2));
  v1::SendMessageResponse response;
  const auto send = [&](grpc::ClientContext& context) {
    return stub_->SendMessage(&context, request, &response);
  };
  EXPECT_THAT(Call(send), IsOk());
  EXPECT_THAT(Call(send), IsOk());
  ASSERT_THAT(engine_.world.deliveries, SizeIs(1));
  EXPECT_EQ(engine_.world.deliveries[0].content->parts(1).image().data().size(),
            2u);
  image.set_data("other");
  EXPECT_THAT(Call(send), HasReason(Reason::kRequestIdReused));
}

TEST_F(RpcServerTest, SaysWhatItIs) {
  v1::GetServerInfoResponse info;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return pool_->GetServerInfo(&context, {}, &info);
              }),
              IsOk());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.store_kind(), "memory");
  EXPECT_EQ(info.node_id(), "node");
}

TEST_F(RpcServerTest, KeepsTheStandardMethods) {
  const std::string first = CreateSession();
  engine_.loop.Advance(absl::Seconds(1));
  const std::string second = CreateSession();
  v1::ListSessionsResponse page;
  v1::ListSessionsRequest list;
  list.set_page_size(1);
  const auto read = [&] {
    return Call([&](grpc::ClientContext& context) {
      return stub_->ListSessions(&context, list, &page);
    });
  };
  EXPECT_THAT(read(), IsOk());
  ASSERT_THAT(page.sessions(), SizeIs(1));
  EXPECT_EQ(page.sessions(0).session_id(), first);
  list.set_page_token(page.next_page_token());
  EXPECT_THAT(read(), IsOk());
  ASSERT_THAT(page.sessions(), SizeIs(1));
  EXPECT_EQ(page.sessions(0).session_id(), second);

  list.set_page_token("no token of ours");
  EXPECT_THAT(read(), HasReason(Reason::kFieldInvalid));

  v1::DeleteSessionRequest remove;
  remove.set_session_id(absl::AsciiStrToUpper(first));
  google::protobuf::Empty empty;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return stub_->DeleteSession(&context, remove, &empty);
              }),
              IsOk());
  v1::GetSessionRequest get;
  get.set_session_id(first);
  v1::Session session;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return stub_->GetSession(&context, get, &session);
              }),
              HasReason(Reason::kSessionNotFound));
}

TEST_F(RpcServerTest, CreatesOnceForOneRequestId) {
  v1::CreateSessionRequest request;
  request.set_working_directory("/tmp");
  request.set_request_id(session::NewUuid());
  v1::Session first, second;
  const auto create = [&](v1::Session* session) {
    return Call([&](grpc::ClientContext& context) {
      return stub_->CreateSession(&context, request, session);
    });
  };
  EXPECT_THAT(create(&first), IsOk());
  request.set_request_id(absl::AsciiStrToUpper(request.request_id()));
  EXPECT_THAT(create(&second), IsOk());
  EXPECT_EQ(first.session_id(), second.session_id());
  request.set_model("other");
  EXPECT_THAT(create(&second), HasReason(Reason::kRequestIdReused));
}

TEST_F(RpcServerTest, JoinsPartsOfText) {
  const std::string session = CreateSession();
  v1::SendMessageRequest request;
  request.set_session_id(session);
  request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
  request.mutable_content()->add_parts()->set_text("/clear ");
  request.mutable_content()->add_parts()->set_text("is text");
  v1::SendMessageResponse response;
  EXPECT_THAT(Call([&](grpc::ClientContext& context) {
                return stub_->SendMessage(&context, request, &response);
              }),
              IsOk());
  ASSERT_THAT(engine_.world.deliveries, SizeIs(1));
  EXPECT_EQ(engine_.world.deliveries[0].text, "/clear is text");
}

TEST_F(RpcServerTest, E5_FailsAWaitingCallWithHowItsAgentDied) {
  HoldTurns();
  v1::SendMessageRequest request = Message(CreateSession());
  v1::SendMessageResponse response;
  Pending call([&](grpc::ClientContext& context) {
    return stub_->SendMessage(&context, request, &response);
  });
  Await([&] { return engine_.world.deliveries.size() == 1; }, "the message");
  EXPECT_FALSE(call.ended());
  engine_.world.live().front()->Crash();
  const absl::Status status = End(call);
  EXPECT_THAT(status, HasReason(Reason::kAgentLost));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(MetadataOf(status),
              UnorderedElementsAre(
                  Pair("signal", "9"), Pair("delivered", "YES"),
                  Pair("turn_id", engine_.world.deliveries[0].turn_id)));
}

TEST_F(RpcServerTest, AnswersTheRepeatOfACallThatItsServerDidNotSurvive) {
  HoldTurns();
  v1::SendMessageRequest request = Message(CreateSession());
  request.set_request_id(session::NewUuid());
  v1::SendMessageResponse response;
  const auto send = [&](grpc::ClientContext& context) {
    return stub_->SendMessage(&context, request, &response);
  };
  {
    Pending call(send);
    Await([&] { return engine_.world.deliveries.size() == 1; }, "the message");
    server_ = nullptr;
    EXPECT_FALSE(End(call).ok());
  }
  Restart();
  EXPECT_THAT(Call(send), IsOk());
  EXPECT_EQ(response.outcome(), v1::TURN_OUTCOME_INDETERMINATE);
  EXPECT_EQ(response.turn_id(), engine_.world.deliveries[0].turn_id);
  EXPECT_THAT(engine_.world.deliveries, SizeIs(1));
}

TEST_F(RpcServerTest, AnswersWhoWaitsForATurnWhenTheServerDrains) {
  HoldTurns();
  v1::SendMessageRequest request = Message(CreateSession());
  v1::SendMessageResponse response;
  const auto send = [&](grpc::ClientContext& context) {
    return stub_->SendMessage(&context, request, &response);
  };
  Pending call(send);
  Await([&] { return engine_.world.deliveries.size() == 1; }, "the message");
  Drain();
  EXPECT_THAT(End(call), IsOk());
  EXPECT_EQ(response.outcome(), v1::TURN_OUTCOME_INTERRUPTED);
  EXPECT_THAT(Call(send), HasReason(Reason::kDraining));
}

TEST_F(RpcServerTest, AnswersEveryoneWhoDeletesASession) {
  const std::string session = CreateSession();
  engine_.committing.Hold();
  const auto remove = [&](grpc::ClientContext& context) {
    v1::DeleteSessionRequest request;
    request.set_session_id(session);
    google::protobuf::Empty empty;
    return stub_->DeleteSession(&context, request, &empty);
  };
  Pending first(remove), second(remove);
  Await([&] { return engine_.committing.waiting() > 0; }, "the deletion");
  engine_.committing.Release();
  // One may have come when all was over.
  const absl::Status ends[] = {End(first), End(second)};
  EXPECT_THAT(ends, Contains(IsOk()));
  EXPECT_THAT(ends, Each(AnyOf(IsOk(), HasReason(Reason::kSessionNotFound))));
}

TEST_F(RpcServerTest, WithdrawsACallWhoseDeadlineHasPassed) {
  const std::string session = CreateSession();
  HoldTurns();
  engine_.Send(session, "hold on");
  ASSERT_THAT(engine_.world.live(), SizeIs(1));
  v1::SwitchModelRequest request;
  request.set_session_id(session);
  request.set_model("model-b");
  v1::TransitionResponse response;
  const absl::Status status = Call([&](grpc::ClientContext& context) {
    context.set_deadline(
        absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
    return stub_->SwitchModel(&context, request, &response);
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  // When no call is left, the server has done what it does about it.
  server_->Shutdown(absl::ZeroDuration());
  engine_.Run();
  engine_.world.decide = nullptr;
  session::FakeAgent& agent = *engine_.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine_.Run();
  EXPECT_NE(engine_.Info(session).record.model(), "model-b");
}

TEST_F(RpcServerTest, SaysInHealthChecksThatItStops) {
  using Response = grpc::health::v1::HealthCheckResponse;
  const auto check = [&](const std::string& service) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::ByteBuffer bytes;
    EXPECT_THAT(CallRaw("/grpc.health.v1.Health/Check",
                        request.SerializeAsString(), &bytes),
                IsOk());
    Response response;
    EXPECT_THAT(ParseMessage(bytes, &response), IsOk());
    return response.status();
  };
  for (const char* service :
       {"", "understudy.v1.AgentControl", "understudy.v1.PoolAdmin"}) {
    EXPECT_EQ(check(service), Response::SERVING) << service;
  }
  server_->StopServing();
  for (const char* service :
       {"", "understudy.v1.AgentControl", "understudy.v1.PoolAdmin"}) {
    EXPECT_EQ(check(service), Response::NOT_SERVING) << service;
  }
  // Calls are still served.
  EXPECT_NE(CreateSession(), "");
}

}  // namespace
}  // namespace understudy::service
