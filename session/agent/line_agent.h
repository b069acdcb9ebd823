// LineAgent: what agents that speak JSON lines over their stdin and stdout have
// in common. A protocol derives from it and says what its lines mean.
//
// It starts the process, reads and writes its lines, knows which requests wait
// for an answer, bounds the handshake and each change by a time-out, and turns
// every way in which a process can end into one OnLost.
//
// Invariants:
//  - At most one operation (the handshake, or a change) is in progress. It ends
//    by Finish, its bound or the end of the process: its Done is called once.
//    The same holds of a change of the permission mode, which ends by
//    FinishMode and may be made in a turn.
//  - An answer whose operation has ended is ignored.
//  - Once it has decided to end the process, it listens to it no more.
//  - The owner may destroy it from inside every call that it makes. A protocol
//    touches nothing of its own after a call to the observer, or to Finish,
//    without asking a Witness.
//
// Threads: everything on the loop. OnLine is never called from inside OnLine.

#ifndef UNDERSTUDY_SESSION_AGENT_LINE_AGENT_H_
#define UNDERSTUDY_SESSION_AGENT_LINE_AGENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/base/event_loop.h"
#include "session/base/json.h"
#include "session/process/subprocess.h"

namespace understudy::session {

class LineAgent : public Agent, private Subprocess::Observer {
 public:
  ~LineAgent() override = default;

  void Start(Done ready) final;
  void Apply(const Change& change, Done done) final;
  void SetPermissionMode(const std::string& mode, Done done) final;
  void Stop(absl::Duration grace) final;

  const Capabilities& capabilities() const final { return capabilities_; }
  const AgentState& current() const final { return current_; }
  const std::vector<ModelInfo>& models() const final { return models_; }
  std::string_view version() const final { return version_; }
  pid_t pid() const final { return process_ ? process_->pid() : 0; }

  void set_reading(bool reading) final { process_->set_reading(reading); }
  void set_observer(Agent::Observer* observer) final { observer_ = observer; }

 protected:
  // Tells whether the agent still exists.
  class Witness {
   public:
    explicit Witness(const LineAgent& agent) : alive_(agent.alive_) {}
    bool gone() const { return alive_.expired(); }

   private:
    std::weak_ptr<char> alive_;
  };

  struct Bounds {
    absl::Duration start;
    absl::Duration change;
  };

  // `name` is what people call the agent, in texts of errors.
  LineAgent(EventLoop& loop, std::string name, const Bounds& bounds,
            Agent::Observer* observer);

  // Starts the process. Once, before anything else.
  absl::Status Launch(Launcher& launcher, const Command& command);

  // --- What a protocol says. ---

  // A line, before it is parsed, for a protocol that knows some by their form.
  // True: this was all there is to do about it.
  virtual bool HandleRaw(std::string_view /*line*/) { return false; }
  // A line that is a JSON object.
  virtual void HandleLine(JsonValue line, std::string_view raw) = 0;
  // Begins the handshake, which ends with Finish.
  virtual void Handshake() = 0;
  // Begins a change, which ends with Finish.
  virtual void Make(const Change& change) = 0;
  // Begins a change of the permission mode, which ends with FinishMode.
  virtual void MakeMode(const std::string& mode) = 0;
  // Says good-bye to a process in which others go on.
  virtual void Leave() {}
  // Why the process ended before the handshake did; AGENT_START_FAILED unless
  // the protocol knows better.
  virtual absl::Status ExplainStart(const ExitStatus& exit) const;

  // --- What a protocol has at hand. ---

  // A line that cannot be written ends the agent.
  void Write(std::string_view line);

  // An id for a request, unique in this process.
  std::string NextId();
  using Answered = absl::AnyInvocable<void(JsonValue) &&>;
  // Writes a request. `answered` is called unless the operation that it
  // belongs to ends first.
  void Ask(std::string id, std::string_view line, Answered answered);
  // Hands over the answer to the request with this id. False if nothing waits
  // for it.
  bool HandleAnswer(std::string_view id, JsonValue answer);

  // Others go on in the process when this agent has ended.
  bool shares_process() const { return process_ && process_->shared(); }

  bool busy() const { return operation_.has_value(); }
  bool ready() const { return ready_; }
  // Ends the operation in progress. The last thing to be done, except from
  // inside Handshake and Make, where Done is called a moment later.
  void Finish(absl::Status status);

  // The same for the change of the permission mode, and MakeMode.
  void FinishMode(absl::Status status);

  // Ends the process because of what it did or did not do. The first reason
  // counts. OnLost follows.
  void End(absl::Status why);

  void EmitUnknown(std::string_view type, std::string_view raw);

  EventLoop& loop() const { return loop_; }
  Agent::Observer& observer() const { return *observer_; }
  Subprocess& process() const { return *process_; }
  const std::string& name() const { return name_; }

  Capabilities capabilities_;
  AgentState current_;
  std::vector<ModelInfo> models_;
  std::string version_;

 private:
  struct Operation {
    Done done;
    std::unique_ptr<EventLoop::Handle> timer;
  };

  void OnStarted(pid_t) override {}
  void OnLine(char* line, size_t size) override;
  void OnLinesDone() override;
  void OnExit(const ExitStatus& status) override;

  void Begin(Done done, absl::Duration bound,
             absl::AnyInvocable<void() &&> late);
  void HandleNonsense(std::string_view line);
  absl::Status Explain(const ExitStatus& exit) const;

  EventLoop& loop_;
  const std::string name_;
  const Bounds bounds_;
  Agent::Observer* observer_;
  std::unique_ptr<Subprocess> process_;
  std::string program_;
  std::string directory_;

  std::optional<Operation> operation_;
  std::optional<Operation> mode_operation_;
  bool beginning_ = false;  // inside Handshake, Make or MakeMode
  bool ready_ = false;
  absl::Status end_;  // why we end it; OK if we do not
  std::map<std::string, Answered, std::less<>> waiting_;
  uint64_t next_id_ = 1;
  int nonsense_ = 0;  // lines in a row

  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

// What machines are told about an end.
ErrorMetadata ExitMetadata(const ExitStatus& exit);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_LINE_AGENT_H_
