// ClaudeAgent told any lines at any moment, by an owner that keeps its part of
// the contract: whatever a process says, every Done is called once, OnLost is
// the last call and comes once, turns begin and end once and only as they were
// sent, and only valid UTF-8 comes out.
//
// An input is lines of the process, in which stand
//   $REQUEST       the id of the last request that it was written
//   $TURN          the id of the last turn
//   $CONVERSATION  the conversation that it was started with, $NEXT another one
//   $MODEL         the model that it was started with
// and, on lines that begin with an exclamation mark, what the owner does.
// Lines of the process that follow one another come in one read.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/base/utf8.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

using session::Agent;
using session::AgentState;
using session::FakeChild;
using session::Loss;
namespace v1 = understudy::v1;

constexpr char kNext[] = "33333333-3333-4333-8333-333333333333";
constexpr char kModel[] = "claude-sonnet-5-5";

// Counts the calls of one Done.
class Once {
 public:
  explicit Once(const char* what) : what_(what) {}
  session::Done Expect() {
    pending_ = true;
    return [this, inside = inside_](absl::Status status) {
      Require(!*inside, what_, "called from inside the call");
      Require(pending_, what_, "called twice");
      pending_ = false;
      status_ = std::move(status);
    };
  }
  // While the call that takes the Done is on.
  void set_inside(bool inside) { *inside_ = inside; }
  bool pending() const { return pending_; }
  bool succeeded() const { return status_.has_value() && status_->ok(); }

 private:
  const char* const what_;
  std::shared_ptr<bool> inside_ = std::make_shared<bool>(false);
  bool pending_ = false;
  std::optional<absl::Status> status_;
};

class Owner final : public Agent::Observer {
 public:
  void OnDelta(session::DeltaKind, std::string_view tool_call_id,
               std::string_view text, std::string_view) override {
    Note();
    RequireUtf8(tool_call_id);
    RequireUtf8(text);
    MayEnd();
  }
  void OnEvent(v1::Event event, std::string_view) override {
    Note();
    Require(event.payload_case() != v1::Event::PAYLOAD_NOT_SET, "a payload");
    // proto3 takes strings only if they are UTF-8.
    Require(v1::Event().ParseFromString(event.SerializeAsString()),
            "an event is UTF-8", event.ShortDebugString());
    if (event.has_permission_requested()) {
      asked_ = event.permission_requested().permission_id();
    }
    MayEnd();
  }
  void OnTurnStarted(std::string_view id, std::string_view) override {
    Note();
    if (id.empty()) {
      Require(!unsolicited_, "one unsolicited turn at a time");
      unsolicited_ = true;
    } else {
      Require(id == turn_ && !started_, "a turn that was sent starts once", id);
      started_ = true;
    }
    MayEnd();
  }
  void OnTurnEnded(session::TurnEnd end, std::string_view) override {
    Note();
    if (end.turn_id.empty()) {
      Require(unsolicited_, "an unsolicited turn that began ends");
      unsolicited_ = false;
    } else {
      Require(end.turn_id == turn_, "a turn that was sent ends once",
              end.turn_id);
      turn_.clear();
    }
    RequireUtf8(end.stop_reason);
    RequireUtf8(end.text);
    RequireUtf8(std::string(end.error.message()));
    Require(end.error_reason.size() <= 63 &&
                std::all_of(end.error_reason.begin(), end.error_reason.end(),
                            [](char c) {
                              return (c >= 'A' && c <= 'Z') ||
                                     (c >= '0' && c <= '9') || c == '_';
                            }),
            "a reason is in upper snake case", end.error_reason);
    MayEnd();
  }
  void OnPermissionWithdrawn(std::string_view id) override {
    Note();
    if (id == asked_) asked_.clear();
    MayEnd();
  }
  void OnStateChanged() override {
    Note();
    RequireUtf8(agent_->current().model);
    MayEnd();
  }
  void OnQuiet() override {
    Note();
    MayEnd();
  }
  void OnLost(const Loss& loss) override {
    Note();
    Require(!ready_.pending() && !changed_.pending(),
            "every Done is called before OnLost");
    Require(ReasonOf(loss.why).has_value(), "a loss has a reason");
    RequireUtf8(std::string(loss.why.message()));
    lost_ = true;
    if (destroy_at_end_) agent_.reset();
  }

  void Run(Input input) {
    Make();
    std::vector<std::string> lines;
    while (!input.empty()) {
      const std::string_view line = input.Line();
      if (!line.starts_with('!')) {
        lines.push_back(
            absl::StrReplaceAll(absl::string_view(line.data(), line.size()),
                                {{"$REQUEST", request_},
                                 {"$TURN", last_turn_},
                                 {"$CONVERSATION", conversation_},
                                 {"$NEXT", kNext},
                                 {"$MODEL", kModel}}));
        continue;
      }
      Say(lines);
      Do(line.substr(1));
    }
    Say(lines);
    End();
  }

 private:
  void Make() {
    session::Profile profile;
    profile.name = "claude";
    profile.kind = "claude";
    profile.command = "claude-program";
    session::Opening opening;
    opening.model = kModel;
    opening.working_directory = "/";
    launcher_.OnLaunch([this](FakeChild& child) {
      child.OnLine([this](FakeChild&, std::string_view line) {
        const auto json = nlohmann::json::parse(line);  // it must be JSON
        if (json.contains("request_id")) request_ = json["request_id"];
      });
    });
    auto made = session::FindAgentKind("claude")->make(loop_, launcher_,
                                                       profile, opening, this);
    Require(made.ok(), "it is made");
    agent_ = *std::move(made);
    for (const std::string& argument : launcher_.last().command().argv) {
      constexpr std::string_view kFlag = "--session-id=";
      if (argument.starts_with(kFlag)) {
        conversation_ = argument.substr(kFlag.size());
      }
    }
    ready_.set_inside(true);
    agent_->Start(ready_.Expect());
    ready_.set_inside(false);
    loop_.RunUntilIdle();
  }

  FakeChild& child() { return launcher_.last(); }

  void Say(std::vector<std::string>& lines) {
    if (!lines.empty() && !child().ended()) child().Say(lines);
    lines.clear();
    loop_.RunUntilIdle();
  }

  bool usable() const {
    return agent_ != nullptr && !lost_ && !stopped_ && ready_.succeeded();
  }

  void Apply(session::Change change) {
    if (!usable() || changed_.pending() || !turn_.empty() || unsolicited_) {
      return;
    }
    changed_.set_inside(true);
    agent_->Apply(change, changed_.Expect());
    changed_.set_inside(false);
  }

  void Do(std::string_view what) {
    const std::string_view verb = what.substr(0, what.find(' '));
    const std::string argument(
        verb.size() < what.size() ? what.substr(verb.size() + 1) : "");
    if (verb == "ready") {
      Answer(R"({"claude_code_version":"2.1.329","models":[{"value":"haiku",)"
             R"("resolvedModel":"claude-haiku-5-5"}]})");
      Answer(R"({"applied":{"model":"claude-sonnet-5-5"}})");
    } else if (verb == "send") {
      if (usable() && turn_.empty() && !changed_.pending()) {
        turn_ =
            absl::StrCat("11111111-1111-4111-8111-", 100000000000 + ++turns_);
        last_turn_ = turn_;
        started_ = false;
        agent_->Send({turn_, argument});
      }
    } else if (verb == "interrupt") {
      if (usable()) agent_->Interrupt();
    } else if (verb == "model") {
      Apply({.model = argument, .conversation = {}});
    } else if (verb == "clear") {
      Apply({.model = {}, .conversation = ""});
    } else if (verb == "allow" || verb == "deny") {
      session::PermissionAnswer answer;
      if (verb == "allow") answer.decision = v1::PERMISSION_DECISION_ALLOW;
      if (argument == "session") answer.scope = v1::PERMISSION_SCOPE_SESSION;
      if (usable() && !asked_.empty()) {
        agent_->AnswerPermission(std::exchange(asked_, ""), answer);
      }
    } else if (verb == "stop") {
      if (agent_ != nullptr && !lost_) agent_->Stop(absl::Seconds(1));
      stopped_ = true;
    } else if (verb == "wait") {
      int ms = 0;
      if (absl::SimpleAtoi(argument, &ms) && ms > 0) {
        loop_.Advance(absl::Milliseconds(ms));
      }
    } else if (verb == "exit") {
      session::ExitStatus status;
      status.exit_code = static_cast<int>(argument.size());
      status.stderr_tail = session::ToValidUtf8(argument);
      if (!child().ended()) child().Exit(status);
    } else if (verb == "deaf") {
      if (!child().ended()) child().set_reads_stdin(argument == "no");
    } else if (verb == "unruly") {
      child().set_obedient(false);
    } else if (verb == "destroy") {
      // From inside the call that is so many from here.
      destroy_after_ = static_cast<int>(argument.size());
    } else if (verb == "keep") {
      destroy_at_end_ = false;
    }
    loop_.RunUntilIdle();
  }

  // The process answers its last request.
  void Answer(const std::string& response) {
    if (child().ended()) return;
    child().Say(absl::StrCat(R"({"type":"control_response","response":{)",
                             R"("subtype":"success","request_id":")", request_,
                             R"(","response":)", response, "}}"));
    loop_.RunUntilIdle();
  }

  void End() {
    if (agent_ != nullptr && !lost_) {
      if (!child().ended()) child().Exit();
      loop_.RunUntilIdle();
      loop_.Advance(absl::Hours(1));
      // It was destroyed from inside a call, or lost.
      Require(agent_ == nullptr || lost_, "an agent that has ended is lost");
    }
    agent_.reset();
    loop_.RunUntilIdle();
    Require(loop_.timers() == 0, "no timer is left");
    Require(launcher_.alive() == 0, "no process is left");
  }

  void Note() {
    Require(agent_ != nullptr, "nobody calls for an agent that is destroyed");
    Require(!lost_, "OnLost is the last call");
  }
  void MayEnd() {
    if (destroy_after_ >= 0 && destroy_after_-- == 0) agent_.reset();
  }
  static void RequireUtf8(std::string_view text) {
    Require(session::IsValidUtf8(text), "only UTF-8 comes out");
  }

  session::FakeLoop loop_;
  session::FakeLauncher launcher_{loop_};
  Once ready_{"the Done of Start"};
  Once changed_{"the Done of Apply"};

  std::string conversation_;
  std::string request_;
  std::string turn_;  // outstanding
  std::string last_turn_ = "22222222-2222-4222-8222-222222222222";
  int turns_ = 0;
  bool started_ = false;
  bool unsolicited_ = false;
  std::string asked_;  // the last permission request that is open
  bool lost_ = false;
  bool stopped_ = false;
  bool destroy_at_end_ = true;
  int destroy_after_ = -1;
  // Last, and so destroyed first.
  std::unique_ptr<Agent> agent_;
};

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Owner().Run({data, size});
  return 0;
}
