// Claude Code's permission mode, and messages in parts: what is written to a
// process of it, and what its answers mean. The answers are those of 2.1.329;
// 2.1.197 gives the same without `error_code`.

#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "proto/error.h"
#include "tests/session/agent/claude_fixture.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- The permission mode ----

class ClaudeModeTest : public EachClaude {
 protected:
  ClaudeModeTest() { unanswered_.insert("set_permission_mode"); }

  void Set(const std::string& mode) {
    changed_.reset();
    agent().SetPermissionMode(mode, [this](absl::Status status) {
      EXPECT_FALSE(changed_.has_value()) << "called twice";
      changed_ = std::move(status);
    });
    EXPECT_FALSE(changed_.has_value()) << "called from inside the call";
    loop_.RunUntilIdle();
  }

  Json Response(Json members) {
    members["request_id"] = LastWritten()["request_id"];
    return {{"type", "control_response"}, {"response", std::move(members)}};
  }
  Json Accepted(const std::string& mode) {
    return Response({{"subtype", "success"}, {"response", {{"mode", mode}}}});
  }
  Json Refused(const std::string& error, const std::string& code) {
    Json answer = Response({{"subtype", "error"}, {"error", error}});
    if (!old()) answer["response"]["error_code"] = code;
    return answer;
  }
  Json Status(const std::string& mode) const {
    return {{"type", "system"},
            {"subtype", "status"},
            {"status", nullptr},
            {"permissionMode", mode},
            {"session_id", conversation_}};
  }
};

INSTANTIATE_TEST_SUITE_P(Versions, ClaudeModeTest,
                         ::testing::Values(kNewClaude, kOldClaude),
                         VersionName);

TEST_P(ClaudeModeTest, IsAskedForAndToldOnce) {
  MustStart();
  Set("acceptEdits");
  EXPECT_EQ(LastWritten()["request"], Json({{"subtype", "set_permission_mode"},
                                            {"mode", "acceptEdits"}}));
  EXPECT_FALSE(changed_.has_value());
  Say(Lines{Accepted("acceptEdits").dump(), Status("acceptEdits").dump()});
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_THAT(owner_.Take(), ElementsAre("notice MODE \"acceptEdits\""));
  // The same once more is no change; an order of lines is not relied on.
  Set("acceptEdits");
  Say(Accepted("acceptEdits"));
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_THAT(owner_.Take(), IsEmpty());
  Set("plan");
  const Json accepted = Accepted("plan");
  Say(Lines{Status("plan").dump(), accepted.dump()});
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_THAT(owner_.Take(), ElementsAre("notice MODE \"plan\""));
}

TEST_P(ClaudeModeTest, TheEmptyOneIsTheAgentsDefault) {
  MustStart();
  Set("");
  EXPECT_EQ(LastWritten()["request"]["mode"], "default");
}

TEST_P(ClaudeModeTest, IsChangedInATurn) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  Set("plan");
  Say(Lines{Accepted("plan").dump(), Status("plan").dump()});
  EXPECT_THAT(*changed_, IsOk());
  Say(Result(kTurn1, "done"));
  ASSERT_EQ(owner_.ends.size(), 1u);
  EXPECT_EQ(owner_.ends[0].outcome, v1::TURN_OUTCOME_SUCCEEDED);
}

TEST_P(ClaudeModeTest, IsRefusedInTheAgentsOwnWords) {
  MustStart();
  const std::string error =
      "Cannot set permission mode to bypassPermissions because the session was "
      "not launched with --dangerously-skip-permissions";
  Set("bypassPermissions");
  Say(Refused(error, "bypass_not_launched"));
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(FieldViolationsOf(*changed_),
              ElementsAre(Field(&FieldViolation::field, "permission_mode")));
  EXPECT_THAT(std::string(changed_->message()), HasSubstr(error));
  EXPECT_THAT(owner_.Take(), IsEmpty());
  Set("default");
  Say(Refused("Unsupported control request subtype: set_permission_mode",
              "unsupported_request"));
  EXPECT_THAT(*changed_, HasReason(Reason::kCapabilityMissing));
}

// 2.1.197 would take any word, and not start in it again.
TEST_P(ClaudeModeTest, OneThatDoesNotExistIsRefused) {
  MustStart();
  Set("nonsense");
  EXPECT_EQ(Requests("set_permission_mode"), old() ? 0 : 1);
  if (!old()) {
    Say(
        Refused("Cannot set permission mode: must be one of acceptEdits, auto, "
                "bypassPermissions, default, dontAsk, plan",
                "invalid_mode"));
  }
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(owner_.Take(), IsEmpty());
}

TEST_P(ClaudeModeTest, IsToldInTheWordOfTheAnswer) {
  if (old()) return;
  MustStart();
  Set("plan");
  Say(Accepted("plan"));
  owner_.Take();
  Set("manual");
  Say(Lines{Accepted("default").dump(), Status("default").dump()});
  EXPECT_THAT(*changed_, IsOk());
  EXPECT_THAT(owner_.Take(), ElementsAre("notice MODE \"default\""));
}

TEST_P(ClaudeModeTest, EndsWithinItsBoundAndALateAnswerIsNothing) {
  MustStart();
  Set("plan");
  const Json late = Accepted("plan");
  loop_.Advance(profile_.switch_timeout - absl::Milliseconds(1));
  EXPECT_FALSE(changed_.has_value());
  loop_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentUnresponsive));
  Say(late);
  EXPECT_THAT(owner_.Take(), ElementsAre("notice MODE \"plan\""));
}

TEST_P(ClaudeModeTest, A23_AnAgentThatDiesDuringTheChangeEndsIt) {
  MustStart();
  Set("plan");
  child().Exit({.cause = ExitStatus::Cause::kSignaled, .signal = 9});
  loop_.RunUntilIdle();
  ASSERT_TRUE(changed_.has_value());
  EXPECT_THAT(*changed_, HasReason(Reason::kAgentLost));
  EXPECT_TRUE(owner_.loss.has_value());
}

TEST_P(ClaudeModeTest, TheOwnerMayDestroyItFromInsideTheDone) {
  MustStart();
  agent().SetPermissionMode(
      "plan", [this](const absl::Status&) { owner_.agent.reset(); });
  loop_.RunUntilIdle();
  Say(Lines{Accepted("plan").dump(), Status("plan").dump()});
  EXPECT_EQ(owner_.agent, nullptr);
}

// ---- Messages in parts ----

class ClaudeContentTest : public EachClaude {
 protected:
  void SendContent(const v1::Content& content) {
    agent().Send(
        {.turn_id = kTurn1, .content = std::make_shared<v1::Content>(content)});
    loop_.RunUntilIdle();
  }
  static Json Text(const std::string& text) {
    return {{"type", "text"}, {"text", text}};
  }
};

INSTANTIATE_TEST_SUITE_P(Versions, ClaudeContentTest,
                         ::testing::Values(kNewClaude, kOldClaude),
                         VersionName);

TEST_P(ClaudeContentTest, PartsAreBlocksInTheirOrder) {
  MustStart();
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  v1::Content content;
  content.add_parts()->set_text("what is \"this\"?");
  content.add_parts()->mutable_image()->set_mime_type("image/png");
  content.mutable_parts(1)->mutable_image()->set_data(bytes);
  content.add_parts()->set_text("and why?");
  SendContent(content);
  const Json line = LastWritten();
  EXPECT_EQ(line["uuid"], kTurn1);
  EXPECT_EQ(line["client_composed"], true);
  EXPECT_EQ(line["message"]["content"],
            Json::array({Text("what is \"this\"?"),
                         {{"type", "image"},
                          {"source",
                           {{"type", "base64"},
                            {"media_type", "image/png"},
                            {"data", absl::Base64Escape(bytes)}}}},
                         Text("and why?")}));
}

TEST_P(ClaudeContentTest, NoPartThatLooksLikeACommandIsOne) {
  MustStart();
  v1::Content content;
  content.add_parts()->set_text("/clear");
  content.add_parts()->mutable_image()->set_mime_type("image/gif");
  content.mutable_parts(1)->mutable_image()->set_data("x");
  content.add_parts()->set_text("/model haiku");
  content.add_parts()->set_text("a /path");
  SendContent(content);
  const Json blocks = LastWritten()["message"]["content"];
  EXPECT_EQ(LastWritten()["client_composed"], true);
  EXPECT_EQ(blocks[0], Text(old() ? " /clear" : "/clear"));
  EXPECT_EQ(blocks[2], Text(old() ? " /model haiku" : "/model haiku"));
  EXPECT_EQ(blocks[3], Text("a /path"));
}

}  // namespace
}  // namespace understudy::session
