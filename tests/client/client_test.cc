#include "client/cpp/client.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_agent_control.h"
#include "tests/support/temp_folder.h"

namespace understudy::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::SizeIs;

class ClientTest : public testing::Test {
 protected:
  ClientTest()
      : client_(server_.InProcessChannel(),
                {.max_attempts = 4, .sleep = [this](absl::Duration wait) {
                   waits_.push_back(wait);
                 }}) {}

  static v1::SendMessageRequest Message(const std::string& text) {
    v1::SendMessageRequest request;
    request.set_session_id(FakeAgentControl::kSessionId);
    request.set_text(text);
    return request;
  }

  FakeAgentControl service_;
  FakeServer server_{service_};
  std::vector<absl::Duration> waits_;
  Client client_;
};

TEST_F(ClientTest, ReturnsTheAnswer) {
  const auto response = client_.SendMessage(Message("hello"));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->turn_id(), "turn-1");
}

TEST_F(ClientTest, GivesAChangingRequestAnIdOfItsOwn) {
  ASSERT_TRUE(client_.SendMessage(Message("one")).ok());
  ASSERT_TRUE(client_.SendMessage(Message("two")).ok());
  const auto calls = service_.calls();
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_THAT(calls[0].request_id, MatchesRegex("[0-9a-f-]{36}"));
  EXPECT_NE(calls[0].request_id, calls[1].request_id);
}

TEST_F(ClientTest, KeepsTheRequestIdItIsGiven) {
  v1::SendMessageRequest request = Message("hello");
  request.set_request_id("00000000-0000-4000-8000-000000000001");
  ASSERT_TRUE(client_.SendMessage(request).ok());
  EXPECT_EQ(service_.calls()[0].request_id, request.request_id());
}

TEST_F(ClientTest, RepeatsWhatWasUnavailableUnderTheSameRequestId) {
  service_.Fail({absl::UnavailableError("no connection"),
                 MakeError(Reason::kDraining, "the server stops"),
                 MakeError(Reason::kStoreUnavailable, "the store is down")});
  ASSERT_TRUE(client_.SendMessage(Message("hello")).ok());
  const auto calls = service_.calls();
  ASSERT_THAT(calls, SizeIs(4));
  for (const auto& call : calls) {
    EXPECT_EQ(call.request, calls[0].request);
    EXPECT_THAT(call.request_id, MatchesRegex("[0-9a-f-]{36}"));
  }
  EXPECT_THAT(waits_, SizeIs(3));
}

TEST_F(ClientTest, RepeatsACallThatOnlyReads) {
  service_.Fail({MakeError(Reason::kDraining, "the server stops")});
  v1::GetSessionRequest request;
  request.set_session_id(FakeAgentControl::kSessionId);
  EXPECT_TRUE(client_.GetSession(request).ok());
  EXPECT_THAT(service_.calls(), SizeIs(2));
}

TEST_F(ClientTest, RepeatsACallThatTheServerDroppedAsItEnded) {
  service_.Fail({absl::CancelledError("CANCELLED")});
  ASSERT_TRUE(client_.SendMessage(Message("hello")).ok());
  const auto calls = service_.calls();
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[1].request_id, calls[0].request_id);
}

TEST_F(ClientTest, GivesUpAfterItsAttemptsWithTheLastError) {
  const absl::Status down = MakeError(Reason::kStoreUnavailable, "disk gone");
  service_.Fail({down, down, down, down, down});
  const auto response = client_.SendMessage(Message("hello"));
  EXPECT_EQ(ReasonOf(response.status()), Reason::kStoreUnavailable);
  EXPECT_EQ(response.status().message(), "disk gone");
  EXPECT_THAT(service_.calls(), SizeIs(4));
}

TEST_F(ClientTest, DoesNotRepeatAnErrorThatIsAnAnswer) {
  const std::vector<absl::Status> answers = {
      FieldInvalid("text", "is empty"),
      MakeError(Reason::kSessionNotFound, "no such session"),
      MakeError(Reason::kTurnRunning, "a turn runs"),
      MakeError(Reason::kQueueFull, "queue full", {}, absl::Seconds(1)),
      MakeError(Reason::kSessionFenced, "another node has it"),
      MakeError(Reason::kInternal, "a bug"),
      MakeError(Reason::kAgentLost, "the agent died"),
      MakeError(Reason::kAgentStartTimeout, "the agent did not start"),
      MakeError(Reason::kAgentUnresponsive, "the agent did not answer"),
      MakeError(Reason::kCircuitOpen, "it keeps dying", {}, absl::Seconds(1)),
      absl::DeadlineExceededError("too late"),
  };
  size_t calls = 0;
  for (const absl::Status& answer : answers) {
    service_.Fail({answer});
    const auto response = client_.SendMessage(Message("hello"));
    EXPECT_EQ(response.status().code(), answer.code());
    EXPECT_EQ(ReasonOf(response.status()), ReasonOf(answer));
    EXPECT_THAT(service_.calls(), SizeIs(++calls)) << answer;
  }
  EXPECT_THAT(waits_, IsEmpty());
}

TEST_F(ClientTest, WaitsAsLongAsRetryInfoSays) {
  service_.Fail({MakeError(Reason::kDraining, "the server stops", {},
                           absl::Seconds(42))});
  ASSERT_TRUE(client_.SendMessage(Message("hello")).ok());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(42)));
}

TEST_F(ClientTest, DoesNotWaitBeyondTheDeadline) {
  service_.Fail(
      {MakeError(Reason::kDraining, "the server stops", {}, absl::Hours(2))});
  const auto response =
      client_.SendMessage(Message("hello"), {.timeout = absl::Hours(1)});
  EXPECT_EQ(ReasonOf(response.status()), Reason::kDraining);
  EXPECT_THAT(waits_, IsEmpty());
  EXPECT_THAT(service_.calls(), SizeIs(1));
}

TEST_F(ClientTest, PassesTheDeadlineOn) {
  const auto response =
      client_.SendMessage(Message("hello"), {.timeout = -absl::Seconds(1)});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, ReadsTheDetailsOfAnError) {
  service_.Fail({MakeError(Reason::kAgentLost, "the agent died",
                           {{"exit_code", "3"}, {"delivered", "MAYBE"}})});
  const absl::Status status = client_.SendMessage(Message("hello")).status();
  EXPECT_EQ(MetadataOf(status).at("exit_code"), "3");
  EXPECT_EQ(MetadataOf(status).at("delivered"), "MAYBE");
}

TEST_F(ClientTest, WatchesUntilTheReaderHasEnough) {
  for (int i = 0; i < 5; ++i) service_.log().Append({});
  std::vector<uint64_t> seen;
  v1::WatchEventsRequest request;
  request.set_session_id(FakeAgentControl::kSessionId);
  const absl::Status status =
      client_.WatchEvents(request, [&](const v1::Event& event) {
        seen.push_back(event.sequence());
        return seen.size() < 3;
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
}

TEST_F(ClientTest, WatchEndsWithTheErrorOfTheCall) {
  v1::WatchEventsRequest request;
  request.set_session_id("00000000-0000-4000-8000-000000000000");
  const absl::Status status =
      client_.WatchEvents(request, [](const v1::Event&) { return true; });
  EXPECT_EQ(ReasonOf(status), Reason::kSessionNotFound);
}

TEST(ConnectTest, SaysWhereNobodyAnswersAndWhy) {
  const auto client = Client::Connect("unix:/nonexistent/understudy.sock");
  EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(client.status().ToString(),
              testing::AllOf(HasSubstr("unix:/nonexistent/understudy.sock"),
                             HasSubstr("No such file or directory")));
}

// Sets an environment variable, or removes it, for as long as it lives.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value != nullptr ? setenv(name, value, 1) : unsetenv(name);
  }
  ~ScopedEnvironment() {
    old_.has_value() ? setenv(name_, old_->c_str(), 1) : unsetenv(name_);
  }

 private:
  const char* const name_;
  std::optional<std::string> old_;
};

TEST(ConnectTest, ReachesAServerOnThisMachineDespiteAProxy) {
  ScopedEnvironment proxy("http_proxy", "http://127.0.0.1:1");
  FakeAgentControl service;
  FakeServer server(service, "127.0.0.1:0");
  const auto client =
      Client::Connect("127.0.0.1:" + std::to_string(server.port()));
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE((*client)->GetServerInfo({}).ok());
}

// A server on the default socket, in a runtime folder of its own.
class DefaultSocketTest : public testing::Test {
 protected:
  DefaultSocketTest() {
    std::filesystem::create_directory(own_);
    chmod(own_.c_str(), 0700);
    fake_.emplace(service_, address_);
  }

  static absl::Status Connect(const std::string& target = "") {
    const auto client = Client::Connect(target);
    return client.ok() ? (*client)->GetServerInfo({}).status()
                       : client.status();
  }

  const session::TempFolder folder_;
  const std::string own_ = folder_.path() + "/understudy";
  const std::string address_ = "unix:" + own_ + "/understudy.sock";
  ScopedEnvironment server_{"UNDERSTUDY_SERVER", nullptr};
  ScopedEnvironment runtime_{"XDG_RUNTIME_DIR", folder_.path().c_str()};
  FakeAgentControl service_;
  std::optional<FakeServer> fake_;
};

TEST_F(DefaultSocketTest, ReachesTheServer) {
  EXPECT_TRUE(Connect().ok()) << Connect();
}

TEST_F(DefaultSocketTest, IsNotTrustedInAFolderThatOthersCanWriteTo) {
  for (const std::string& folder : {own_, folder_.path()}) {
    chmod(folder.c_str(), 0777);
    const absl::Status status = Connect();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(folder + " can be written to by others"));
    chmod(folder.c_str(), 0700);
  }
  // Who names it is believed.
  chmod(own_.c_str(), 0777);
  EXPECT_TRUE(Connect(address_).ok());
  ScopedEnvironment named("UNDERSTUDY_SERVER", address_.c_str());
  EXPECT_TRUE(Connect().ok());
}

TEST_F(DefaultSocketTest,
       MayBeBelowASharedFolderWhereNobodyRemovesOthersFiles) {
  chmod(folder_.path().c_str(), 01777);
  EXPECT_TRUE(Connect().ok()) << Connect();
}

TEST_F(DefaultSocketTest, IsNotTrustedBehindALink) {
  std::filesystem::rename(own_, own_ + "-elsewhere");
  std::filesystem::create_directory_symlink(own_ + "-elsewhere", own_);
  const absl::Status status = Connect();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not a folder"));
}

TEST_F(DefaultSocketTest, IsNotTrustedInAFolderOfAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  for (const std::string& folder : {own_, folder_.path()}) {
    ASSERT_EQ(chown(folder.c_str(), 12345, 12345), 0);
    const absl::Status status = Connect();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(folder + " belongs to another user"));
    ASSERT_EQ(chown(folder.c_str(), 0, 0), 0);
  }
}

TEST_F(DefaultSocketTest, CannotBeReachedWhereThereIsNoFolder) {
  fake_.reset();
  std::filesystem::remove_all(own_);
  const absl::Status status = Connect();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(HasSubstr(address_),
                             HasSubstr("No such file or directory")));
}

TEST(DefaultTargetTest, IsTheSocketInTheRuntimeFolder) {
  ScopedEnvironment server("UNDERSTUDY_SERVER", nullptr);
  ScopedEnvironment runtime("XDG_RUNTIME_DIR", "/run/user/7");
  EXPECT_EQ(DefaultTarget(), "unix:/run/user/7/understudy/understudy.sock");
}

TEST(DefaultTargetTest, FallsBackToAFolderOfTheUser) {
  ScopedEnvironment server("UNDERSTUDY_SERVER", nullptr);
  ScopedEnvironment runtime("XDG_RUNTIME_DIR", nullptr);
  EXPECT_THAT(
      DefaultTarget(),
      MatchesRegex("unix:/tmp/understudy-[0-9]+/understudy/understudy.sock"));
}

TEST(DefaultTargetTest, IsWhatTheEnvironmentSays) {
  ScopedEnvironment server("UNDERSTUDY_SERVER", "localhost:7");
  EXPECT_EQ(DefaultTarget(), "localhost:7");
}

}  // namespace
}  // namespace understudy::client
