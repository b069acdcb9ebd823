// understudyctl as a user has it: a process, a socket, a server.

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/signal_waiter.h"
#include "client/cpp/client.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/client/program.h"
#include "tests/fakes/fake_agent_control.h"
#include "tests/support/temp_folder.h"

namespace understudy {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::StartsWith;

constexpr char kSession[] = "6a1f3c52-9c1e-4b37-8f3e-0d2f5a7b9c11";

// The message that `json` is, on one line.
template <typename Message>
Message FromJson(const std::string& json) {
  Message message;
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, &message);
  EXPECT_TRUE(status.ok()) << status << ": " << json;
  EXPECT_EQ(json.find('\n') + 1, json.empty() ? 0 : json.size()) << json;
  return message;
}

class UnderstudyctlTest : public testing::Test {
 protected:
  UnderstudyctlTest() {
    server_ = std::make_unique<FakeServer>(service_, address_);
  }

  std::vector<std::string> Argv(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {UNDERSTUDYCTL, "--server=" + address_});
    return arguments;
  }

  Program::Result Run(const std::vector<std::string>& arguments,
                      const std::string& input = "") const {
    return Program(Argv(arguments), input).Wait();
  }

  // The output of a command that succeeds.
  std::string Output(const std::vector<std::string>& arguments,
                     const std::string& input = "") const {
    const Program::Result result = Run(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(result.errors, "");
    return result.output;
  }

  // The requests that the server got, of that method.
  std::vector<std::string> Requests(const std::string& method) const {
    std::vector<std::string> requests;
    for (const auto& call : service_.calls()) {
      if (call.method == method) requests.push_back(call.request);
    }
    return requests;
  }

  FakeAgentControl service_;
  const session::TempFolder folder_;
  const std::string address_ = "unix:" + folder_.path() + "/socket";
  std::unique_ptr<FakeServer> server_;
};

// --- exit codes

TEST_F(UnderstudyctlTest, ExitsWithOneAndTheReasonWhenTheRpcFails) {
  const auto result = Run({"get", "no-such-session"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(result.errors,
            "understudyctl: get: NOT_FOUND SESSION_NOT_FOUND: session "
            "no-such-session: no such session\n");
}

TEST_F(UnderstudyctlTest, EndsWhenTheTimeIsOver) {
  const auto result = Run({"watch", kSession, "--timeout=50ms"});
  // On a busy machine it may be over before the server is reached.
  EXPECT_THAT(result.errors,
              result.exit_code == 1
                  ? StartsWith("understudyctl: watch: DEADLINE_EXCEEDED: ")
                  : StartsWith("understudyctl: watch: UNAVAILABLE: connect "));
}

// Blocks the signals that the program blocks when it runs `watch`.
class ScopedBlock {
 public:
  ScopedBlock() {
    pthread_sigmask(SIG_BLOCK, nullptr, &before_);
    client::BlockEndingSignals();
  }
  ~ScopedBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

TEST_F(UnderstudyctlTest, ExitsWithOneWhenTheTimeIsOverInACall) {
  CLI::App app;
  client::Command command;
  client::AddWatchCommand(app, command);
  app.parse(absl::StrCat("watch ", kSession));
  const client::Client client(server_->InProcessChannel());
  const ScopedBlock block;
  testing::internal::CaptureStderr();
  const int code =
      command.run({client, client::Format::kText, absl::Now(), command.name});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              StartsWith("understudyctl: watch: DEADLINE_EXCEEDED: "));
  EXPECT_EQ(code, 1);
}

TEST_F(UnderstudyctlTest, ExitsWithTwoForWrongUsage) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"get"},
      {"get", kSession, "more"},
      {"get", kSession, "--no-such-option"},
      {"send", kSession},
      {"list", "--output=yaml"},
      {"list", "--timeout=soon"},
      {"list", "--timeout=-1"},
      {"permit", kSession, "permission-1", "maybe"},
      {"permit", kSession, "permission-1"},
      {"switch-model", kSession, "m", "--if-running=panic"},
      {"watch", kSession, "--after=-1"},
      {"create", "--label=novalue"},
      {"models", kSession, "--agent=claude"},
  };
  for (const auto& arguments : wrong) {
    const auto result = Run(arguments);
    EXPECT_EQ(result.exit_code, 2) << testing::PrintToString(arguments);
    EXPECT_EQ(result.output, "") << testing::PrintToString(arguments);
    EXPECT_NE(result.errors, "") << testing::PrintToString(arguments);
  }
  EXPECT_THAT(service_.calls(), IsEmpty());
}

TEST_F(UnderstudyctlTest, ExitsWithThreeWhereThereIsNoServer) {
  const auto result = Program({UNDERSTUDYCTL, "info",
                               "--server=unix:" + folder_.path() + "/nobody"})
                          .Wait();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.output, "");
  EXPECT_THAT(result.errors,
              AllOf(StartsWith("understudyctl: info: UNAVAILABLE: connect to "),
                    HasSubstr("No such file or directory")));
}

TEST_F(UnderstudyctlTest, HelpAndVersionSucceed) {
  EXPECT_THAT(Output({"--help"}), HasSubstr("switch-model"));
  EXPECT_THAT(Output({"send", "--help"}), HasSubstr("--no-wait"));
  EXPECT_THAT(Output({"--version"}), MatchesRegex("[0-9]+\\.[0-9]+\\..*\n"));
}

// --- every command, for people and for programs

TEST_F(UnderstudyctlTest, CreatePrintsTheId) {
  EXPECT_EQ(Output({"create", "--agent=rehearsal", "--model=m", "--label=a=b=c",
                    "--directory=/srv/./work/"}),
            std::string(kSession) + "\n");
  EXPECT_THAT(Requests("CreateSession"),
              ElementsAre(AllOf(HasSubstr("agent: \"rehearsal\""),
                                HasSubstr("model: \"m\""),
                                HasSubstr("key: \"a\" value: \"b=c\""),
                                HasSubstr("directory: \"/srv/work\""))));
}

TEST_F(UnderstudyctlTest, UpdateSetsAndRemovesLabels) {
  EXPECT_THAT(Output({"update", kSession, "--label=a=b=c", "--remove-label=d"}),
              HasSubstr("a=b=c"));
  EXPECT_THAT(
      Requests("UpdateSession"),
      ElementsAre(AllOf(HasSubstr("key: \"a\" value: \"b=c\""),
                        HasSubstr("paths: \"labels.a\" paths: \"labels.d\""))));
  const auto answer = FromJson<v1::UpdateSessionResponse>(
      Output({"update", kSession, "--label=a=b", "--output=json"}));
  EXPECT_EQ(answer.session().labels().at("a"), "b");
}

TEST_F(UnderstudyctlTest, PermissionModePrintsTheModeInEffect) {
  EXPECT_EQ(Output({"permission-mode", kSession, "plan"}), "plan\n");
  EXPECT_EQ(Output({"permission-mode", kSession, ""}),
            "(the agent's own default)\n");
  EXPECT_THAT(Requests("SetPermissionMode"),
              ElementsAre(HasSubstr("permission_mode: \"plan\""), testing::_));
}

TEST_F(UnderstudyctlTest, SendTakesPictures) {
  const auto file = [this](const std::string& name, const std::string& bytes) {
    const std::string path = folder_.path() + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  };
  const std::string png = file("png", "\x89PNG\r\n\x1a\n");
  const std::string webp = file("webp", "RIFF....WEBPVP8 ");
  const auto sent = [&](const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"send", kSession, "--no-wait"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Output(command);
    return Requests("SendMessage").back();
  };
  EXPECT_THAT(sent({"look", "--image=" + png, "--image=" + webp}),
              HasSubstr("content { parts { text: \"look\" } "
                        "parts { image { mime_type: \"image/png\" "
                        "data: \"\\211PNG\\r\\n\\032\\n\" } } "
                        "parts { image { mime_type: \"image/webp\" "));
  EXPECT_THAT(sent({"--image=" + png}),
              HasSubstr("content { parts { image { mime_type"));
  for (const std::string& path :
       {file("text", "hello"), file("empty", ""), folder_.path() + "/missing",
        folder_.path()}) {
    const auto result = Run({"send", kSession, "look", "--image=" + path});
    EXPECT_EQ(result.exit_code, 2) << path;
    EXPECT_THAT(result.errors, HasSubstr(path));
  }
}

TEST_F(UnderstudyctlTest, CreateWorksWhereItIsCalled) {
  Output({"create"});
  EXPECT_THAT(Requests("CreateSession"),
              ElementsAre(HasSubstr(
                  "\"" + std::filesystem::current_path().string() + "\"")));
}

TEST_F(UnderstudyctlTest, CreatePrintsJson) {
  EXPECT_EQ(
      FromJson<v1::Session>(Output({"create", "--output=json"})).session_id(),
      kSession);
}

TEST_F(UnderstudyctlTest, ListTurnsAllPages) {
  EXPECT_EQ(
      Output({"list"}),
      "SESSION                               AGENT      MODEL        "
      "STATE  UPDATED              DIRECTORY\n" +
          [](const std::string& row) {
            return row + row + row;
          }("6a1f3c52-9c1e-4b37-8f3e-0d2f5a7b9c11  rehearsal  "
            "rehearsal-1  IDLE   2023-11-14 22:13:21  /srv/work\n"));
  const auto response = FromJson<v1::ListSessionsResponse>(
      Output({"list", "--filter=state=IDLE", "--output=json"}));
  EXPECT_EQ(response.sessions_size(), 3);
  EXPECT_EQ(response.next_page_token(), "");
  EXPECT_THAT(Requests("ListSessions").back(), HasSubstr("state=IDLE"));
}

TEST_F(UnderstudyctlTest, GetShowsTheSession) {
  const std::string text = Output({"get", kSession});
  EXPECT_THAT(text, AllOf(HasSubstr("state          IDLE\n"),
                          HasSubstr("directory      /srv/work\n"),
                          HasSubstr("created        2023-11-14 22:13:20\n")));
  // The standard mapping: names in lowerCamelCase, 64 bits as a string.
  EXPECT_THAT(Output({"--output=json", "get", kSession}),
              AllOf(HasSubstr("\"workingDirectory\":\"/srv/work\""),
                    HasSubstr("\"oldestSequence\":\"1\""),
                    HasSubstr("\"state\":\"SESSION_STATE_IDLE\"")));
}

TEST_F(UnderstudyctlTest, DeleteSaysNothing) {
  EXPECT_EQ(Output({"delete", kSession, "--output=json"}), "{}\n");
  EXPECT_EQ(Output({"delete", kSession}), "");
}

TEST_F(UnderstudyctlTest, TransitionsShowWhereTheSessionIs) {
  EXPECT_EQ(Output({"switch-model", kSession, "haiku"}),
            "NATIVE  model haiku (was rehearsal-1)  conversation "
            "c0ffee00-1111-4222-8333-444455556666\n");
  EXPECT_EQ(Output({"clear", kSession, "--if-running=interrupt"}),
            "NATIVE  model rehearsal-1  conversation (named with its first "
            "message) (was c0ffee00-1111-4222-8333-444455556666)\n");
  EXPECT_EQ(Output({"resume", kSession, "abc", "--if-running=fail"}),
            "NATIVE  model rehearsal-1  conversation abc\n");
  EXPECT_THAT(Requests("Clear"),
              ElementsAre(HasSubstr("TURN_POLICY_INTERRUPT")));
  EXPECT_THAT(Requests("Resume"), ElementsAre(HasSubstr("TURN_POLICY_FAIL")));
}

TEST_F(UnderstudyctlTest, TransitionsPrintJson) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"switch-model", kSession, "haiku"},
        {"clear", kSession, "--resume=abc"},
        {"resume", kSession, "abc", "--model=opus"}}) {
    auto arguments = command;
    arguments.push_back("--output=json");
    EXPECT_EQ(FromJson<v1::TransitionResponse>(Output(arguments)).route(),
              v1::ROUTE_NATIVE);
  }
}

TEST_F(UnderstudyctlTest, AnEmptyModelIsTheDefault) {
  Output({"switch-model", kSession, ""});
  EXPECT_THAT(Requests("SwitchModel"), ElementsAre(Not(HasSubstr("model"))));
}

TEST_F(UnderstudyctlTest, InterruptSaysWhat) {
  EXPECT_EQ(Output({"interrupt", kSession}), "interrupted turn-1\n");
  EXPECT_EQ(FromJson<v1::InterruptResponse>(
                Output({"interrupt", kSession, "--turn=t", "--output=json"}))
                .turn_id(),
            "turn-1");
  EXPECT_THAT(Requests("Interrupt")[1], HasSubstr("turn_id: \"t\""));
}

TEST_F(UnderstudyctlTest, PermitAnswersOnceOrAlways) {
  EXPECT_EQ(Output({"permit", kSession, "permission-1", "allow"}), "");
  EXPECT_EQ(Output({"permit", kSession, "permission-2", "deny", "--always",
                    "--output=json"}),
            "{}\n");
  const auto requests = Requests("ResolvePermission");
  EXPECT_THAT(requests[0], AllOf(HasSubstr("DECISION_ALLOW"),
                                 Not(HasSubstr("SCOPE_SESSION"))));
  EXPECT_THAT(requests[1],
              AllOf(HasSubstr("DECISION_DENY"), HasSubstr("SCOPE_SESSION")));
}

TEST_F(UnderstudyctlTest, ListingsTurnAllPages) {
  EXPECT_THAT(Output({"agents"}),
              AllOf(StartsWith("AGENT    KIND"), HasSubstr("\nagent-2  ")));
  EXPECT_THAT(Output({"models", kSession}),
              AllOf(HasSubstr("model-1  -     current"), HasSubstr("model-2")));
  EXPECT_THAT(Output({"conversations", kSession}),
              AllOf(HasSubstr("Hello there\n"), HasSubstr("conversation-2")));
  EXPECT_EQ(
      FromJson<v1::ListAgentsResponse>(Output({"agents", "--output=json"}))
          .agents_size(),
      3);
  EXPECT_EQ(FromJson<v1::ListModelsResponse>(
                Output({"models", "--agent=claude", "--output=json"}))
                .models_size(),
            3);
  EXPECT_EQ(FromJson<v1::ListConversationsResponse>(
                Output({"conversations", kSession, "--output=json"}))
                .conversations_size(),
            3);
}

TEST_F(UnderstudyctlTest, InfoShowsTheServer) {
  EXPECT_THAT(Output({"info"}), AllOf(HasSubstr("version  1.2.3\n"),
                                      HasSubstr("uptime   1m30s\n")));
  EXPECT_EQ(
      FromJson<v1::GetServerInfoResponse>(Output({"info", "--output=json"}))
          .store_kind(),
      "memory");
}

// --- send

TEST_F(UnderstudyctlTest, SendShowsTheTextOfTheTurn) {
  EXPECT_EQ(Output({"send", kSession, "hello"}),
            "You said: hello.\nAnything else?\n");
}

TEST_F(UnderstudyctlTest, SendReadsStandardInput) {
  EXPECT_EQ(Output({"send", kSession, "-"}, "one\ntwo"),
            "You said: one\ntwo.\nAnything else?\n");
}

TEST_F(UnderstudyctlTest, SendPrintsTheAnswerAsJson) {
  const auto response = FromJson<v1::SendMessageResponse>(
      Output({"send", kSession, "hello", "--output=json", "--model=haiku"}));
  EXPECT_EQ(response.outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_EQ(response.text(), "Anything else?");
  EXPECT_THAT(Requests("SendMessage"),
              ElementsAre(AllOf(HasSubstr("model: \"haiku\""),
                                HasSubstr("WAIT_UNTIL_COMPLETED"))));
}

TEST_F(UnderstudyctlTest, SendNeedNotWait) {
  EXPECT_EQ(Output({"send", kSession, "hello", "--no-wait"}), "turn-1\n");
  EXPECT_EQ(
      FromJson<v1::SendMessageResponse>(
          Output({"send", kSession, "hello", "--no-wait", "--output=json"}))
          .outcome(),
      v1::TURN_OUTCOME_UNSPECIFIED);
}

TEST_F(UnderstudyctlTest, SendFailsWithTheTurn) {
  const auto text = Run({"send", kSession, "fail"});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_EQ(text.output, "");
  EXPECT_EQ(text.errors,
            "understudyctl: send: the turn ended: FAILED API_ERROR: the model "
            "is overloaded\n");
  const auto json = Run({"send", kSession, "fail", "--output=json"});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_EQ(FromJson<v1::SendMessageResponse>(json.output).error().reason(),
            "API_ERROR");
  EXPECT_EQ(json.errors, text.errors);
}

TEST_F(UnderstudyctlTest, SendTellsThatTheAgentAsks) {
  const auto result = Run({"send", kSession, "ask"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.errors,
              HasSubstr("understudyctl permit " + std::string(kSession) +
                        " permission-1 allow|deny"));
}

TEST_F(UnderstudyctlTest, SendOutlivesACutOfTheStream) {
  service_.log().Script({.cut_after = 2});
  EXPECT_EQ(Output({"send", kSession, "hello"}),
            "You said: hello.\nAnything else?\n");
}

TEST_F(UnderstudyctlTest, ARequestIdIsPassedOn) {
  constexpr char kId[] = "00000000-0000-4000-8000-000000000001";
  const std::string option = std::string("--request-id=") + kId;
  Output({"send", kSession, "hello", option});
  Output({"clear", kSession, option});
  for (const auto& call : service_.calls()) {
    if (call.method == "GetSession") continue;
    EXPECT_EQ(call.request_id, kId);
  }
}

// --- watch

TEST_F(UnderstudyctlTest, WatchShowsEachEventOnALine) {
  Output({"send", kSession, "hi"});
  service_.log().Delete();
  EXPECT_EQ(Output({"watch", kSession, "--after=2"}),
            "     3  22:13:20.000  message               \"You said: hi.\"\n"
            "     4  22:13:20.000  message               \"Anything else?\"\n"
            "     5  22:13:20.000  turn_completed        SUCCEEDED\n"
            "     -                session_deleted\n");
}

TEST_F(UnderstudyctlTest, WatchPrintsAnObjectALine) {
  Output({"send", kSession, "hi"});
  Program watch(Argv({"watch", kSession, "--after=0", "--output=json"}));
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) {
    const auto event = FromJson<v1::Event>(watch.ReadLine() + "\n");
    EXPECT_EQ(event.sequence(), sequence);
  }
}

TEST_F(UnderstudyctlTest, WatchShowsDeltasIfAsked) {
  Program watch(Argv({"watch", kSession, "--deltas", "--output=json"}));
  service_.log().AwaitSubscriptions(1);
  Output({"send", kSession, "hi", "--no-wait"});
  watch.ReadLine();
  watch.ReadLine();
  EXPECT_EQ(FromJson<v1::Event>(watch.ReadLine() + "\n").text_delta().text(),
            "Y");
}

TEST_F(UnderstudyctlTest, WatchWritesTheAgentsOwnLines) {
  Output({"send", kSession, "hi"});
  service_.log().Delete();
  EXPECT_EQ(Output({"watch", kSession, "--after=0", "--raw"}),
            R"({"type":"text","text":"You said: hi."})"
            "\n"
            R"({"type":"text","text":"Anything else?"})"
            "\n");
}

TEST_F(UnderstudyctlTest, WatchEndsCleanlyAtCtrlC) {
  for (const int signal : {SIGINT, SIGTERM}) {
    Program watch(Argv({"watch", kSession, "--after=0"}));
    service_.log().Append({});
    watch.ReadLine();
    watch.Signal(signal);
    const auto result = watch.Wait();
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.errors, "");
  }
}

TEST_F(UnderstudyctlTest, WatchFailsForASessionThatIsNotThere) {
  const auto result = Run({"watch", "no-such-session", "--after=0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.errors, StartsWith("understudyctl: watch: NOT_FOUND "
                                        "SESSION_NOT_FOUND: "));
}

TEST_F(UnderstudyctlTest, WatchGoesOnWhenTheServerIsBack) {
  service_.log().Append({});
  Program watch(Argv({"watch", kSession, "--after=0", "--output=json"}));
  EXPECT_EQ(FromJson<v1::Event>(watch.ReadLine() + "\n").sequence(), 1u);
  server_.reset();
  service_.log().Append({});
  server_ = std::make_unique<FakeServer>(service_, address_);
  EXPECT_EQ(FromJson<v1::Event>(watch.ReadLine() + "\n").sequence(), 2u);
  watch.Signal(SIGINT);
  const auto result = watch.Wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.errors, StartsWith("understudyctl: watch: UNAVAILABLE"));
}

}  // namespace
}  // namespace understudy
