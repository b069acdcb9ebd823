// One turn in stream-json: from the `init` line to the `result` line, for one
// or several messages of the user, for a slash command, or for nobody (when a
// background task ends).
//
// A turn is a list of small actions; they wait for a timer, for a child
// process, for an answer about a permission. Abort() ends it from outside
// between two actions.
//
//   waiting to start --first Step--> running --> finishing --> done
//
// While it waits to start an interrupt is lost on it; once it is finishing,
// the conversation is on disk and only the `result` line is to come.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_TURN_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_TURN_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "session/agent/rehearsal/actions.h"
#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/delta_stream.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"
#include "session/agent/rehearsal/script.h"

namespace understudy::session {

// A user line that was read.
struct UserMessage {
  Json content;
  std::string text;
  std::string uuid;
  bool stamped = false;  // the uuid is the host's
  bool plain = false;    // client_composed: never a command
  bool query = true;     // shouldQuery
};

// "/clear" of "/clear it"; "" if the message is no slash command that the
// program knows.
std::string CommandOf(const UserMessage& message, const Options& options);

class Turn {
 public:
  class Host {
   public:
    virtual ~Host() = default;
    // Messages that wait and may join the running turn.
    virtual std::vector<UserMessage> TakeMessagesToFold() = 0;
    virtual bool input_ended() const = 0;
  };

  // `messages` is empty for a turn that `origin` caused, with the text that
  // the model is told.
  Turn(Conversation& conversation, Host& host,
       std::vector<UserMessage> messages);
  Turn(Conversation& conversation, Host& host, Json origin, std::string text);
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();

  // Runs the next action. False: waits, or is done.
  bool Step();
  bool started() const { return state_ != State::kWaiting; }
  bool done() const { return state_ == State::kDone; }
  const std::vector<UserMessage>& messages() const { return messages_; }

  // Withdraws the question about a permission, if one is open.
  void WithdrawPermission();
  // Ends the turn as interrupted, unless it is finishing already.
  void Abort();
  // An answer about a permission; ignored if it answers nothing open.
  void OnPermissionAnswer(const Json& response);
  void OnInputEnd();
  void OnChildExit(pid_t pid, int exit_code);

 private:
  enum class State { kWaiting, kRunning, kFinishing, kDone };
  using Action = Actions::Action;

  struct ToolCall {
    std::string id;
    std::string name;
    Json input;
    pid_t pid = 0;                   // of the process that runs
    std::string permission_id = {};  // of the open question
  };

  // turn.cc: the frame of the turn
  void Then(Action action) { actions_.Then(std::move(action)); }
  Misbehaviour::Effects Reach(Fault::Point point);
  void Begin();
  void Open(std::string_view model);
  void Note();
  void RunSteps();
  void Finish(TurnResult result);
  void WriteResult();
  void Lifecycle(std::string_view state);
  void Replay();
  void FoldWaitingMessages();

  // turn_request.cc: what the model says
  void Play(ScriptStep step);
  void BeginRequest();
  void EndRequest(std::string_view stop_reason);
  void Event(const Json& event);
  void StreamText(std::string text, bool thinking);
  void StreamDelta(std::string piece, bool thinking);
  void EndBlock(const Json& content);
  void StreamQuickly(const StreamDeltas& deltas);
  void ContinueDeltas(std::shared_ptr<DeltaStream> stream,
                      const StreamDeltas& deltas);
  void ReachMidTurn();
  void FailRequest(int status);
  void FailFinally(int status, std::string text);

  // turn_tools.cc
  void CallTool(std::string name, Json input, Action decide);
  void DecidePermission();
  void AskPermission();
  void Remember(const Json& updates);
  void DenyTool(std::string_view message, const Json& decision);
  void FinishTool(const Json& text, const Json& decision);
  void StartCommand(std::string seconds, bool in_background);
  void AbortTool(bool was_running);

  // local_command.cc
  void RunLocalCommand(const std::string& command);
  void Clear();
  void SetModelByCommand(const std::string& name);
  void Answer(std::string text, std::string command, const Json& members);

  Conversation& c_;
  Host& host_;
  std::vector<UserMessage> messages_;
  HostUuids uuids_;
  Json origin_;
  std::string text_;
  size_t fill_up_ = 0;  // how long the closing text is at least
  State state_ = State::kWaiting;
  Actions actions_;
  Loop::Clock::time_point start_;
  TurnResult result_;

  // Of the request to the model that is open.
  bool in_request_ = false;
  std::string message_id_;
  std::string request_model_;
  int64_t input_tokens_ = 0;
  int block_ = 0;
  size_t output_bytes_ = 0;
  std::string partial_text_;  // of the block that streams
  bool opened_ = false;
  bool replayed_ = false;
  bool reached_mid_turn_ = false;
  int num_requests_ = 0;
  std::optional<ToolCall> tool_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_TURN_H_
