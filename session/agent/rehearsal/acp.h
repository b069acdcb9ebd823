// The Agent Client Protocol, version 1, on standard input and output: reads the
// client's messages, answers its requests, and runs any number of conversations
// side by side, each with one turn at a time.
//
// A prompt for a conversation that is in a turn waits for its end. Everything
// else is answered at once, whatever runs.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/rehearsal/acp_session.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"
#include "session/agent/rehearsal/misbehaviour.h"
#include "session/agent/rehearsal/rpc.h"
#include "session/agent/rehearsal/writer_locks.h"

namespace understudy::session {

class Acp final : public Loop::Handler {
 public:
  explicit Acp(AcpProcess& process) : p_(process) {}

  void OnLine(std::string_view line) override;
  void OnInputEnd() override;
  void OnSignal(int signal) override;
  void OnChildExit(pid_t pid, int exit_code) override;
  bool Step() override;

 private:
  using Effects = Misbehaviour::Effects;

  // What is answered, and the updates of a session that go before and after.
  struct Reply {
    Json result = Json::object();
    std::optional<RpcError> error = {};
    std::string session_id = {};
    std::vector<Json> before = {};
    std::vector<Json> after = {};
  };
  static Reply Refuse(RpcError error) { return {.error = std::move(error)}; }

  // acp.cc
  void OnRequest(const Json& id, const std::string& method, const Json& params);
  void OnNotification(const std::string& method, const Json& params);
  void Respond(const Json& id, const Reply& reply);
  // Reaches `point`, then answers by `reply`, late if a fault delays it.
  void RespondAt(Fault::Point point, const Json& id, const Json& params,
                 std::function<Reply(const Effects&)> reply);
  void Leave(int exit_code);
  AcpSession* Find(const Json& params);

  // acp_methods.cc
  bool Knows(const std::string& method) const;
  void Prompt(const Json& id, const Json& params);
  void Cancel(const Json& params);
  Reply New(const Json& params, const Effects& effects);
  Reply Load(const Json& params, bool replay, const Effects& effects);
  Reply Close(const Json& params);
  Reply List(const Json& params);
  Reply SetConfigOption(const Json& params, const Effects& effects);
  Reply SetModel(const Json& params, const Effects& effects);
  Reply SetMode(const Json& params);
  // An error if there is no such model, or mode.
  std::optional<RpcError> SwitchModel(Conversation& c, const Json& name);
  std::optional<RpcError> SwitchMode(Conversation& c, const std::string& mode);

  AcpProcess& p_;
  std::map<std::string, std::unique_ptr<AcpSession>> sessions_;
  WriterLocks locks_;
  bool had_session_ = false;
  bool input_ended_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_H_
