#include "session/agent/acp_permissions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/session/agent/acp_parts.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

constexpr auto kAllow = v1::PERMISSION_DECISION_ALLOW;
constexpr auto kDeny = v1::PERMISSION_DECISION_DENY;
constexpr auto kOnce = v1::PERMISSION_SCOPE_ONCE;
constexpr auto kSession = v1::PERMISSION_SCOPE_SESSION;

// What is answered, of these kinds on offer.
std::string Answer(const std::vector<std::string>& kinds,
                   const PermissionAnswer& answer) {
  std::string options;
  for (const std::string& kind : kinds) {
    options += (options.empty() ? "" : ",") +
               (R"({"optionId":"<)" + kind + R"(>","kind":")" + kind + "\"}");
  }
  AcpPermissions permissions;
  const v1::Event event = permissions.Open(
      "0", *Parsed(R"({"toolCall":{},"options":[)" + options + "]}"), nullptr);
  return *permissions.Answer(event.permission_requested().permission_id(),
                             answer);
}

TEST(AcpPermissionsTest, AnAnswerIsTheOptionOfItsKind) {
  const std::vector<std::string> all = {"reject_always", "reject_once",
                                        "allow_always", "allow_once"};
  EXPECT_EQ(Answer(all, {.decision = kAllow, .scope = kOnce}),
            R"({"jsonrpc":"2.0","id":0,"result":{"outcome":{"outcome":)"
            R"("selected","optionId":"<allow_once>"}}})");
  EXPECT_THAT(Answer(all, {.decision = kAllow, .scope = kSession}),
              HasSubstr("<allow_always>"));
  EXPECT_THAT(Answer(all, {.decision = kDeny, .scope = kOnce}),
              HasSubstr("<reject_once>"));
  EXPECT_THAT(Answer(all, {.decision = kDeny, .scope = kSession}),
              HasSubstr("<reject_always>"));
  EXPECT_THAT(Answer(all, {.decision = kAllow, .option_id = "mine"}),
              HasSubstr("\"mine\""));
}

TEST(AcpPermissionsTest, NoMoreIsAllowedThanWas) {
  EXPECT_THAT(Answer({"allow_always", "reject_once"}, {.decision = kAllow}),
              HasSubstr("\"cancelled\""));
  EXPECT_THAT(Answer({"allow_once"}, {.decision = kAllow, .scope = kSession}),
              HasSubstr("<allow_once>"));
  EXPECT_THAT(Answer({"allow_once"}, {.decision = kDeny}),
              HasSubstr("\"cancelled\""));
  EXPECT_THAT(Answer({"reject_always"}, {.decision = kDeny}),
              HasSubstr("<reject_always>"));
  EXPECT_THAT(Answer({"brand_new"}, {.decision = kAllow}),
              HasSubstr("\"cancelled\""));
  EXPECT_THAT(Answer({"brand_new", "reject_once"}, {.decision = kDeny}),
              HasSubstr("<reject_once>"));
}

// Of OpenCode 1.18.33.
TEST(AcpPermissionsTest, ARequestSaysWhatItIsAbout) {
  AcpPermissions permissions;
  const v1::Event event = permissions.Open(
      "0",
      *Parsed(
          R"({"toolCall":{"toolCallId":"t","title":"echo x","kind":"execute",)"
          R"("rawInput":{"command":"echo x"}},"options":[{"optionId":"once",)"
          R"("kind":"allow_once","name":"Allow once"},{"kind":"allow_always"}]})"),
      nullptr);
  const v1::PermissionRequested& asked = event.permission_requested();
  EXPECT_EQ(asked.tool_name(), "execute");
  EXPECT_EQ(asked.description(), "echo x");
  EXPECT_EQ(asked.input_json(), R"({"command":"echo x"})");
  ASSERT_EQ(asked.options_size(), 1) << "one without an id cannot be chosen";
  EXPECT_EQ(asked.options(0).name(), "Allow once");
  EXPECT_EQ(permissions.Find("0"), asked.permission_id());
  EXPECT_EQ(permissions.Find("1"), "");
}

// Of Kimi Code 2.1.0.
TEST(AcpPermissionsTest, WhatHasBeenToldOfTheToolIsNotLost) {
  v1::ToolCall known;
  known.set_tool_call_id("t");
  known.set_name("execute");
  known.set_title("Bash: echo");
  known.set_input_json(R"({"command":"echo"})");
  AcpPermissions permissions;
  const v1::Event event = permissions.Open(
      "0",
      *Parsed(R"({"toolCall":{"toolCallId":"t","title":"Bash","content":[)"
              R"({"type":"content","content":{"type":"text",)"
              R"("text":"Requesting approval to Running: echo"}}]}})"),
      &known);
  const v1::PermissionRequested& asked = event.permission_requested();
  EXPECT_EQ(asked.tool_call_id(), "t");
  EXPECT_EQ(asked.tool_name(), "execute");
  EXPECT_EQ(asked.input_json(), R"({"command":"echo"})");
  EXPECT_EQ(asked.description(), "Bash\nRequesting approval to Running: echo");
}

TEST(AcpPermissionsTest, ARequestIsAnsweredOnce) {
  AcpPermissions permissions;
  const std::string id = permissions.Open("\"x\"", *Parsed("{}"), nullptr)
                             .permission_requested()
                             .permission_id();
  EXPECT_THAT(permissions.ids(), SizeIs(1));
  EXPECT_THAT(permissions.Cancel(id),
              Optional(AcpPermissions::Cancelled("\"x\"")));
  EXPECT_EQ(permissions.Answer(id, {}), std::nullopt);
  EXPECT_EQ(permissions.Cancel(id), std::nullopt);
  EXPECT_THAT(permissions.ids(), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
