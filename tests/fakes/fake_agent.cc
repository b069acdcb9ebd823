#include "tests/fakes/fake_agent.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/id.h"

namespace understudy::session {
namespace {

FakeWorld* the_world = nullptr;

bool ValidConversation(std::string_view id) { return IsUuid(id); }

std::vector<LocalConversation> LocalConversations(
    const Profile&, const std::string& working_directory, size_t limit) {
  std::vector<LocalConversation> local = the_world->local[working_directory];
  if (local.size() > limit) local.resize(limit);
  return local;
}

bool IsElsewhere(const Profile&, const std::string&,
                 std::string_view conversation) {
  return the_world->elsewhere.contains(std::string(conversation));
}

absl::StatusOr<std::unique_ptr<Agent>> MakeFake(EventLoop&, Launcher&,
                                                const Profile& profile,
                                                const Opening& opening,
                                                Agent::Observer* observer) {
  return std::make_unique<FakeAgent>(*the_world, profile, opening, observer);
}

const AgentKind kFake = {.name = "fake",
                         .capabilities = {.switch_model = true,
                                          .new_conversation = true,
                                          .load_conversation = true,
                                          .interrupt = true,
                                          .permissions = true,
                                          .shared_conversation = true,
                                          .images = true},
                         .valid_conversation = &ValidConversation,
                         .local_conversations = &LocalConversations,
                         .is_elsewhere = &IsElsewhere,
                         .make = &MakeFake};

constexpr int kDeltas = 3;
constexpr char kTool[] = "Bash";

}  // namespace

FakeWorld::FakeWorld(EventLoop& loop) : loop_(loop) { the_world = this; }

FakeWorld::~FakeWorld() { the_world = nullptr; }

const AgentKind* FakeWorld::FindKind(std::string_view name) {
  return name == kFake.name ? &kFake : nullptr;
}

FakeAgent* FakeWorld::live(pid_t pid) const {
  for (FakeAgent* agent : live_) {
    if (agent->pid() == pid) return agent;
  }
  return nullptr;
}

FakeAgent::FakeAgent(FakeWorld& world, const Profile& profile,
                     const Opening& opening, Observer* observer)
    : world_(world),
      profile_(profile),
      opening_(opening),
      observer_(observer),
      pid_(++world.next_pid_),
      mode_(opening.permission_mode),
      granted_(opening.grants.begin(), opening.grants.end()) {
  state_.model = opening.model.empty() ? world.default_model : opening.model;
  state_.verified = world.verifies;
  state_.conversation =
      opening.conversation.empty() ? NewUuid() : opening.conversation;
  models_ = {{.model = world.default_model,
              .resolved = world.default_model,
              .name = "Default",
              .is_default = true}};
  world_.openings.push_back(opening);
  world_.live_.push_back(this);
  ++world_.started;
  world_.most_live =
      std::max(world_.most_live, static_cast<int>(world_.live_.size()));
}

FakeAgent::~FakeAgent() {
  *alive_ = false;
  std::erase(world_.live_, this);
}

void FakeAgent::Later(absl::Duration delay, Task task) {
  // The handle is replaced from inside its own task.
  step_ = world_.loop_.RunAfter(delay, std::move(task));
}

// Asks the world what becomes of `step`, and goes on so after the delay.
void FakeAgent::Step(FakeStep step, absl::Duration bound, Task fine,
                     absl::AnyInvocable<void(FakeFate::Kind) &&> otherwise) {
  const FakeFate fate = world_.decide ? world_.decide(step, *this) : FakeFate{};
  if (fate.kind == FakeFate::Kind::kDeaf) return;
  if (fate.kind == FakeFate::Kind::kSilent ||
      fate.kind == FakeFate::Kind::kLate) {
    if (step == FakeStep::kModel || step == FakeStep::kClear ||
        step == FakeStep::kLoad) {
      Later(bound,
            [kind = fate.kind, otherwise = std::move(otherwise)]() mutable {
              std::move(otherwise)(kind);
            });
    } else if (bound != absl::InfiniteDuration()) {
      Later(bound, [this] { Unresponsive(); });
    }
    return;
  }
  Later(fate.delay, [this, kind = fate.kind, fine = std::move(fine),
                     otherwise = std::move(otherwise)]() mutable {
    if (kind == FakeFate::Kind::kCrash) {
      Crash();
    } else if (kind == FakeFate::Kind::kFine) {
      std::move(fine)();
    } else {
      std::move(otherwise)(kind);
    }
  });
}

void FakeAgent::Start(Done ready) {
  pending_.push_back(std::move(ready));
  auto fine = [this] {
    if (world_.gone_models.contains(state_.model)) {
      Lose(MakeError(Reason::kModelRejected,
                     absl::StrCat("no model ", state_.model)),
           {.cause = ExitStatus::Cause::kExited, .exit_code = 1});
      return;
    }
    if (!opening_.conversation.empty() &&
        !world_.capabilities.resume_conversation) {
      Lose(MakeError(Reason::kCapabilityMissing, "it loads no conversation",
                     {{"capability", "resume"}}),
           {.cause = ExitStatus::Cause::kExited, .exit_code = 1});
      return;
    }
    if (!opening_.conversation.empty()) {
      const auto it = world_.transcripts.find(opening_.conversation);
      if (it == world_.transcripts.end()) {
        Lose(MakeError(Reason::kConversationNotFound,
                       absl::StrCat("No conversation found with session ID: ",
                                    opening_.conversation)),
             {.cause = ExitStatus::Cause::kExited, .exit_code = 1});
        return;
      }
      context_ = it->second;
      cost_ = world_.costs[opening_.conversation];
      state_.total_cost_usd = cost_;
    }
    std::move(std::exchange(pending_, {}).front())(absl::OkStatus());
  };
  Step(FakeStep::kStart, profile_.start_timeout, fine, [this](FakeFate::Kind) {
    Lose(MakeError(Reason::kAgentStartFailed, "start fake: exited 1"),
         {.cause = ExitStatus::Cause::kExited, .exit_code = 1});
  });
}

void FakeAgent::Send(const TurnInput& input) {
  if (in_turn() && !unsolicited_) {
    world_.violations.push_back(
        absl::StrCat("agent ", pid_, " was sent a second message in a turn"));
  }
  for (const FakeAgent* other : world_.live_) {
    if (other != this && !other->lost_ &&
        other->state_.conversation == state_.conversation) {
      world_.violations.push_back(
          absl::StrCat("agent ", pid_, " was sent a message while agent ",
                       other->pid_, " has the same conversation"));
    }
  }
  const std::vector<std::string>& written =
      world_.transcripts[state_.conversation];
  if (written != context_) {
    world_.violations.push_back(
        absl::StrCat("agent ", pid_, " is stale: it knows ", context_.size(),
                     " messages of ", written.size()));
  }
  delivered_ = v1::DELIVERED_NO;
  turn_id_ = input.turn_id;
  text_ = input.text;
  content_ = input.content;
  Step(
      FakeStep::kTurn, absl::InfiniteDuration(),
      [this] {
        delivered_ = v1::DELIVERED_YES;
        world_.deliveries.push_back({.turn_id = turn_id_,
                                     .text = text_,
                                     .conversation = state_.conversation,
                                     .model = state_.model,
                                     .pid = pid_,
                                     .messages_before = context_.size(),
                                     .content = content_});
        context_.push_back(text_);
        world_.transcripts[state_.conversation] = context_;
        observer_->OnTurnStarted(turn_id_, "");
        if (!interrupting_) Work(kDeltas);
      },
      [this](FakeFate::Kind) { Crash(); });
}

void FakeAgent::Work(int deltas) {
  if (deltas == 0) {
    observer_->OnQuiet();
    Step(
        FakeStep::kEnd, absl::InfiniteDuration(), [this] { EndTurn(); },
        [this](FakeFate::Kind) {
          FinishTurn({.turn_id = turn_id_,
                      .outcome = v1::TURN_OUTCOME_FAILED,
                      .error = MakeError(Reason::kInternal, "it failed")});
        });
    return;
  }
  Step(
      FakeStep::kMiddle, absl::InfiniteDuration(),
      [this, deltas] {
        observer_->OnDelta(DeltaKind::kText, "", "piece ", "{}");
        observer_->OnQuiet();
        Work(deltas - 1);
      },
      [this](FakeFate::Kind kind) {
        if (kind != FakeFate::Kind::kAsk) {
          Crash();
          return;
        }
        if (granted_.contains(kTool)) {
          Later(absl::ZeroDuration(), [this] { EndTurn(); });
          return;
        }
        permission_ = NewUuid();
        v1::Event event;
        v1::PermissionRequested& ask = *event.mutable_permission_requested();
        ask.set_permission_id(permission_);
        ask.set_tool_name(kTool);
        ask.set_input_json("{}");
        observer_->OnEvent(std::move(event), "{}");
        observer_->OnQuiet();
      });
}

void FakeAgent::EndTurn() {
  if (world_.bad_models.contains(state_.model)) {
    FinishTurn({.turn_id = turn_id_,
                .outcome = v1::TURN_OUTCOME_FAILED,
                .error = MakeError(Reason::kModelRejected,
                                   absl::StrCat("no model ", state_.model))});
    return;
  }
  if (world_.blind_models.contains(state_.model) && context_.size() > 1) {
    FinishTurn({.turn_id = turn_id_,
                .outcome = v1::TURN_OUTCOME_FAILED,
                .error = MakeError(Reason::kConversationUnreadable,
                                   "Invalid `signature`")});
    return;
  }
  v1::Event event;
  event.mutable_message()->set_text(
      absl::StrCat("model=", state_.model, " turns=", context_.size()));
  observer_->OnEvent(std::move(event), "{}");
  TurnEnd end{.turn_id = turn_id_, .outcome = v1::TURN_OUTCOME_SUCCEEDED};
  end.stop_reason = "end_turn";
  end.text = absl::StrCat("model=", state_.model, " turns=", context_.size());
  end.usage.set_output_tokens(7);
  cost_ += 0.25;
  end.total_cost_usd = cost_;
  FinishTurn(std::move(end));
}

void FakeAgent::FinishTurn(TurnEnd end) {
  interrupting_ = false;
  turn_id_.clear();
  permission_.clear();
  step_ = nullptr;
  delivered_ = v1::DELIVERED_NO;
  observer_->OnTurnEnded(std::move(end), "{}");
  // The observer may have stopped this agent, not destroyed it.
  observer_->OnQuiet();
}

void FakeAgent::Interrupt() {
  if (turn_id_.empty()) {
    if (unsolicited_) EndUnsolicitedTurn();
    return;
  }
  interrupting_ = true;
  Step(
      FakeStep::kInterrupt, profile_.interrupt_timeout,
      [this] {
        FinishTurn(
            {.turn_id = turn_id_, .outcome = v1::TURN_OUTCOME_INTERRUPTED});
      },
      [this](FakeFate::Kind) { Crash(); });
}

void FakeAgent::Apply(const Change& change, Done done) {
  if (in_turn()) {
    world_.violations.push_back(
        absl::StrCat("agent ", pid_, " was changed during a turn"));
  }
  pending_.push_back(std::move(done));
  auto answer = [this](absl::Status status) {
    std::move(std::exchange(pending_, {}).front())(std::move(status));
  };
  FakeStep step = FakeStep::kModel;
  if (change.conversation.has_value()) {
    step = change.conversation->empty() ? FakeStep::kClear : FakeStep::kLoad;
  }
  auto apply = [this, change, answer] {
    const std::string model = change.model.value_or("");
    if (world_.bad_models.contains(model)) {
      answer(MakeError(Reason::kModelRejected,
                       absl::StrCat("Model '", model, "' not found")));
      return;
    }
    Make(change);
    answer(absl::OkStatus());
  };
  // The bound is the agent's own: it answers, and the process lives on.
  const auto unresponsive = [answer] {
    answer(MakeError(Reason::kAgentUnresponsive, "it did not answer"));
  };
  Step(step, profile_.switch_timeout, apply,
       [this, change, answer, unresponsive](FakeFate::Kind kind) {
         switch (kind) {
           case FakeFate::Kind::kSilent:
             unresponsive();
             return;
           case FakeFate::Kind::kLate: {
             const std::shared_ptr<bool> alive = alive_;
             unresponsive();
             if (!*alive || lost_) return;
             Later(absl::Seconds(1), [this, change] {
               Make(change);
               observer_->OnStateChanged();
               observer_->OnQuiet();
             });
             return;
           }
           case FakeFate::Kind::kLie:
             if (change.model.has_value()) {
               state_.model = "model-of-its-own";
               state_.verified = true;
             }
             if (change.conversation.has_value()) {
               state_.conversation = NewUuid();
               context_.clear();
             }
             answer(absl::OkStatus());
             return;
           case FakeFate::Kind::kUnsure:
             if (change.model.has_value()) state_.model = *change.model;
             answer(MakeError(Reason::kAgentProtocol, "it talks nonsense"));
             return;
           default:
             answer(MakeError(Reason::kCapabilityMissing, "it cannot"));
             return;
         }
       });
}

void FakeAgent::Make(const Change& change) {
  if (change.model.has_value()) {
    state_.model = change.model->empty() ? world_.default_model : *change.model;
    state_.verified = world_.verifies;
  }
  if (change.conversation.has_value()) {
    opened_.insert(state_.conversation);
    state_.conversation =
        change.conversation->empty() ? NewUuid() : *change.conversation;
    context_ = change.conversation->empty()
                   ? std::vector<std::string>()
                   : world_.transcripts[state_.conversation];
    cost_ = 0;
    state_.total_cost_usd = cost_;
  }
}

void FakeAgent::ListConversations(Listed listed) {
  if (world_.lists) std::move(listed)(world_.listed);
}

void FakeAgent::SetPermissionMode(const std::string& mode, Done done) {
  if (mode_done_ || !pending_.empty()) {
    world_.violations.push_back(
        absl::StrCat("agent ", pid_, " was given a mode during a change"));
  }
  mode_done_ = std::move(done);
  const auto answer = [this](absl::Status status) {
    std::move(std::exchange(mode_done_, nullptr))(std::move(status));
  };
  const FakeFate fate =
      world_.decide ? world_.decide(FakeStep::kMode, *this) : FakeFate{};
  const bool silent = fate.kind == FakeFate::Kind::kSilent;
  mode_step_ = world_.loop_.RunAfter(
      silent ? profile_.switch_timeout : fate.delay,
      [this, mode, answer, kind = fate.kind] {
        switch (kind) {
          case FakeFate::Kind::kFine:
            if (mode != mode_) SayMode(mode);
            return answer(absl::OkStatus());
          case FakeFate::Kind::kCrash:
            return Crash();
          case FakeFate::Kind::kRefuse:
            return answer(FieldInvalid("permission_mode", "it has no such"));
          case FakeFate::Kind::kSilent:
            return answer(MakeError(Reason::kAgentUnresponsive, "no answer"));
          default:
            mode_ = mode;
            return answer(
                MakeError(Reason::kAgentProtocol, "it talks nonsense"));
        }
      });
}

void FakeAgent::SayMode(const std::string& mode) {
  mode_ = mode;
  v1::Event event;
  event.mutable_notice()->set_kind(v1::NOTICE_KIND_MODE);
  event.mutable_notice()->set_message(mode);
  observer_->OnEvent(std::move(event), "{}");
}

void FakeAgent::ChangeMode(const std::string& mode) {
  SayMode(mode);
  observer_->OnQuiet();
}

std::vector<std::string> FakeAgent::AnswerPermission(
    std::string_view permission_id, const PermissionAnswer& answer) {
  if (permission_ != permission_id) return {};
  permission_.clear();
  Later(absl::ZeroDuration(), [this] { EndTurn(); });
  if (answer.decision != v1::PERMISSION_DECISION_ALLOW ||
      answer.scope != v1::PERMISSION_SCOPE_SESSION) {
    return {};
  }
  granted_.insert(kTool);
  return {kTool};
}

void FakeAgent::Stop(absl::Duration grace) {
  stopping_ = true;
  const FakeFate fate =
      world_.decide ? world_.decide(FakeStep::kStop, *this) : FakeFate{};
  if (fate.kind == FakeFate::Kind::kDeaf) return;
  const absl::Duration delay = fate.kind == FakeFate::Kind::kSilent
                                   ? 2 * grace
                                   : std::min(fate.delay, 2 * grace);
  stop_ = world_.loop_.RunAfter(delay, [this] {
    world_.costs[state_.conversation] = cost_;
    Lose(MakeError(Reason::kAgentLost, "stopped"),
         {.cause = ExitStatus::Cause::kStopped});
  });
}

void FakeAgent::Crash() {
  Lose(MakeError(Reason::kAgentLost, "killed by signal 9", {{"signal", "9"}}),
       {.cause = ExitStatus::Cause::kSignaled, .signal = SIGKILL});
}

void FakeAgent::RunOutOfMemory() {
  Lose(MakeError(Reason::kAgentOutOfMemory, "killed for its memory"),
       {.cause = ExitStatus::Cause::kOutOfMemory, .signal = SIGKILL});
}

void FakeAgent::Unresponsive() {
  Lose(MakeError(Reason::kAgentUnresponsive, "it did not answer"),
       {.cause = ExitStatus::Cause::kStopped});
}

void FakeAgent::Lose(absl::Status why, ExitStatus exit) {
  if (lost_) return;
  lost_ = true;
  const std::unique_ptr<EventLoop::Handle> step = std::move(step_);
  const std::unique_ptr<EventLoop::Handle> stop = std::move(stop_);
  std::erase(world_.live_, this);
  const std::shared_ptr<bool> alive = alive_;
  const std::unique_ptr<EventLoop::Handle> mode_step = std::move(mode_step_);
  for (Done& done : std::exchange(pending_, {})) std::move(done)(why);
  if (*alive && mode_done_) std::move(std::exchange(mode_done_, nullptr))(why);
  if (*alive) observer_->OnLost({.exit = exit, .why = why});
}

void FakeAgent::BeginUnsolicitedTurn() {
  unsolicited_ = true;
  context_.push_back("(a task has ended)");
  world_.transcripts[state_.conversation] = context_;
  observer_->OnTurnStarted("", "{}");
  observer_->OnQuiet();
}

void FakeAgent::EndUnsolicitedTurn() {
  unsolicited_ = false;
  observer_->OnTurnEnded({.turn_id = ""}, "{}");
  observer_->OnQuiet();
}

void FakeAgent::ChangeConversation(const std::string& conversation) {
  state_.conversation = conversation;
  observer_->OnStateChanged();
  observer_->OnQuiet();
}

void FakeAgent::Say(v1::Event event) {
  observer_->OnEvent(std::move(event), "{}");
  observer_->OnQuiet();
}

void FakeAgent::ChangeModel(const std::string& model) {
  state_.model = model;
  state_.verified = true;
  observer_->OnStateChanged();
  observer_->OnQuiet();
}

}  // namespace understudy::session
