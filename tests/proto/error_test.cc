#include "proto/error.h"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace understudy {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

struct Expected {
  Reason reason;
  std::string_view name;
  absl::StatusCode code;
};

// The error table of the API, written down a second time on purpose: clients
// branch on it.
const Expected kExpected[] = {
    {Reason::kFieldInvalid, "FIELD_INVALID",
     absl::StatusCode::kInvalidArgument},
    {Reason::kModelRejected, "MODEL_REJECTED",
     absl::StatusCode::kInvalidArgument},
    {Reason::kSessionNotFound, "SESSION_NOT_FOUND",
     absl::StatusCode::kNotFound},
    {Reason::kConversationNotFound, "CONVERSATION_NOT_FOUND",
     absl::StatusCode::kNotFound},
    {Reason::kAgentNotFound, "AGENT_NOT_FOUND", absl::StatusCode::kNotFound},
    {Reason::kPermissionNotFound, "PERMISSION_NOT_FOUND",
     absl::StatusCode::kNotFound},
    {Reason::kSessionExists, "SESSION_EXISTS",
     absl::StatusCode::kAlreadyExists},
    {Reason::kRequestIdReused, "REQUEST_ID_REUSED",
     absl::StatusCode::kAlreadyExists},
    {Reason::kTurnRunning, "TURN_RUNNING",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kPermissionResolved, "PERMISSION_RESOLVED",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kConversationInUse, "CONVERSATION_IN_USE",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kConversationUnreadable, "CONVERSATION_UNREADABLE",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kAgentStartFailed, "AGENT_START_FAILED",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kCapabilityMissing, "CAPABILITY_MISSING",
     absl::StatusCode::kUnimplemented},
    {Reason::kAgentStartTimeout, "AGENT_START_TIMEOUT",
     absl::StatusCode::kUnavailable},
    {Reason::kAgentUnresponsive, "AGENT_UNRESPONSIVE",
     absl::StatusCode::kUnavailable},
    {Reason::kAgentLost, "AGENT_LOST", absl::StatusCode::kUnavailable},
    {Reason::kCircuitOpen, "CIRCUIT_OPEN", absl::StatusCode::kUnavailable},
    {Reason::kStoreUnavailable, "STORE_UNAVAILABLE",
     absl::StatusCode::kUnavailable},
    {Reason::kOwnerLeasePending, "OWNER_LEASE_PENDING",
     absl::StatusCode::kUnavailable},
    {Reason::kDraining, "DRAINING", absl::StatusCode::kUnavailable},
    {Reason::kNoSlot, "NO_SLOT", absl::StatusCode::kResourceExhausted},
    {Reason::kQueueFull, "QUEUE_FULL", absl::StatusCode::kResourceExhausted},
    {Reason::kQuotaExceeded, "QUOTA_EXCEEDED",
     absl::StatusCode::kResourceExhausted},
    {Reason::kAgentLineTooLong, "AGENT_LINE_TOO_LONG",
     absl::StatusCode::kResourceExhausted},
    {Reason::kAgentStalled, "AGENT_STALLED",
     absl::StatusCode::kResourceExhausted},
    {Reason::kAgentOutOfMemory, "AGENT_OUT_OF_MEMORY",
     absl::StatusCode::kResourceExhausted},
    {Reason::kSlowConsumer, "SLOW_CONSUMER",
     absl::StatusCode::kResourceExhausted},
    {Reason::kStoreFull, "STORE_FULL", absl::StatusCode::kResourceExhausted},
    {Reason::kStoreCorrupt, "STORE_CORRUPT", absl::StatusCode::kDataLoss},
    {Reason::kSessionFenced, "SESSION_FENCED", absl::StatusCode::kAborted},
    {Reason::kSequenceOutOfRange, "SEQUENCE_OUT_OF_RANGE",
     absl::StatusCode::kOutOfRange},
    {Reason::kAgentProtocol, "AGENT_PROTOCOL", absl::StatusCode::kInternal},
    {Reason::kInternal, "INTERNAL", absl::StatusCode::kInternal},
};

TEST(ErrorTest, EveryReasonHasTheNameAndCodeOfTheApi) {
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(expected.name);
    EXPECT_EQ(ReasonName(expected.reason), expected.name);
    EXPECT_EQ(ReasonCode(expected.reason), expected.code);
    EXPECT_THAT(FindReason(expected.name), Optional(Eq(expected.reason)));

    const absl::Status error = MakeError(expected.reason, "why");
    EXPECT_EQ(error.code(), expected.code);
    EXPECT_EQ(error.message(), "why");
    EXPECT_THAT(ReasonOf(error), Optional(Eq(expected.reason)));
  }
}

TEST(ErrorTest, TheTableHasNoOtherReasons) {
  std::set<Reason> expected;
  for (const Expected& row : kExpected) expected.insert(row.reason);
  EXPECT_EQ(expected,
            std::set<Reason>(AllReasons().begin(), AllReasons().end()));
}

TEST(ErrorTest, KeepsMetadataAndRetryDelay) {
  const absl::Status error = MakeError(
      Reason::kCircuitOpen, "agent claude keeps dying",
      {{"exit_code", "1"}, {"delivered", "MAYBE"}}, absl::Milliseconds(1500));

  EXPECT_THAT(MetadataOf(error),
              ElementsAre(Pair("delivered", "MAYBE"), Pair("exit_code", "1")));
  EXPECT_THAT(RetryAfterOf(error), Optional(Eq(absl::Milliseconds(1500))));
}

TEST(ErrorTest, HasNoRetryDelayUnlessGiven) {
  EXPECT_EQ(RetryAfterOf(MakeError(Reason::kDraining, "")), std::nullopt);
}

TEST(ErrorTest, BringsARetryDelayIntoTheRangeOfTheWire) {
  EXPECT_THAT(RetryAfterOf(MakeError(Reason::kNoSlot, "", {},
                                     -absl::InfiniteDuration())),
              Optional(Eq(absl::ZeroDuration())));
  EXPECT_THAT(RetryAfterOf(
                  MakeError(Reason::kNoSlot, "", {}, absl::InfiniteDuration())),
              Optional(Eq(absl::Hours(24 * 365))));
}

TEST(ErrorTest, FieldInvalidNamesTheField) {
  const absl::Status error = FieldInvalid("session_id", "is not a UUID");

  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error.message(), "session_id: is not a UUID");
  EXPECT_THAT(ReasonOf(error), Optional(Eq(Reason::kFieldInvalid)));
  const std::vector<FieldViolation> violations = FieldViolationsOf(error);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "session_id");
  EXPECT_EQ(violations[0].description, "is not a UUID");
}

TEST(ErrorTest, FieldInvalidNamesAllFields) {
  const absl::Status error = FieldInvalid({{"model", "a"}, {"text", "b"}});

  EXPECT_EQ(error.message(), "model: a; text: b");
  EXPECT_EQ(FieldViolationsOf(error).size(), 2u);
}

TEST(ErrorTest, AStatusFromElsewhereHasNoReason) {
  EXPECT_EQ(ReasonOf(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(ReasonOf(absl::NotFoundError("x")), std::nullopt);
  EXPECT_THAT(MetadataOf(absl::NotFoundError("x")), IsEmpty());
  EXPECT_THAT(FieldViolationsOf(absl::NotFoundError("x")), IsEmpty());
}

TEST(ErrorTest, AReasonOfAnotherDomainIsNotOurs) {
  absl::Status status = absl::NotFoundError("x");
  status.SetPayload(kErrorInfoUrl, absl::Cord("\x0a\x11SESSION_NOT_FOUND"
                                              "\x12\x0b"
                                              "example.com"));
  EXPECT_EQ(ReasonOf(status), std::nullopt);
}

TEST(ErrorTest, ADamagedPayloadHasNoReason) {
  absl::Status status = MakeError(Reason::kInternal, "x");
  status.SetPayload(kErrorInfoUrl, absl::Cord("\xff\xff\xff"));
  EXPECT_EQ(ReasonOf(status), std::nullopt);
}

TEST(ErrorTest, ReplacesBytesThatAreNotUtf8) {
  const absl::Status error = MakeError(Reason::kAgentLost, "bad \xff byte",
                                       {{"stderr_tail", "caf\xc3\xa9 \xc3"}});
  EXPECT_EQ(error.message(), "bad ? byte");
  EXPECT_EQ(MetadataOf(error)["stderr_tail"], "caf\xc3\xa9 ?");
}

TEST(ErrorTest, ValidUtf8KeepsWhatRfc3629Allows) {
  for (const std::string_view valid :
       {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(ValidUtf8(valid), valid);
  }
  const struct {
    std::string_view in, out;
  } kInvalid[] = {
      {"\x80", "?"},                 // continuation alone
      {"\xc0\xaf", "??"},            // overlong
      {"\xe0\x9f\xbf", "???"},       // overlong
      {"\xf0\x8f\xbf\xbf", "????"},  // overlong
      {"\xed\xa0\x80", "???"},       // surrogate
      {"\xf4\x90\x80\x80", "????"},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80", "????"},  // no such lead
      {"a\xe2\x82", "a??"},          // cut short
      {"\xe2\x28\xa1", "?(?"},       // broken in the middle
  };
  for (const auto& [in, out] : kInvalid) EXPECT_EQ(ValidUtf8(in), out);
}

}  // namespace
}  // namespace understudy
