#include "session/agent/json_rpc.h"

#include "absl/strings/str_cat.h"
#include "session/base/concat.h"
#include "session/base/redact.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

constexpr size_t kMaxFaultBytes = 4096;

constexpr std::string_view kRequestBegin = R"({"jsonrpc":"2.0","id":")";
constexpr std::string_view kMethodBegin = R"(","method":")";

}  // namespace

std::string JsonRpcRequest(std::string_view id, std::string_view method,
                           std::string_view params) {
  return Concat(
      {kRequestBegin, id, kMethodBegin, method, R"(","params":)", params, "}"});
}

std::string JsonRpcNotification(std::string_view method,
                                std::string_view params) {
  return Concat({R"({"jsonrpc":"2.0","method":")", method, R"(","params":)",
                 params, "}"});
}

std::string JsonRpcResult(std::string_view id, std::string_view result) {
  return Concat(
      {R"({"jsonrpc":"2.0","id":)", id, R"(,"result":)", result, "}"});
}

std::string JsonRpcError(std::string_view id, int64_t code,
                         std::string_view message) {
  return Concat({R"({"jsonrpc":"2.0","id":)", id, R"(,"error":{"code":)",
                 absl::StrCat(code), R"(,"message":)", JsonString(message),
                 "}}"});
}

std::string_view JsonRpcRequestId(std::string_view line) {
  if (!line.starts_with(kRequestBegin)) return {};
  line.remove_prefix(kRequestBegin.size());
  return line.substr(0, line.find('"'));
}

std::string_view JsonRpcRequestMethod(std::string_view line) {
  const std::string_view id = JsonRpcRequestId(line);
  if (id.empty()) return {};
  line.remove_prefix(kRequestBegin.size() + id.size());
  if (!line.starts_with(kMethodBegin)) return {};
  line.remove_prefix(kMethodBegin.size());
  return line.substr(0, line.find('"'));
}

JsonRpcMessage ReadJsonRpc(JsonValue line) {
  using Kind = JsonRpcMessage::Kind;
  JsonRpcMessage message;
  const JsonValue id = line["id"];
  const JsonValue method = line["method"];
  // Codex's app-server leaves `jsonrpc` out; an id may be 0.
  const bool has_id =
      id.exists() && !id.IsNull() && !id.IsObject() && !id.IsArray();
  if (has_id) message.id = id.raw();
  if (method.IsString()) {
    message.kind = has_id ? Kind::kRequest : Kind::kNotification;
    message.method = method.String();
    message.params = line["params"];
    return message;
  }
  message.result = line["result"];
  message.error = line["error"];
  if (message.error.IsNull()) message.error = {};
  if (has_id && (message.result.exists() || message.error.exists())) {
    message.kind = Kind::kResponse;
  }
  return message;
}

JsonRpcFault ReadJsonRpcFault(JsonValue error) {
  JsonRpcFault fault;
  fault.code = error["code"].Int().value_or(0);
  std::string text = error["message"].String();
  const JsonValue data = error["data"];
  fault.reason = data["reason"].String();
  for (const JsonValue more : {data, data["details"], data["message"]}) {
    if (!more.IsString()) continue;
    text = Concat({text, text.empty() ? "" : ": ", more.String()});
    break;
  }
  if (text.empty()) text = absl::StrCat("error ", fault.code);
  fault.text = Redact(Utf8Prefix(text, kMaxFaultBytes));
  return fault;
}

}  // namespace understudy::session
