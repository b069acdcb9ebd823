// One turn in the Agent Client Protocol: what follows a session/prompt, up to
// its response. Turns of different conversations run side by side.
//
//   waiting to start --first Step--> running --> finishing --> done
//
// Cancel() ends it, between two actions, unless it is finishing: then the
// conversation is on disk and only the response is to come.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_TURN_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_TURN_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "session/agent/rehearsal/actions.h"
#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/delta_stream.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"
#include "session/agent/rehearsal/rpc.h"
#include "session/agent/rehearsal/script.h"

namespace understudy::session {

// A session/prompt that was read.
struct Prompt {
  Json id;           // of the request
  Json content;      // as the transcript has it
  std::string uuid;  // the client's messageId; "" if it gave none
  std::string text;
  Loop::Milliseconds delay{0};  // before its turn begins

  // For the log.
  Json uuids() const {
    return uuid.empty() ? Json::array() : Json::array({uuid});
  }
};

class AcpTurn {
 public:
  AcpTurn(Conversation& conversation, RpcPeer& client, Prompt prompt);
  AcpTurn(const AcpTurn&) = delete;
  AcpTurn& operator=(const AcpTurn&) = delete;
  ~AcpTurn();

  // Runs the next action. False: waits, or is done.
  bool Step() { return actions_.Step() && !done(); }
  bool done() const { return state_ == State::kDone; }
  void Cancel();
  // Responds now, whatever delays it.
  void RespondAtOnce();
  // Nobody can answer any more.
  void OnInputEnd();
  void OnChildExit(pid_t pid, int exit_code);

 private:
  enum class State { kWaiting, kRunning, kFinishing, kDone };
  using Action = Actions::Action;

  struct ToolCall {
    std::string id;
    std::string name;
    Json input;
    pid_t pid = 0;                              // of the process that runs
    std::optional<int64_t> permission_id = {};  // of the open question

    std::string title() const;
  };

  // acp_turn.cc: the frame of the turn, and what the model says
  void Then(Action action) { actions_.Then(std::move(action)); }
  Misbehaviour::Effects Reach(Fault::Point point);
  void Update(const Json& update);
  void Begin();
  void Note();
  void RunSteps();
  void Finish(std::string stop_reason);
  void Respond();
  void Play(ScriptStep step);
  void BeginRequest();
  void EndRequest();
  void StreamText(std::string text, bool thinking);
  void EndBlock(const Json& content);
  void StreamQuickly(const StreamDeltas& deltas);
  void ContinueDeltas(std::shared_ptr<DeltaStream> stream,
                      const StreamDeltas& deltas);
  void ReachMidTurn();
  void FailRequest(int status);
  void Fail(RpcError error);
  void NotePartialText();

  // acp_turn_tools.cc
  void CallTool(std::string name, Json input, Action decide);
  void AnnounceTool();
  void DecidePermission();
  void AskPermission();
  void OnPermissionAnswer(const Json& message);
  void RunTool();
  void FinishTool(std::string_view text);
  void FailTool(std::string_view text, bool interrupted = false);
  void EndTool(std::string_view text, bool failed);
  void StartCommand(std::string seconds, bool in_background);
  void ShowPlan(const Json& input);

  Conversation& c_;
  RpcPeer& client_;
  Prompt prompt_;
  Actions actions_;
  State state_ = State::kWaiting;
  size_t fill_up_ = 0;  // how long the closing text is at least
  bool input_ended_ = false;

  // What the response will say.
  std::string stop_reason_;
  std::optional<RpcError> error_;
  std::string result_;
  TokenUsage usage_;
  int64_t used_ = 0;  // of the context
  bool responded_ = false;

  // Of the request to the model that is open.
  bool in_request_ = false;
  std::string message_id_;
  std::string request_model_;
  int64_t input_tokens_ = 0;
  size_t output_bytes_ = 0;
  std::string partial_text_;  // of the block that streams
  bool noted_ = false;
  bool reached_mid_turn_ = false;
  std::optional<ToolCall> tool_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_TURN_H_
