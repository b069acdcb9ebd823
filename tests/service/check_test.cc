#include "service/check.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::service {
namespace {

using session::HasReason;
using session::IsOk;
using session::TempFolder;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr char kSession[] =
    "session_id: '0190aaaa-BBBB-4ccc-8ddd-eeeeeeeeeeee' ";

// The request of that type in text format.
template <typename Request>
Request Parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request))
      << text;
  return request;
}

v1::CreateSessionRequest In(const std::string& working_directory) {
  v1::CreateSessionRequest request;
  request.set_working_directory(working_directory);
  return request;
}

class CheckTest : public ::testing::Test {
 protected:
  template <typename Request>
  absl::Status CheckText(const std::string& text) {
    return Check(Parse<Request>(text), rules_);
  }

  Rules rules_{.max_text_bytes = 100,
               .working_directory_roots = {},
               .agents = {"claude"}};
};

TEST_F(CheckTest, TakesWhatKeepsTheRules) {
  EXPECT_THAT(CheckText<v1::CreateSessionRequest>(
                  "session_id: '0190AAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee' "
                  "agent: 'claude' model: 'us.anthropic/opus@v1:0[1m]' "
                  "working_directory: '/tmp' "
                  "labels { key: 'team' value: 'a b \\303\\244' } "
                  "labels { key: 'empty' value: '' } "
                  "request_id: '0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeef'"),
              IsOk());
  EXPECT_THAT(CheckText<v1::SendMessageRequest>(
                  absl::StrCat(kSession, "text: '/model x' model: 'opus'")),
              IsOk());
  EXPECT_THAT(CheckText<v1::SendMessageRequest>(absl::StrCat(
                  kSession,
                  "content { parts { text: 'a' } parts { text: 'b' } } "
                  "wait_until: WAIT_UNTIL_COMPLETED")),
              IsOk());
  EXPECT_THAT(CheckText<v1::SwitchModelRequest>(kSession), IsOk());
  EXPECT_THAT(CheckText<v1::ClearRequest>(
                  absl::StrCat(kSession, "turn_policy: TURN_POLICY_INTERRUPT")),
              IsOk());
  EXPECT_THAT(CheckText<v1::ResumeRequest>(
                  absl::StrCat(kSession, "agent_session_id: 'a.b:c-d_e'")),
              IsOk());
  EXPECT_THAT(CheckText<v1::ResolvePermissionRequest>(absl::StrCat(
                  kSession,
                  "permission_id: 'p' decision: PERMISSION_DECISION_ALLOW "
                  "updated_input_json: ' {\"a\": [1, {}]} '")),
              IsOk());
  EXPECT_THAT(CheckText<v1::ResolvePermissionRequest>(
                  absl::StrCat(kSession, "permission_id: 'p' option_id: 'o'")),
              IsOk());
  EXPECT_THAT(CheckText<v1::ListSessionsRequest>("page_size: 5000"), IsOk());
  EXPECT_THAT(CheckText<v1::ListModelsRequest>(""), IsOk());
  EXPECT_THAT(CheckText<v1::ListModelsRequest>("agent: 'claude'"), IsOk());
}

TEST_F(CheckTest, NamesEveryFieldThatIsAtFault) {
  const absl::Status status = CheckText<v1::CreateSessionRequest>(
      "session_id: 'x' agent: '-x' model: '-m' working_directory: 'tmp' "
      "labels { key: '-' value: 'v' } request_id: 'y'");
  EXPECT_THAT(
      FieldViolationsOf(status),
      UnorderedElementsAre(Field(&FieldViolation::field, "session_id"),
                           Field(&FieldViolation::field, "agent"),
                           Field(&FieldViolation::field, "model"),
                           Field(&FieldViolation::field, "working_directory"),
                           Field(&FieldViolation::field, "labels"),
                           Field(&FieldViolation::field, "request_id")));
}

TEST_F(CheckTest, ShowsNoMoreOfABadValueThanItsBeginning) {
  v1::GetSessionRequest request;
  request.set_session_id(std::string(100000, 'x') + "\x01");
  const absl::Status status = Check(request, rules_);
  EXPECT_LT(status.message().size(), 200u);
}

TEST_F(CheckTest, BoundsTextsInBytes) {
  v1::SendMessageRequest request = Parse<v1::SendMessageRequest>(kSession);
  request.set_text(std::string(100, 'x'));
  EXPECT_THAT(Check(request, rules_), IsOk());
  request.set_text(std::string(101, 'x'));
  EXPECT_THAT(Check(request, rules_), HasReason(Reason::kFieldInvalid));
}

TEST_F(CheckTest, WantsAnAgentWhereThereAreSeveral) {
  EXPECT_THAT(Check(In("/tmp"), rules_), IsOk());
  rules_.agents.push_back("codex");
  const absl::Status status = Check(In("/tmp"), rules_);
  EXPECT_THAT(FieldViolationsOf(status),
              ElementsAre(Field(&FieldViolation::field, "agent")));
  EXPECT_THAT(CheckText<v1::ListModelsRequest>(""),
              HasReason(Reason::kFieldInvalid));
}

TEST_F(CheckTest, NamesTheFieldOfAnAgentThatDoesNotExist) {
  v1::CreateSessionRequest request = In("/tmp");
  request.set_agent("codex");
  const absl::Status status = Check(request, rules_);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status, HasReason(Reason::kAgentNotFound));
  EXPECT_THAT(FieldViolationsOf(status),
              ElementsAre(Field(&FieldViolation::field, "agent")));
}

TEST_F(CheckTest, TakesWorkingDirectoriesUnderTheRootsOnly) {
  TempFolder folder;
  namespace fs = std::filesystem;
  const std::string root = folder.path() + "/root";
  fs::create_directories(root + "/project");
  fs::create_directories(folder.path() + "/root-beside");
  fs::create_directories(folder.path() + "/other");
  fs::create_symlink(folder.path() + "/other", root + "/way-out");
  fs::create_symlink(root + "/project", folder.path() + "/way-in");
  std::ofstream(root + "/file") << "x";
  rules_.working_directory_roots = {root};

  EXPECT_THAT(Check(In(root), rules_), IsOk());
  EXPECT_THAT(Check(In(root + "/project"), rules_), IsOk());
  EXPECT_THAT(Check(In(root + "//project/"), rules_), IsOk());
  EXPECT_THAT(Check(In(folder.path() + "/way-in"), rules_), IsOk());
  for (const std::string& path :
       {folder.path(), folder.path() + "/other", folder.path() + "/root-beside",
        root + "/way-out", root + "/missing", root + "/file", root + "/../root",
        root + "/./project", std::string("/")}) {
    EXPECT_THAT(Check(In(path), rules_), HasReason(Reason::kFieldInvalid))
        << path;
  }

  rules_.working_directory_roots = {"/"};
  EXPECT_THAT(Check(In(folder.path() + "/other"), rules_), IsOk());
}

TEST_F(CheckTest, TakesPicturesWithAndWithoutText) {
  for (const char* type :
       {"image/png", "image/jpeg", "image/gif", "image/webp"}) {
    const std::string image = absl::StrCat("parts { image { mime_type: '", type,
                                           "' data: '\\xff\\x00' } } ");
    EXPECT_THAT(CheckText<v1::SendMessageRequest>(
                    absl::StrCat(kSession, "content { ", image, "}")),
                IsOk());
    EXPECT_THAT(CheckText<v1::SendMessageRequest>(
                    absl::StrCat(kSession, "content { ", image,
                                 "parts { text: 'look' } ", image, "}")),
                IsOk());
  }
}

TEST_F(CheckTest, TakesTheMasksOfWhatCanBeChanged) {
  for (const char* mask :
       {"", "paths: 'labels'", "paths: '*'", "paths: 'labels.team'",
        "paths: 'labels.a.b-c' paths: 'labels.d' paths: 'labels'"}) {
    EXPECT_THAT(CheckText<v1::UpdateSessionRequest>(
                    absl::StrCat("session { ", kSession,
                                 "labels { key: 'team' value: '' } } "
                                 "update_mask { ",
                                 mask, "}")),
                IsOk())
        << mask;
  }
}

TEST_F(CheckTest, LetsAnAttachCommandRepeatItsRequestIdInAnyCase) {
  EXPECT_THAT(CheckText<v1::AttachRequest>(
                  "request_id: '0190AAAA-bbbb-4ccc-8ddd-eeeeeeeeeeee' "
                  "clear { request_id: '0190aaaa-BBBB-4ccc-8ddd-eeeeeeeeeeee'"
                  " }"),
              IsOk());
}

}  // namespace
}  // namespace understudy::service
