// An owner of an agent that keeps its part of the contract of agent.h, and
// requires the agent to keep its own: whatever a process says, every Done is
// called once, OnLost is the last call and comes once, turns begin and end once
// and only as they were sent, and only valid UTF-8 comes out.
//
// What it does is said in words:
//   send TEXT  interrupt  model NAME  clear  resume CONVERSATION  mode NAME
//   allow [session]  deny [session]  list  stop
//   destroy xx  from inside the call that is so many from here
//   keep        it is not destroyed from inside OnLost

#ifndef UNDERSTUDY_TESTS_FUZZ_OWNER_H_
#define UNDERSTUDY_TESTS_FUZZ_OWNER_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/base/utf8.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {

namespace v1 = understudy::v1;

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

class Owner final : public session::Agent::Observer {
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
  void OnLost(const session::Loss& loss) override {
    Note();
    Require(!ready_.pending() && !changed_.pending() && !mode_.pending(),
            "every Done is called before OnLost");
    Require(ReasonOf(loss.why).has_value(), "a loss has a reason");
    RequireUtf8(std::string(loss.why.message()));
    lost_ = true;
    if (destroy_at_end_) agent_.reset();
  }

  // Makes and starts it.
  void Make(session::EventLoop& loop, session::Launcher& launcher,
            const session::Profile& profile, const session::Opening& opening) {
    auto made = session::FindAgentKind(profile.kind)
                    ->make(loop, launcher, profile, opening, this);
    if (!made.ok()) return;
    agent_ = *std::move(made);
    ready_.set_inside(true);
    agent_->Start(ready_.Expect());
    ready_.set_inside(false);
  }

  // The agent is there, or has been.
  bool made() const { return agent_ != nullptr || lost_; }
  const std::string& last_turn() const { return last_turn_; }

  void Do(std::string_view verb, const std::string& argument) {
    if (verb == "send") {
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
    } else if (verb == "resume") {
      Apply({.model = {}, .conversation = argument});
    } else if (verb == "mode") {
      if (usable() && !changed_.pending() && !mode_.pending()) {
        mode_.set_inside(true);
        agent_->SetPermissionMode(argument, mode_.Expect());
        mode_.set_inside(false);
      }
    } else if (verb == "list") {
      if (usable()) {
        agent_->ListConversations(
            [called =
                 false](std::vector<session::LocalConversation> all) mutable {
              Require(!std::exchange(called, true), "a list is told once");
              for (const session::LocalConversation& one : all) {
                RequireUtf8(one.first_prompt);
              }
            });
      }
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
    } else if (verb == "destroy") {
      destroy_after_ = static_cast<int>(argument.size());
    } else if (verb == "keep") {
      destroy_at_end_ = false;
    }
  }

  // The process has ended, and time has passed.
  void End() {
    // It was destroyed from inside a call, or lost.
    Require(agent_ == nullptr || lost_, "an agent that has ended is lost");
    agent_.reset();
  }

 private:
  bool usable() const {
    return agent_ != nullptr && !lost_ && !stopped_ && ready_.succeeded();
  }

  void Apply(const session::Change& change) {
    if (!usable() || changed_.pending() || mode_.pending() || !turn_.empty() ||
        unsolicited_) {
      return;
    }
    changed_.set_inside(true);
    agent_->Apply(change, changed_.Expect());
    changed_.set_inside(false);
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

  Once ready_{"the Done of Start"};
  Once changed_{"the Done of Apply"};
  Once mode_{"the Done of SetPermissionMode"};

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
  std::unique_ptr<session::Agent> agent_;
};

// What is said to a fake process, and to the world around it:
//   wait MS  exit STDERR  deaf [no]  unruly
class World {
 public:
  session::FakeChild& child() { return launcher_.last(); }

  void Say(std::vector<std::string>& lines) {
    if (!lines.empty() && !child().ended()) child().Say(lines);
    lines.clear();
    loop_.RunUntilIdle();
  }

  void Do(std::string_view verb, const std::string& argument) {
    if (verb == "wait") {
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
    }
  }

  // Ends the process, and lets time pass.
  void Pass() {
    if (!child().ended()) child().Exit();
    loop_.RunUntilIdle();
    loop_.Advance(absl::Hours(1));
  }
  void End() {
    loop_.RunUntilIdle();
    Require(loop_.timers() == 0, "no timer is left");
    Require(launcher_.alive() == 0, "no process is left");
  }

  session::FakeLoop loop_;
  session::FakeLauncher launcher_{loop_};
};

// What stands behind an exclamation mark, and behind its first space.
inline std::pair<std::string_view, std::string> Verb(std::string_view line) {
  const std::string_view what = line.substr(1);
  const std::string_view verb = what.substr(0, what.find(' '));
  return {verb,
          std::string(verb.size() < what.size() ? what.substr(verb.size() + 1)
                                                : "")};
}

}  // namespace understudy::fuzz

#endif  // UNDERSTUDY_TESTS_FUZZ_OWNER_H_
