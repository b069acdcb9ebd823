#include "session/agent/json_rpc.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

using Kind = JsonRpcMessage::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

class JsonRpcTest : public ::testing::Test {
 protected:
  JsonRpcMessage Read(const std::string& line) {
    EXPECT_TRUE(document_.ParseCopy(line).ok()) << line;
    return ReadJsonRpc(document_.root());
  }
  JsonRpcFault Fault(const std::string& error) {
    return ReadJsonRpcFault(Read(R"({"id":1,"error":)" + error + "}").error);
  }

  JsonDocument document_;
};

TEST_F(JsonRpcTest, WhatIsWrittenIsRead) {
  const std::string request = JsonRpcRequest("u-1", "a/b", R"({"x":1})");
  JsonRpcMessage message = Read(request);
  EXPECT_EQ(message.kind, Kind::kRequest);
  EXPECT_EQ(message.id, "\"u-1\"");
  EXPECT_EQ(message.method, "a/b");
  EXPECT_EQ(message.params["x"].Int(), 1);
  EXPECT_EQ(JsonRpcRequestId(request), "u-1");
  EXPECT_EQ(JsonRpcRequestMethod(request), "a/b");

  const std::string notification = JsonRpcNotification("n", "{}");
  EXPECT_EQ(Read(notification).kind, Kind::kNotification);
  EXPECT_EQ(JsonRpcRequestId(notification), "");
  EXPECT_EQ(JsonRpcRequestMethod(notification), "");

  const std::string result = JsonRpcResult("0", "null");
  EXPECT_EQ(Read(result).kind, Kind::kResponse);
  EXPECT_TRUE(Read(result).ok());
  EXPECT_EQ(JsonRpcRequestId(result), "");

  message = Read(JsonRpcError("\"x\"", -32601, "no \"such\"\nthing"));
  EXPECT_EQ(message.kind, Kind::kResponse);
  EXPECT_FALSE(message.ok());
  EXPECT_EQ(ReadJsonRpcFault(message.error).text, "no \"such\"\nthing");
}

TEST_F(JsonRpcTest, AnIdMayBeNothingThatCounts) {
  EXPECT_EQ(Read(R"({"id":0,"method":"m"})").kind, Kind::kRequest);
  EXPECT_EQ(Read(R"({"id":0,"method":"m"})").id, "0");
  EXPECT_EQ(Read(R"({"id":"","method":"m"})").kind, Kind::kRequest);
  EXPECT_EQ(Read(R"({"id":null,"method":"m"})").kind, Kind::kNotification);
  EXPECT_EQ(Read(R"({"id":{},"result":1})").kind, Kind::kNone);
}

TEST_F(JsonRpcTest, WhatIsNoMessageIsNone) {
  for (const char* line :
       {"{}", R"({"id":1})", R"({"result":1})", R"({"id":null,"error":{}})",
        R"({"id":1,"error":null})", R"({"method":5})"}) {
    EXPECT_EQ(Read(line).kind, Kind::kNone) << line;
  }
  // Some agents write both.
  EXPECT_TRUE(Read(R"({"id":1,"result":{},"error":null})").ok());
}

// Lines of OpenCode 1.18.33, claude-agent-acp 0.100.0 and codex-acp 2.6.0.
TEST_F(JsonRpcTest, AFaultSaysWhatItsDetailsSay) {
  JsonRpcFault fault =
      Fault(R"({"code":-32602,"message":"Invalid params: model not found: x",)"
            R"("data":{"providerId":"x","modelId":"x"}})");
  EXPECT_EQ(fault.code, -32602);
  EXPECT_EQ(fault.text, "Invalid params: model not found: x");
  EXPECT_EQ(fault.reason, "");

  fault = Fault(
      R"({"code":-32603,"message":"Internal error","data":{"details":"why"}})");
  EXPECT_EQ(fault.text, "Internal error: why");
  EXPECT_EQ(Fault(R"({"message":"m","data":"d"})").text, "m: d");
  EXPECT_EQ(Fault(R"({"data":{"reason":"thread_active_writer"}})").reason,
            "thread_active_writer");
  EXPECT_EQ(Fault(R"({"code":7})").text, "error 7");
  EXPECT_EQ(Fault("5").text, "error 0");
}

TEST_F(JsonRpcTest, AFaultIsShortAndHasNoSecrets) {
  const JsonRpcFault fault =
      Fault(R"({"message":"bad key sk-ant-api03-abcdefghijklmnopqrstuvwxyz )" +
            std::string(10000, 'x') + R"("})");
  EXPECT_THAT(fault.text, Not(HasSubstr("abcdefghijklmnop")));
  EXPECT_LE(fault.text.size(), 5000u);
  EXPECT_TRUE(IsValidUtf8(fault.text));
}

}  // namespace
}  // namespace understudy::session
