// Agent: one live process, spoken to in its own protocol.
//
// An Agent translates. It has no policy, keeps no queue of messages, decides
// no fall-back and retries nothing: those are its owner's. What it says to its
// observer is only what the process said.
//
// Invariants:
//  - OnLost is the last call, exactly once, after which the owner destroys the
//    agent (also from inside the call). No process or descendant is left then,
//    but where the process serves others, too: then its conversation has been
//    closed, or the process was asked to end what it does in it and did not
//    answer.
//  - Every Done is called exactly once, never from inside the call that takes
//    it; with the reason AGENT_LOST or AGENT_START_FAILED if the process ends
//    first (before OnLost).
//  - Only valid UTF-8 leaves it.
//  - current() is what the *process* last said, or was started with.
//
// Threads: everything on the loop.

#ifndef UNDERSTUDY_SESSION_AGENT_AGENT_H_
#define UNDERSTUDY_SESSION_AGENT_AGENT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/agent/profile.h"
#include "session/base/event_loop.h"
#include "session/process/subprocess.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

namespace v1 = understudy::v1;

// What a live agent can change about itself: declared per kind as an upper
// bound, narrowed by the profile and by the handshake.
struct Capabilities {
  bool switch_model = false;
  bool new_conversation = false;
  bool load_conversation = false;
  bool interrupt = false;
  bool permissions = false;
  // One conversation may be open in two processes while neither takes a turn.
  bool shared_conversation = true;
  bool images = false;  // takes messages with pictures
  // A process that starts can continue a conversation that another had. Without
  // it, a conversation ends with its process.
  bool resume_conversation = true;
  bool edits_input = true;   // a permission may change what a tool is given
  bool acknowledges = true;  // says when it has taken up a turn
};

// How a process is to begin.
struct Opening {
  std::string model;         // "": the agent's own default
  std::string conversation;  // to continue; "": a new one
  std::string permission_mode;
  std::string working_directory;
  std::string tenant;  // another tenant's session gets another process
  // What AnswerPermission said was granted, to processes before. One that the
  // agent does not take is asked for again.
  std::vector<std::string> grants;
};

// One native change. Exactly one of `model` and `conversation` is set, or
// `conversation` with the model that is to hold afterwards.
struct Change {
  std::optional<std::string> model;         // "": the agent's own default
  std::optional<std::string> conversation;  // "": a new one
};

struct AgentState {
  std::string model;         // resolved id as the process named it; "" unknown
  bool verified = false;     // the process itself named `model`, since the last
                             // change or start
  std::string conversation;  // "" until it has one
  // Its running total of cost at the end of the handshake, or of the last new
  // conversation; nothing if it did not tell.
  std::optional<double> total_cost_usd = 0;
};

// What a turn carries to the agent.
struct TurnInput {
  std::string turn_id;  // a UUID, unique for ever
  std::string text;     // plain text: never a command of the agent's
  // The message in parts, in place of `text`; null: it is `text`.
  std::shared_ptr<const v1::Content> content;
};

// How a turn ended, as the agent told it.
struct TurnEnd {
  std::string turn_id;  // of TurnInput; "" for the open unsolicited turn
  v1::TurnOutcome outcome = v1::TURN_OUTCOME_SUCCEEDED;
  std::string stop_reason;
  std::string text;  // the final answer
  v1::Usage usage;   // of this turn alone where the agent tells it
  // The process's running total of cost, where it tells it: the cost of a turn
  // is the difference of two, and the counter may start again at any time.
  std::optional<double> total_cost_usd;
  // FAILED: why. MODEL_REJECTED and CONVERSATION_UNREADABLE (the model does not
  // take what the conversation holds) are recognised.
  absl::Status error;
  // FAILED: one of these two, else the agent's own word in upper snake case
  // (A-Z, 0-9 and _, at most 63), never a text. Else empty.
  std::string error_reason;
};

struct PermissionAnswer {
  v1::PermissionDecision decision = v1::PERMISSION_DECISION_DENY;
  v1::PermissionScope scope = v1::PERMISSION_SCOPE_ONCE;
  std::string option_id;  // wins over both if not empty
  std::string updated_input_json;
  std::string message;  // why it is denied, told to the model
};

struct ModelInfo {
  std::string model;     // what a switch may name
  std::string resolved;  // the agent's id for it, if it tells
  std::string name;      // for people
  bool is_default = false;
};

struct Loss {
  ExitStatus exit;
  // Why, with its reason: AGENT_LOST, AGENT_START_FAILED, AGENT_START_TIMEOUT,
  // AGENT_UNRESPONSIVE, AGENT_PROTOCOL, AGENT_LINE_TOO_LONG, AGENT_STALLED,
  // AGENT_OUT_OF_MEMORY,
  // CONVERSATION_NOT_FOUND (it refused the conversation it was to open).
  absl::Status why;
};

enum class DeltaKind { kText, kThought, kToolOutput };

using Done = absl::AnyInvocable<void(absl::Status) &&>;

// A conversation as an agent keeps it on this machine.
struct LocalConversation {
  std::string agent_session_id;
  absl::Time update_time;
  std::string first_prompt;  // its beginning
};

class Agent {
 public:
  class Observer {
   public:
    virtual ~Observer() = default;

    // A piece of a message that is being written. `raw` is the whole line.
    virtual void OnDelta(DeltaKind kind, std::string_view tool_call_id,
                         std::string_view text, std::string_view raw) = 0;
    // Only the payload of `event` is set: message, thought, plan, tool_call,
    // tool_result, permission_requested, usage, notice or unknown.
    virtual void OnEvent(v1::Event event, std::string_view raw) = 0;
    // The agent took up the turn with this id, or ("") began one by itself.
    virtual void OnTurnStarted(std::string_view turn_id,
                               std::string_view raw) = 0;
    virtual void OnTurnEnded(TurnEnd end, std::string_view raw) = 0;
    // A permission request that nobody answered is void.
    virtual void OnPermissionWithdrawn(std::string_view permission_id) = 0;
    // current() changed without having been asked to.
    virtual void OnStateChanged() = 0;
    // Everything that was at hand has been said: a good moment to publish.
    virtual void OnQuiet() = 0;
    virtual void OnLost(const Loss& loss) = 0;
  };

  // Ends the process and all of its descendants, silently.
  virtual ~Agent() = default;

  // The handshake. OK: the agent is ready for a turn or a change. An error is
  // followed by OnLost. Bounded by Profile::start_timeout.
  virtual void Start(Done ready) = 0;

  // Hands over a turn. At most one is outstanding: the next only after its
  // OnTurnEnded. Failing to write ends the agent.
  virtual void Send(const TurnInput& input) = 0;

  // Whether the outstanding turn has reached the process: NO before its first
  // byte left, MAYBE after, YES when the process acknowledged it.
  virtual v1::Delivered delivered() const = 0;

  // Interrupts the running turn (an unsolicited one too); OnTurnEnded follows.
  // Without a running turn nothing happens. Not answered within
  // Profile::interrupt_timeout: the agent is ended as AGENT_UNRESPONSIVE.
  virtual void Interrupt() = 0;

  // A native change, while no turn runs. OK: done, and current() tells what
  // is. An error with reason MODEL_REJECTED, CONVERSATION_NOT_FOUND,
  // CONVERSATION_IN_USE or CAPABILITY_MISSING is definite: nothing changed. Any
  // other means that the state is unknown, and the owner replaces the agent.
  // Bounded by Profile::switch_timeout.
  virtual void Apply(const Change& change, Done done) = 0;

  // Changes the permission mode, also while a turn runs, but not beside Apply.
  // `mode` is in the agent's own word; "": its own default. OK: the process is
  // in it, and if it was not before, the observer has been told by one notice
  // of kind MODE. An error with reason FIELD_INVALID or CAPABILITY_MISSING is
  // definite: nothing changed. Any other means that the mode is unknown, and
  // the owner ends the agent. Bounded by Profile::switch_timeout.
  virtual void SetPermissionMode(const std::string& mode, Done done) = 0;

  // What that allows for the rest of the session (scope SESSION), in the
  // agent's own words, each at most kMaxGrantBytes; none if the request is
  // void.
  static constexpr size_t kMaxGrantBytes = 1024;
  virtual std::vector<std::string> AnswerPermission(
      std::string_view permission_id, const PermissionAnswer& answer) = 0;

  // Ends the process gently, see Subprocess::Stop. OnLost follows.
  virtual void Stop(absl::Duration grace) = 0;

  virtual const Capabilities& capabilities() const = 0;
  virtual const AgentState& current() const = 0;
  virtual const std::vector<ModelInfo>& models() const = 0;
  virtual std::string_view version() const = 0;
  virtual pid_t pid() const = 0;
  // Tasks the agent runs beside its turns, which a native clear would leave
  // running: then the owner replaces the process instead.
  virtual bool has_background_tasks() const = 0;

  // Whether the process has `conversation` open beside the current one, so that
  // Apply can go back to it even without load_conversation.
  virtual bool Holds(std::string_view conversation) const = 0;
  // Whether another process must not open `conversation`, which this one has
  // left: it Holds it, or holds on to all that it has ever opened
  // (shared_conversation false).
  virtual bool Keeps(std::string_view conversation) const = 0;
  // Lets go of one that it Keeps. False: it keeps it as long as it lives.
  virtual bool Forget(std::string_view conversation) = 0;

  // The conversations that the agent itself knows of in its working directory.
  // `listed` is dropped if the process ends or does not answer: who asks has a
  // bound of his own.
  using Listed = absl::AnyInvocable<void(std::vector<LocalConversation>) &&>;
  virtual void ListConversations(Listed listed) = 0;

  virtual void set_reading(bool reading) = 0;
  virtual void set_observer(Observer* observer) = 0;
};

// A protocol that the service speaks. The table of kinds is agents.def.
struct AgentKind {
  std::string_view name;
  Capabilities capabilities;  // the most that any version can
  // Whether `id` can be the id of a conversation of this kind.
  bool (*valid_conversation)(std::string_view id);
  // What the agent of a profile keeps for a working directory, newest first.
  // Blocks; any thread.
  std::vector<LocalConversation> (*local_conversations)(
      const Profile& profile, const std::string& working_directory,
      size_t limit);
  // Whether it keeps `conversation` for another working directory only. Blocks;
  // any thread.
  bool (*is_elsewhere)(const Profile& profile,
                       const std::string& working_directory,
                       std::string_view conversation);
  // Launches the process and speaks to it; Start() begins the handshake.
  absl::StatusOr<std::unique_ptr<Agent>> (*make)(EventLoop& loop,
                                                 Launcher& launcher,
                                                 const Profile& profile,
                                                 const Opening& opening,
                                                 Agent::Observer* observer);
  // One process can serve several sessions (shared_process.h).
  bool many_conversations = false;
};

// Null if there is no such kind.
const AgentKind* FindAgentKind(std::string_view name);
std::vector<std::string_view> AgentKindNames();

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_AGENT_H_
