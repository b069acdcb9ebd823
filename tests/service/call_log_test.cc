#include "service/call_log.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/base/log.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSession[] = "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

// The line of a call that ended so.
std::string Logged(const absl::Status& status) {
  session::InitLog(session::LogLevel::kInfo, session::LogFormat::kText);
  testing::internal::CaptureStderr();
  v1::SendMessageRequest request;
  request.set_session_id(kSession);
  request.set_request_id("a secret that is no id");
  request.set_text("a secret");
  CallLog log("SendMessage");
  log.Read(request);
  log.Finish(status);
  std::string line = testing::internal::GetCapturedStderr();
  session::InitLog(session::LogLevel::kWarning, session::LogFormat::kText);
  return line;
}

TEST(CallLogTest, NamesTheFieldsOfABadRequestAndNotWhatIsInThem) {
  EXPECT_THAT(Logged(FieldInvalid({{"request_id", "must be a UUID, not secret"},
                                   {"text", "is too long: secret"}})),
              AllOf(HasSubstr("method=SendMessage"),
                    HasSubstr(absl::StrCat("session_id=", kSession)),
                    HasSubstr("code=INVALID_ARGUMENT"),
                    HasSubstr("reason=FIELD_INVALID"),
                    HasSubstr("request_id,text"), Not(HasSubstr("secret"))));
}

TEST(CallLogTest, KeepsTheTextOfErrorsToItself) {
  for (const Reason reason : AllReasons()) {
    const bool of_the_store = reason == Reason::kStoreUnavailable ||
                              reason == Reason::kStoreFull ||
                              reason == Reason::kStoreCorrupt;
    const std::string line =
        Logged(MakeError(reason, "secret", {{"stderr_tail", "also secret"}}));
    EXPECT_THAT(line, HasSubstr(std::string(ReasonName(reason))));
    EXPECT_THAT(line, Not(HasSubstr("also")));
    // The operator must know what the matter is with the disk.
    EXPECT_EQ(line.find("secret") != std::string::npos, of_the_store) << line;
  }
}

TEST(CallLogTest, NamesAFewOfManyFields) {
  std::vector<FieldViolation> violations;
  for (int i = 0; i < 10'000; ++i) {
    violations.push_back({absl::StrCat("content.parts[", i, "]"), "is empty"});
  }
  EXPECT_LT(Logged(FieldInvalid(violations)).size(), 1000u);
}

}  // namespace
}  // namespace understudy::service
