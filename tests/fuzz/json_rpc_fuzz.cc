// json_rpc.h: whatever JSON object a line is, what is read of it can be told
// and answered; and what is written, whatever is put into it, is one line that
// is read as what was meant.

#include <string>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "session/agent/json_rpc.h"
#include "session/base/utf8.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

using session::JsonDocument;
using session::JsonRpcMessage;
using Kind = JsonRpcMessage::Kind;

bool IsLine(const std::string& text) {
  return text.find('\n') == std::string::npos && session::IsValidUtf8(text);
}

void Run(Input input) {
  const std::string text(input.rest());
  JsonDocument document;
  if (document.ParseCopy(text).ok() && document.root().IsObject()) {
    const JsonRpcMessage message = session::ReadJsonRpc(document.root());
    const session::JsonRpcFault fault =
        session::ReadJsonRpcFault(message.error);
    Require(session::IsValidUtf8(fault.text) &&
                session::IsValidUtf8(fault.reason) &&
                session::IsValidUtf8(message.method),
            "only UTF-8 comes out");
    Require(!fault.text.empty(), "a fault has a text");
    if (message.kind == Kind::kRequest) {
      // It is answered by its own id.
      JsonDocument again;
      const std::string answer =
          session::JsonRpcError(message.id, -32601, message.method);
      Require(again.ParseCopy(answer).ok(), "an answer is JSON", answer);
      const JsonRpcMessage read = session::ReadJsonRpc(again.root());
      Require(read.kind == Kind::kResponse && read.id == message.id,
              "an answer has the id of its request", answer);
      Require(session::ReadJsonRpcFault(read.error).code == -32601,
              "an error has its code");
    }
    if (message.ok()) Require(!message.id.empty(), "a response has an id");
  }
  const std::string error = session::JsonRpcError("\"x\"", 1, text);
  Require(IsLine(error), "a message is a line");
  Require(nlohmann::json::accept(error), "a message is JSON", error);
  Require(session::JsonRpcRequestId(text).size() <= text.size(), "a part");
  Require(session::JsonRpcRequestMethod(text).size() <= text.size(), "a part");
}

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Run({data, size});
  return 0;
}
