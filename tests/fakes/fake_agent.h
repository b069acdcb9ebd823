// FakeWorld: agents that exist only in memory, with conversations that survive
// them, as an agent's transcripts do. What goes wrong, and how long a step
// takes, a test decides by a function that is asked at every step.
//
//   FakeLoop loop;
//   FakeWorld world(loop);
//   SessionManager manager(..., {.find_kind = &FakeWorld::FindKind});
//   world.decide = [](FakeStep step, FakeAgent&) { return FakeFate{}; };
//
// One world at a time in a process. Threads: the loop.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class FakeAgent;

enum class FakeStep {
  kStart,      // the handshake
  kModel,      // a native switch
  kClear,      // a native clear
  kLoad,       // a native load
  kTurn,       // it takes up a message
  kMiddle,     // between two deltas of a turn
  kEnd,        // before the end of a turn
  kInterrupt,  // it is interrupted
  kMode,       // a change of the permission mode
  kStop,       // it is asked to end
};

struct FakeFate {
  enum class Kind {
    kFine,
    kCrash,   // killed by a signal
    kSilent,  // never answers: runs into its bound
    kDeaf,    // never answers, and keeps no bound
    kLate,    // a change is made a second after its bound; else as kSilent
    kRefuse,  // an error that says nothing was changed
    kUnsure,  // an error that does not say so; the change was made
    kLie,     // a switch ends on another model than asked
    kAsk,     // kMiddle: a permission request
    kFail,    // kEnd: the turn fails
  };
  Kind kind = Kind::kFine;
  absl::Duration delay = absl::ZeroDuration();
};

struct FakeDelivery {
  std::string turn_id;
  std::string text;
  std::string conversation;
  std::string model;
  pid_t pid = 0;
  size_t messages_before = 0;  // in the conversation, as the agent knew it
  std::shared_ptr<const v1::Content> content;  // of a message in parts
};

class FakeWorld {
 public:
  explicit FakeWorld(EventLoop& loop);
  ~FakeWorld();

  static const AgentKind* FindKind(std::string_view name);

  EventLoop& loop() { return loop_; }
  FakeAgent* live(pid_t pid) const;
  const std::vector<FakeAgent*>& live() const { return live_; }

  std::function<FakeFate(FakeStep, FakeAgent&)> decide;
  Capabilities capabilities{.switch_model = true,
                            .new_conversation = true,
                            .load_conversation = false,
                            .interrupt = true,
                            .permissions = true,
                            .shared_conversation = true,
                            .images = true};
  std::string default_model = "model-default";
  std::set<std::string> bad_models;   // refused natively, fail a turn otherwise
  std::set<std::string> gone_models;  // no process starts on them
  bool verifies = true;               // names its model after a change
  std::set<std::string> blind_models;  // cannot read what others have written

  // What the agents' files are said to hold: by working directory, and the ids
  // of those of other directories.
  std::map<std::string, std::vector<LocalConversation>> local;
  std::set<std::string> elsewhere;
  // What a running agent says that it has, if it answers.
  std::vector<LocalConversation> listed;
  bool lists = true;
  // Agents keep the conversations that they leave open.
  bool keeps_open = false;
  // What conversations have cost, as agents that ended gently have written it
  // down; who resumes one counts on from there.
  std::map<std::string, double> costs;

  // What the test may look at.
  std::map<std::string, std::vector<std::string>> transcripts;
  std::vector<FakeDelivery> deliveries;
  std::vector<Opening> openings;
  int started = 0;
  int most_live = 0;
  std::vector<std::string> violations;  // of what the engine owes an agent

 private:
  friend class FakeAgent;
  EventLoop& loop_;
  std::vector<FakeAgent*> live_;
  pid_t next_pid_ = 1000;
};

class FakeAgent final : public Agent {
 public:
  FakeAgent(FakeWorld& world, const Profile& profile, const Opening& opening,
            Observer* observer);
  ~FakeAgent() override;

  void Start(Done ready) override;
  void Send(const TurnInput& input) override;
  v1::Delivered delivered() const override { return delivered_; }
  void Interrupt() override;
  void Apply(const Change& change, Done done) override;
  void SetPermissionMode(const std::string& mode, Done done) override;
  std::vector<std::string> AnswerPermission(
      std::string_view permission_id, const PermissionAnswer& answer) override;
  void Stop(absl::Duration grace) override;
  const Capabilities& capabilities() const override {
    return world_.capabilities;
  }
  const AgentState& current() const override { return state_; }
  const std::vector<ModelInfo>& models() const override { return models_; }
  std::string_view version() const override { return "1.0"; }
  pid_t pid() const override { return pid_; }
  bool has_background_tasks() const override { return background_; }
  bool Holds(std::string_view conversation) const override {
    return world_.keeps_open && opened_.contains(std::string(conversation));
  }
  bool Keeps(std::string_view conversation) const override {
    return Holds(conversation) ||
           (!world_.capabilities.shared_conversation &&
            opened_.contains(std::string(conversation)));
  }
  bool Forget(std::string_view conversation) override {
    if (!world_.capabilities.shared_conversation) return !Keeps(conversation);
    opened_.erase(std::string(conversation));
    return true;
  }
  void ListConversations(Listed listed) override;
  void set_reading(bool) override {}
  void set_observer(Observer* observer) override { observer_ = observer; }

  // What a test makes it do.
  void Crash();
  void RunOutOfMemory();
  void BeginUnsolicitedTurn();
  void EndUnsolicitedTurn();
  void Say(v1::Event event);
  void ChangeModel(const std::string& model);
  void ChangeConversation(const std::string& conversation);
  void ChangeMode(const std::string& mode);
  const std::string& mode() const { return mode_; }
  void set_background(bool background) { background_ = background; }
  // Ends the turn that waits for an answer, or is held by kSilent.
  void FinishTurn(TurnEnd end);
  const std::string& turn_id() const { return turn_id_; }
  bool in_turn() const { return !turn_id_.empty() || unsolicited_; }
  bool unsolicited() const { return unsolicited_; }
  // Nothing has been asked of it that it has not answered.
  bool ready() const { return pending_.empty() && !lost_ && !stopping_; }

 private:
  void Later(absl::Duration delay, Task task);
  void Step(FakeStep step, absl::Duration bound, Task fine,
            absl::AnyInvocable<void(FakeFate::Kind) &&> otherwise);
  void Make(const Change& change);
  void Lose(absl::Status why, ExitStatus exit);
  void Unresponsive();
  void Work(int deltas);
  void EndTurn();
  void SayMode(const std::string& mode);

  FakeWorld& world_;
  const Profile profile_;
  const Opening opening_;
  Observer* observer_;
  const pid_t pid_;
  AgentState state_;
  std::vector<ModelInfo> models_;
  std::vector<std::string> context_;  // the conversation as it knows it
  v1::Delivered delivered_ = v1::DELIVERED_NO;
  std::string turn_id_;
  std::string text_;
  std::shared_ptr<const v1::Content> content_;
  std::string permission_;
  bool interrupting_ = false;
  std::string mode_;
  bool unsolicited_ = false;
  bool background_ = false;
  bool lost_ = false;
  bool stopping_ = false;
  double cost_ = 0;
  std::set<std::string> granted_;
  std::set<std::string> opened_;
  std::vector<Done> pending_;
  // One thing at a time, beside a stop.
  std::unique_ptr<EventLoop::Handle> step_;
  std::unique_ptr<EventLoop::Handle> stop_;
  // A change of the mode, beside a turn.
  Done mode_done_;
  std::unique_ptr<EventLoop::Handle> mode_step_;
  // Whether the agent is there still, for calls after which it may not be.
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_AGENT_H_
