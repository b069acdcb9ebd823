#include "service/convert.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace understudy::service {
namespace {

using session::MoveParams;
using session::TurnPolicy;
using ::testing::Optional;

constexpr char kUpper[] = "0190AAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE";
constexpr char kLower[] = "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

template <typename Request>
Request Parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request));
  return request;
}

TEST(ConvertTest, LowersIds) {
  v1::SwitchModelRequest request;
  request.set_session_id(kUpper);
  request.set_request_id(kUpper);
  EXPECT_EQ(ToParams(request).session_id, kLower);
  EXPECT_EQ(ToCaller(request).request_id, kLower);
  EXPECT_NE(ToCaller(request).fingerprint, "");
}

TEST(ConvertTest, ForgetsCallsWithoutARequestId) {
  v1::SwitchModelRequest request;
  request.set_session_id(kUpper);
  EXPECT_EQ(ToCaller(request).request_id, "");
  EXPECT_EQ(ToCaller(request).fingerprint, "");
}

TEST(ConvertTest, FingerprintsContentAlone) {
  v1::CreateSessionRequest request;
  request.set_session_id(kUpper);
  request.set_working_directory("/tmp");
  for (int i = 0; i < 30; ++i) {
    (*request.mutable_labels())[std::to_string(i)] = "x";
  }
  const std::string fingerprint = Fingerprint(request);
  EXPECT_EQ(fingerprint.size(), 32u);

  v1::CreateSessionRequest same;
  same.set_request_id(kUpper);
  same.set_session_id(kLower);
  same.set_working_directory("/tmp");
  for (int i = 29; i >= 0; --i) {
    (*same.mutable_labels())[std::to_string(i)] = "x";
  }
  EXPECT_EQ(Fingerprint(same), fingerprint);

  std::set<std::string> all = {fingerprint};
  same.set_model("m");
  EXPECT_TRUE(all.insert(Fingerprint(same)).second);
  same.clear_model();
  same.set_agent("m");
  EXPECT_TRUE(all.insert(Fingerprint(same)).second);
  v1::ClearRequest clear;
  v1::InterruptRequest interrupt;
  clear.set_session_id(kLower);
  interrupt.set_session_id(kLower);
  EXPECT_NE(Fingerprint(clear), Fingerprint(interrupt));
}

TEST(ConvertTest, TakesADefaultThatIsSpelledOutForTheSame) {
  const auto expect_same = [](const auto& left, const auto& right,
                              const auto& other) {
    EXPECT_EQ(Fingerprint(left), Fingerprint(right));
    EXPECT_NE(Fingerprint(left), Fingerprint(other));
  };
  using Send = v1::SendMessageRequest;
  expect_same(Send(), Parse<Send>("wait_until: WAIT_UNTIL_ACCEPTED"),
              Parse<Send>("wait_until: WAIT_UNTIL_COMPLETED"));
  using Switch = v1::SwitchModelRequest;
  expect_same(Switch(), Parse<Switch>("turn_policy: TURN_POLICY_AFTER_TURN"),
              Parse<Switch>("turn_policy: TURN_POLICY_FAIL"));
  using Resolve = v1::ResolvePermissionRequest;
  expect_same(Resolve(), Parse<Resolve>("scope: PERMISSION_SCOPE_ONCE"),
              Parse<Resolve>("scope: PERMISSION_SCOPE_SESSION"));
}

TEST(ConvertTest, AFingerprintCoversEveryPartOfAMessage) {
  using Send = v1::SendMessageRequest;
  std::set<std::string> all;
  for (const char* content :
       {"text: 'ab'", "content { parts { text: 'ab' } }",
        "content { parts { text: 'a' } parts { text: 'b' } }",
        "content { parts { image { mime_type: 'image/png' data: 'ab' } } }",
        "content { parts { image { mime_type: 'image/gif' data: 'ab' } } }",
        "content { parts { image { mime_type: 'image/png' data: 'ac' } } }"}) {
    EXPECT_TRUE(all.insert(Fingerprint(Parse<Send>(content))).second)
        << content;
  }
}

TEST(ConvertTest, AFingerprintKnowsASessionInAnyCase) {
  v1::UpdateSessionRequest lower;
  lower.mutable_session()->set_session_id(kLower);
  (*lower.mutable_session()->mutable_labels())["team"] = "a";
  v1::UpdateSessionRequest upper = lower;
  upper.mutable_session()->set_session_id(kUpper);
  EXPECT_EQ(Fingerprint(lower), Fingerprint(upper));
  upper.mutable_update_mask()->add_paths("labels");
  EXPECT_NE(Fingerprint(lower), Fingerprint(upper));
}

TEST(ConvertTest, ReadsWhatIsToBecomeOfLabels) {
  using Update = v1::UpdateSessionRequest;
  const std::string labels =
      "session { labels { key: 'a' value: '1' } "
      "labels { key: 'b.c' value: '2' } } ";
  for (const char* mask :
       {"", "update_mask { paths: 'labels' }", "update_mask { paths: '*' }",
        "update_mask { paths: 'labels.a' paths: '*' }"}) {
    const auto params = ToParams(Parse<Update>(labels + mask));
    EXPECT_TRUE(params.replace) << mask;
    EXPECT_EQ(params.labels.size(), 2u) << mask;
  }
  const auto some = ToParams(Parse<Update>(
      labels + "update_mask { paths: 'labels.b.c' paths: 'labels.d' }"));
  EXPECT_FALSE(some.replace);
  EXPECT_EQ(some.labels.size(), 2u);
  EXPECT_EQ(some.labels.at("b.c"), "2");
  EXPECT_EQ(some.labels.at("d"), std::nullopt);
  // An empty map is there only where the mask says so.
  EXPECT_FALSE(ToParams(Update()).replace);
  const auto none = ToParams(Parse<Update>("update_mask { paths: 'labels' }"));
  EXPECT_TRUE(none.replace);
  EXPECT_TRUE(none.labels.empty());
}

TEST(ConvertTest, KeepsAFingerprintAcrossProcesses) {
  // They are stored: another value would make every repeat a reuse.
  v1::ClearRequest request;
  request.set_session_id(kLower);
  EXPECT_EQ(Fingerprint(request), "b4016d9b80d94701a99dc937747e5dd4");
}

TEST(ConvertTest, TellsAnEmptyModelFromNone) {
  EXPECT_THAT(ToParams(v1::SwitchModelRequest()).model,
              Optional(std::string()));
  EXPECT_FALSE(ToParams(v1::SendMessageRequest()).model.has_value());
  EXPECT_FALSE(ToParams(v1::ResumeRequest()).model.has_value());
  v1::ResumeRequest resume;
  resume.set_model("m");
  resume.set_agent_session_id("c");
  EXPECT_THAT(ToParams(resume).model, Optional(std::string("m")));
  EXPECT_EQ(ToParams(resume).conversation, "c");
  EXPECT_EQ(ToParams(resume).kind, MoveParams::Kind::kResume);
}

TEST(ConvertTest, TakesDefaultsForWhatIsUnspecified) {
  v1::ClearRequest clear;
  EXPECT_EQ(ToParams(clear).policy, TurnPolicy::kAfterTurn);
  clear.set_turn_policy(v1::TURN_POLICY_FAIL);
  EXPECT_EQ(ToParams(clear).policy, TurnPolicy::kFail);
  clear.set_turn_policy(v1::TURN_POLICY_INTERRUPT);
  EXPECT_EQ(ToParams(clear).policy, TurnPolicy::kInterrupt);
  EXPECT_EQ(ToParams(v1::ResolvePermissionRequest()).answer.scope,
            v1::PERMISSION_SCOPE_ONCE);
  EXPECT_EQ(ToPageSize(0), 50);
  EXPECT_EQ(ToPageSize(7), 7);
  EXPECT_EQ(ToPageSize(5000), 1000);
  const Rules rules{.agents = {"only"}};
  EXPECT_EQ(ToParams(v1::CreateSessionRequest(), rules).agent, "only");
}

TEST(ConvertTest, FillsEveryFieldOfASession) {
  session::SessionInfo info;
  info.record = Parse<session::SessionRecord>(
      "session_id: 'a' agent: 'b' model_override: 'c' model: 'd' "
      "working_directory: '/e' labels { key: 'f' value: 'g' } "
      "permission_mode: 'h' agent_session_id: 'i' incarnation: 1 "
      "create_time { seconds: 2 } update_time { seconds: 3 } "
      "usage { input_tokens: 4 }");
  info.state = session::SessionState::kRunning;
  info.epoch = 5;
  info.oldest_sequence = 6;
  info.newest_sequence = 7;
  info.running_turn_id = "j";
  info.queued_messages = 8;
  info.pending_permission_ids = {"k"};
  const v1::Session session = ToSession(info);
  const v1::Session expected = Parse<v1::Session>(
      "session_id: 'a' agent: 'b' model_override: 'c' model: 'd' "
      "working_directory: '/e' labels { key: 'f' value: 'g' } "
      "permission_mode: 'h' agent_session_id: 'i' incarnation: 1 "
      "create_time { seconds: 2 } update_time { seconds: 3 } "
      "usage { input_tokens: 4 } state: SESSION_STATE_RUNNING epoch: 5 "
      "oldest_sequence: 6 newest_sequence: 7 running_turn_id: 'j' "
      "queued_messages: 8 pending_permission_ids: 'k'");
  EXPECT_EQ(session.ShortDebugString(), expected.ShortDebugString());
  // A field that is added to the schema must be added to the conversion.
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  session.GetReflection()->ListFields(session, &fields);
  EXPECT_EQ(static_cast<int>(fields.size()),
            v1::Session::descriptor()->field_count());
}

TEST(ConvertTest, FillsEveryFieldOfATransition) {
  session::MoveResult result;
  result.agent = "a";
  result.changed = true;
  result.previous_model = "b";
  result.model = "c";
  result.previous_agent_session_id = "d";
  result.agent_session_id = "e";
  result.route = v1::ROUTE_NATIVE;
  result.verified = true;
  result.incarnation = 1;
  result.sequence = 2;
  const v1::TransitionResponse response = ToResponse(kLower, result);
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  response.GetReflection()->ListFields(response, &fields);
  EXPECT_EQ(static_cast<int>(fields.size()),
            v1::TransitionResponse::descriptor()->field_count());
}

TEST(ConvertTest, AnswersWithTheOutcomeOfATurn) {
  session::SendResult result;
  result.turn_id = "t";
  result.sequence = 3;
  EXPECT_EQ(ToResponse(result).ShortDebugString(),
            "turn_id: \"t\" sequence: 3");
  result.completed = Parse<v1::TurnCompleted>(
      "outcome: TURN_OUTCOME_FAILED stop_reason: 's' text: 'x' "
      "usage { input_tokens: 1 } error { reason: 'MODEL_REJECTED' } "
      "delivered: DELIVERED_YES");
  const auto expected = Parse<v1::SendMessageResponse>(
      "turn_id: 't' sequence: 3 outcome: TURN_OUTCOME_FAILED stop_reason: 's' "
      "text: 'x' usage { input_tokens: 1 } error { reason: 'MODEL_REJECTED' }");
  EXPECT_EQ(ToResponse(result).ShortDebugString(), expected.ShortDebugString());
}

}  // namespace
}  // namespace understudy::service
