// Claude Code's stream-json on standard input and output: reads the host's
// lines, answers its control requests, queues its messages and runs one turn
// at a time.
//
// Messages that wait are merged into one turn (old versions: a turn each), or
// join a turn that uses tools; slash commands keep a turn of their own. Control
// requests are answered at once, whatever runs.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_STREAM_JSON_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_STREAM_JSON_H_

#include <sys/types.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"
#include "session/agent/rehearsal/turn.h"

namespace understudy::session {

class StreamJson final : public Loop::Handler, private Turn::Host {
 public:
  explicit StreamJson(Conversation& conversation) : c_(conversation) {}

  void OnLine(std::string_view line) override;
  void OnInputEnd() override;
  void OnSignal(int signal) override;
  void OnChildExit(pid_t pid, int exit_code) override;
  bool Step() override;

 private:
  // An error if `error` says something.
  struct Reply {
    Json response = nullptr;
    std::string error = {};
    std::string error_code = {};
    Json extra = Json::object();  // members beside the error
  };

  // stream_json.cc
  void OnUser(const Json& line);
  void OnDuplicate(const UserMessage& message);
  void StartNextTurn();
  void Leave(int exit_code);
  void Die(const std::string& why);
  bool running() const { return turn_ != nullptr; }
  std::vector<UserMessage> TakeMessagesToFold() override;
  bool input_ended() const override { return input_ended_; }

  // control.cc
  void OnControlRequest(const Json& line);
  void Respond(const Json& request_id, Reply reply);
  // Reaches `point`, then answers by `reply`, late if a fault delays it.
  void RespondAt(Fault::Point point, const Json& request_id,
                 std::function<Reply(const Misbehaviour::Effects&)> reply);
  Reply SetModel(const Json& model, const Misbehaviour::Effects& effects);
  Reply SetPermissionMode(const Json& request);
  Reply Interrupt(const Json& request);
  Reply StopTask(const Json& request);
  Reply CancelMessage(const Json& request);
  void AllowRules(const Json& rules);
  Reply OtherRequest(const std::string& subtype, const Json& request);
  void EndSession();

  Conversation& c_;
  std::unique_ptr<Turn> turn_;
  std::deque<UserMessage> queue_;
  std::set<std::string> seen_;  // uuids that the host stamped
  // Of background tasks that ended: turns that nobody asked for.
  std::deque<Json> notifications_;
  bool first_turn_ = true;
  bool abort_ = false;  // once the interruption is answered
  bool input_ended_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_STREAM_JSON_H_
