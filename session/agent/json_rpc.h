// JSON-RPC 2.0 as agents speak it over their stdin and stdout: one message a
// line, no batches, each side with an id space of its own. Our ids are strings;
// theirs are kept as they stand in the text. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_JSON_RPC_H_
#define UNDERSTUDY_SESSION_AGENT_JSON_RPC_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "session/base/json.h"

namespace understudy::session {

inline constexpr int64_t kJsonRpcMethodNotFound = -32601;
inline constexpr int64_t kJsonRpcInvalidParams = -32602;
inline constexpr int64_t kJsonRpcInternalError = -32603;

// --- Out: one line each, without its newline. `params` and `result` are JSON.

std::string JsonRpcRequest(std::string_view id, std::string_view method,
                           std::string_view params);
std::string JsonRpcNotification(std::string_view method,
                                std::string_view params);
// `id` as it stands in the request.
std::string JsonRpcResult(std::string_view id, std::string_view result);
std::string JsonRpcError(std::string_view id, int64_t code,
                         std::string_view message);

// The id of a request line made above; empty for every other line.
std::string_view JsonRpcRequestId(std::string_view line);
// Its method.
std::string_view JsonRpcRequestMethod(std::string_view line);

// --- In.

struct JsonRpcMessage {
  enum class Kind {
    kNone,  // an object that is no message
    kRequest,
    kNotification,
    kResponse,
  };
  Kind kind = Kind::kNone;
  std::string_view id;  // as it stands in the text
  std::string method;
  JsonValue params;
  JsonValue result;  // of a response; nothing if it is an error
  JsonValue error;

  bool ok() const { return kind == Kind::kResponse && !error.exists(); }
};

JsonRpcMessage ReadJsonRpc(JsonValue line);

// What the error of a response says.
struct JsonRpcFault {
  int64_t code = 0;
  std::string text;    // the message and its details, redacted, for people
  std::string reason;  // `data.reason`, a word for machines; may be empty
};

JsonRpcFault ReadJsonRpcFault(JsonValue error);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_JSON_RPC_H_
