// The agent's side of a JSON-RPC 2.0 connection, a message a line: answers to
// the client's requests, notifications, and the agent's own requests, whose ids
// are a space of their own and begin with 0.
//
// One thread.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_RPC_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_RPC_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "session/agent/rehearsal/agent_log.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/loop.h"

namespace understudy::session {

struct RpcError {
  static constexpr int kParseError = -32700;
  static constexpr int kInvalidRequest = -32600;
  static constexpr int kMethodNotFound = -32601;
  static constexpr int kInvalidParams = -32602;
  static constexpr int kInternalError = -32603;
  static constexpr int kAuthRequired = -32000;
  static constexpr int kResourceNotFound = -32002;

  int code;
  std::string message;
  Json data = nullptr;  // null: none
};

class RpcPeer {
 public:
  // The whole message: it has a "result" or an "error".
  using Answered = std::function<void(const Json& message)>;

  RpcPeer(Loop& loop, AgentLog& log, bool log_lines)
      : loop_(loop), log_(log), log_lines_(log_lines) {}
  RpcPeer(const RpcPeer&) = delete;
  RpcPeer& operator=(const RpcPeer&) = delete;

  void Result(const Json& id, const Json& result);
  void Error(const Json& id, const RpcError& error);
  void Notify(std::string_view method, const Json& params);
  // ACP's session/update.
  void Update(const std::string& session_id, const Json& update);
  static Json UpdateFrame(const std::string& session_id, const Json& update);

  // Answers the id.
  int64_t Request(std::string_view method, const Json& params,
                  Answered answered);
  // Whatever the answer will be, nobody wants it.
  void Forget(int64_t id) { requests_.erase(id); }
  // Ignored if it answers nothing open.
  void OnResponse(const Json& message);

  void WriteLine(const std::string& line, const std::string& session_id = "");

 private:
  Loop& loop_;
  AgentLog& log_;
  const bool log_lines_;
  int64_t next_id_ = 0;
  std::map<int64_t, Answered> requests_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_RPC_H_
