// The whole process, assembled, with the rehearsal agent and SQLite.

#include "service/server.h"

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "proto/rpc_status.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "understudy/v1/agent_control.grpc.pb.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy::service {
namespace {

using session::HasReason;
using session::IsOk;
using session::TempFolder;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

class ServerTest : public ::testing::Test {
 protected:
  Configuration Configure() const {
    Environment environment;
    environment.variables = {{"HOME", folder_.path()},
                             {"PATH", "/usr/bin:/bin"}};
    environment.program_folder = UNDERSTUDY_PROGRAMS;
    Overrides overrides;
    overrides.listen = {absl::StrCat("unix:", socket_)};
    ConfigResult result =
        ReadConfiguration(std::nullopt, overrides, environment);
    EXPECT_THAT(result.problems, SizeIs(0));
    // Whatever else is installed on this machine.
    auto& profiles = result.configuration.engine.profiles;
    profiles.resize(1);
    result.configuration.rules.agents = {profiles[0].name};
    return std::move(result.configuration);
  }

  std::unique_ptr<Server> Start() const {
    auto server = Server::Start(Configure());
    EXPECT_THAT(server.status(), IsOk());
    return *std::move(server);
  }

  template <typename Request, typename Response>
  absl::Status Call(Server& server,
                    grpc::Status (v1::AgentControl::Stub::*method)(
                        grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    const auto stub = v1::AgentControl::NewStub(server.InProcessChannel());
    grpc::ClientContext context;
    return FromGrpcStatus((stub.get()->*method)(&context, request, response));
  }

  v1::Session CreateSession(Server& server) {
    v1::CreateSessionRequest request;
    request.set_working_directory(folder_.path());
    v1::Session session;
    EXPECT_THAT(
        Call(server, &v1::AgentControl::Stub::CreateSession, request, &session),
        IsOk());
    return session;
  }

  v1::SendMessageResponse Send(Server& server, const std::string& session_id,
                               const std::string& text) {
    v1::SendMessageRequest request;
    request.set_session_id(session_id);
    request.set_text(text);
    request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
    v1::SendMessageResponse response;
    EXPECT_THAT(
        Call(server, &v1::AgentControl::Stub::SendMessage, request, &response),
        IsOk());
    return response;
  }

  mode_t ModeOf(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777;
  }

  TempFolder folder_;
  const std::string socket_ = folder_.path() + "/run/understudy.sock";
};

TEST_F(ServerTest, TalksToAnAgentAndKeepsItsSessionsAcrossServers) {
  std::string session_id;
  {
    const auto server = Start();
    session_id = CreateSession(*server).session_id();
    const v1::SendMessageResponse sent = Send(*server, session_id, "hello");
    EXPECT_EQ(sent.outcome(), v1::TURN_OUTCOME_SUCCEEDED);
    EXPECT_THAT(sent.text(), HasSubstr("turns=1"));
    server->Drain();
  }
  const auto server = Start();
  const v1::SendMessageResponse sent = Send(*server, session_id, "again");
  EXPECT_THAT(sent.text(), HasSubstr("turns=2"));
}

TEST_F(ServerTest, MakesASocketForItsOwnerAlone) {
  auto server = Start();
  EXPECT_EQ(server->addresses(),
            std::vector<std::string>{absl::StrCat("unix:", socket_)});
  EXPECT_EQ(ModeOf(socket_), 0600u);
  EXPECT_EQ(ModeOf(folder_.path() + "/run"), 0700u);
  server->Drain();
  server.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() + "/run"));
}

TEST_F(ServerTest, IsNotTakenOverByAnother) {
  const auto server = Start();
  Configuration second = Configure();
  second.store = "memory:";
  const auto refused = Server::Start(std::move(second));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(socket_));
  // The first is reached by its socket still.
  const auto stub = v1::PoolAdmin::NewStub(grpc::CreateChannel(
      absl::StrCat("unix:", socket_), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_THAT(FromGrpcStatus(stub->GetServerInfo(&context, {}, &info)), IsOk());
  EXPECT_EQ(info.store_kind(), "sqlite");
}

TEST_F(ServerTest, KeepsItsStoreToItself) {
  const auto server = Start();
  Configuration second = Configure();
  second.listeners.clear();
  EXPECT_THAT(Server::Start(std::move(second)).status(),
              HasReason(Reason::kStoreUnavailable));
}

TEST_F(ServerTest, TellsThePortThatTheSystemChose) {
  Configuration configuration = Configure();
  configuration.listeners = {{ParseListenAddress("127.0.0.1:0").value()}};
  const auto server = Server::Start(std::move(configuration));
  ASSERT_THAT(server.status(), IsOk());
  const std::string address = (*server)->addresses().at(0);
  EXPECT_THAT(address, StartsWith("127.0.0.1:"));
  EXPECT_NE(address, "127.0.0.1:0");
  const auto stub = v1::PoolAdmin::NewStub(
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  EXPECT_THAT(FromGrpcStatus(stub->GetServerInfo(&context, {}, &info)), IsOk());

  // A port is not shared.
  Configuration second = Configure();
  second.store = "memory:";
  second.listeners = {{ParseListenAddress(address).value()}};
  EXPECT_EQ(Server::Start(std::move(second)).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServerTest, EndsStreamsAndRefusesCallsWhenItDrains) {
  const auto server = Start();
  const std::string session_id = CreateSession(*server).session_id();
  const auto stub = v1::AgentControl::NewStub(server->InProcessChannel());
  grpc::ClientContext context;
  v1::WatchEventsRequest request;
  request.set_session_id(session_id);
  request.set_after_sequence(0);
  const auto stream = stub->WatchEvents(&context, request);
  v1::Event event;
  ASSERT_TRUE(stream->Read(&event));
  EXPECT_EQ(event.sequence(), 1u);
  server->Drain();
  EXPECT_FALSE(stream->Read(&event));
  const absl::Status status = FromGrpcStatus(stream->Finish());
  EXPECT_THAT(status, HasReason(Reason::kDraining));
  EXPECT_EQ(MetadataOf(status)["last_sequence"], "1");
}

TEST_F(ServerTest, InterruptsATurnThatRunsWhenItStops) {
  Configuration configuration = Configure();
  configuration.drain_timeout = absl::Milliseconds(10);
  const auto server = *Server::Start(std::move(configuration));
  const std::string session_id = CreateSession(*server).session_id();
  const auto stub = v1::AgentControl::NewStub(grpc::CreateChannel(
      absl::StrCat("unix:", socket_), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::WatchEventsRequest request;
  request.set_session_id(session_id);
  request.set_after_sequence(0);
  const auto stream = stub->WatchEvents(&context, request);

  v1::SendMessageRequest message;
  message.set_session_id(session_id);
  message.set_text("!sleep 600");
  v1::SendMessageResponse response;
  EXPECT_THAT(
      Call(*server, &v1::AgentControl::Stub::SendMessage, message, &response),
      IsOk());
  v1::Event event;
  while (stream->Read(&event) && !event.has_tool_call()) {
  }
  ASSERT_TRUE(event.has_tool_call());
  EXPECT_EQ(event.turn_id(), response.turn_id());

  server->Drain();
  v1::Event completed, exited;
  while (stream->Read(&event)) {
    if (event.has_turn_completed()) completed = event;
    if (event.has_agent_exited()) exited = event;
  }
  EXPECT_THAT(FromGrpcStatus(stream->Finish()), HasReason(Reason::kDraining));
  EXPECT_EQ(completed.turn_id(), response.turn_id());
  EXPECT_EQ(completed.turn_completed().outcome(), v1::TURN_OUTCOME_INTERRUPTED);
  EXPECT_TRUE(exited.agent_exited().expected());
}

TEST_F(ServerTest, E5_TellsHowTheAgentOfAWaitingCallDied) {
  const auto server = Start();
  v1::SendMessageRequest request;
  request.set_session_id(CreateSession(*server).session_id());
  request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
  request.set_text(
      "!fault stderr@mid-turn=boom\n"
      "!fault crash@mid-turn=3");
  v1::SendMessageResponse response;
  const absl::Status status =
      Call(*server, &v1::AgentControl::Stub::SendMessage, request, &response);
  EXPECT_THAT(status, HasReason(Reason::kAgentLost));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  ErrorMetadata metadata = MetadataOf(status);
  EXPECT_EQ(metadata["exit_code"], "3");
  EXPECT_THAT(metadata["stderr_tail"], HasSubstr("boom"));
  EXPECT_EQ(metadata["delivered"], "YES");
  EXPECT_NE(metadata["turn_id"], "");
}

}  // namespace
}  // namespace understudy::service
