#include "proto/error.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/rpc/error_details.pb.h"

namespace understudy {
namespace {

struct Row {
  Reason reason;
  std::string_view name;
  absl::StatusCode code;
};

// The one table of conditions and their codes.
constexpr Row kRows[] = {
    {Reason::kFieldInvalid, "FIELD_INVALID",
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
    {Reason::kModelRejected, "MODEL_REJECTED",
     absl::StatusCode::kInvalidArgument},
    {Reason::kTurnRunning, "TURN_RUNNING",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kPermissionResolved, "PERMISSION_RESOLVED",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kConversationInUse, "CONVERSATION_IN_USE",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kConversationUnreadable, "CONVERSATION_UNREADABLE",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kCapabilityMissing, "CAPABILITY_MISSING",
     absl::StatusCode::kUnimplemented},
    {Reason::kAgentStartFailed, "AGENT_START_FAILED",
     absl::StatusCode::kFailedPrecondition},
    {Reason::kAgentStartTimeout, "AGENT_START_TIMEOUT",
     absl::StatusCode::kUnavailable},
    {Reason::kAgentUnresponsive, "AGENT_UNRESPONSIVE",
     absl::StatusCode::kUnavailable},
    {Reason::kAgentLost, "AGENT_LOST", absl::StatusCode::kUnavailable},
    {Reason::kCircuitOpen, "CIRCUIT_OPEN", absl::StatusCode::kUnavailable},
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
    {Reason::kStoreUnavailable, "STORE_UNAVAILABLE",
     absl::StatusCode::kUnavailable},
    {Reason::kStoreFull, "STORE_FULL", absl::StatusCode::kResourceExhausted},
    {Reason::kStoreCorrupt, "STORE_CORRUPT", absl::StatusCode::kDataLoss},
    {Reason::kSessionFenced, "SESSION_FENCED", absl::StatusCode::kAborted},
    {Reason::kOwnerLeasePending, "OWNER_LEASE_PENDING",
     absl::StatusCode::kUnavailable},
    {Reason::kDraining, "DRAINING", absl::StatusCode::kUnavailable},
    {Reason::kSequenceOutOfRange, "SEQUENCE_OUT_OF_RANGE",
     absl::StatusCode::kOutOfRange},
    {Reason::kAgentProtocol, "AGENT_PROTOCOL", absl::StatusCode::kInternal},
    {Reason::kInternal, "INTERNAL", absl::StatusCode::kInternal},
};

constexpr bool RowsFollowTheEnumeration() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (static_cast<size_t>(kRows[i].reason) != i) return false;
  }
  return std::size(kRows) == static_cast<size_t>(Reason::kInternal) + 1;
}
static_assert(RowsFollowTheEnumeration());

constexpr auto kReasons = [] {
  std::array<Reason, std::size(kRows)> reasons{};
  for (size_t i = 0; i < reasons.size(); ++i) reasons[i] = kRows[i].reason;
  return reasons;
}();

const Row& RowOf(Reason reason) { return kRows[static_cast<size_t>(reason)]; }

// Maps are written in the order of their keys, so that equal errors are equal
// statuses.
template <typename Details>
void Attach(absl::Status& status, const char* url, const Details& details) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    details.SerializeToCodedStream(&coded);
  }
  status.SetPayload(url, absl::Cord(std::move(bytes)));
}

template <typename Details>
std::optional<Details> DetailsOf(const absl::Status& status, const char* url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  Details details;
  if (!payload.has_value() || !details.ParseFromString(std::string(*payload))) {
    return std::nullopt;
  }
  return details;
}

std::optional<google::rpc::ErrorInfo> ErrorInfoOf(const absl::Status& status) {
  auto info = DetailsOf<google::rpc::ErrorInfo>(status, kErrorInfoUrl);
  if (info.has_value() && info->domain() != kErrorDomain) return std::nullopt;
  return info;
}

// The length of the UTF-8 character at the start of `text`; 0 if there is none.
// Refuses what RFC 3629 does: overlong forms, surrogates, beyond U+10FFFF.
size_t CharacterLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool out_of_bounds =
      (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
      (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F);
  return out_of_bounds ? 0 : length;
}

}  // namespace

absl::Span<const Reason> AllReasons() { return kReasons; }

std::string_view ReasonName(Reason reason) { return RowOf(reason).name; }

absl::StatusCode ReasonCode(Reason reason) { return RowOf(reason).code; }

std::optional<Reason> FindReason(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) return row.reason;
  }
  return std::nullopt;
}

absl::Status MakeError(Reason reason, std::string_view message,
                       const ErrorMetadata& metadata,
                       std::optional<absl::Duration> retry_after) {
  absl::Status status(ReasonCode(reason), ValidUtf8(message));
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(ReasonName(reason)));
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : metadata) {
    (*info.mutable_metadata())[ValidUtf8(key)] = ValidUtf8(value);
  }
  Attach(status, kErrorInfoUrl, info);
  if (retry_after.has_value()) {
    google::rpc::RetryInfo retry;
    absl::Duration rest =
        std::clamp(*retry_after, absl::ZeroDuration(), absl::Hours(24 * 365));
    auto& delay = *retry.mutable_retry_delay();
    delay.set_seconds(absl::IDivDuration(rest, absl::Seconds(1), &rest));
    delay.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
    Attach(status, kRetryInfoUrl, retry);
  }
  return status;
}

absl::Status FieldInvalid(std::string_view field,
                          std::string_view description) {
  return FieldInvalid({{std::string(field), std::string(description)}});
}

absl::Status FieldInvalid(const std::vector<FieldViolation>& violations) {
  assert(!violations.empty());
  absl::Status status = MakeError(
      Reason::kFieldInvalid,
      absl::StrJoin(violations, "; ", [](std::string* out, const auto& v) {
        absl::StrAppend(out, v.field, ": ", v.description);
      }));
  google::rpc::BadRequest request;
  for (const FieldViolation& violation : violations) {
    auto& added = *request.add_field_violations();
    added.set_field(ValidUtf8(violation.field));
    added.set_description(ValidUtf8(violation.description));
  }
  Attach(status, kBadRequestUrl, request);
  return status;
}

std::optional<Reason> ReasonOf(const absl::Status& status) {
  const auto info = ErrorInfoOf(status);
  if (!info.has_value()) return std::nullopt;
  return FindReason(info->reason());
}

ErrorMetadata MetadataOf(const absl::Status& status) {
  const auto info = ErrorInfoOf(status);
  if (!info.has_value()) return {};
  return {info->metadata().begin(), info->metadata().end()};
}

std::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  const auto retry = DetailsOf<google::rpc::RetryInfo>(status, kRetryInfoUrl);
  if (!retry.has_value()) return std::nullopt;
  return absl::Seconds(retry->retry_delay().seconds()) +
         absl::Nanoseconds(retry->retry_delay().nanos());
}

std::vector<FieldViolation> FieldViolationsOf(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  const auto request =
      DetailsOf<google::rpc::BadRequest>(status, kBadRequestUrl);
  if (!request.has_value()) return violations;
  for (const auto& violation : request->field_violations()) {
    violations.push_back({violation.field(), violation.description()});
  }
  return violations;
}

std::string ValidUtf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t length = CharacterLength(text);
    if (length == 0) {
      valid.push_back('?');
      text.remove_prefix(1);
    } else {
      valid.append(text.substr(0, length));
      text.remove_prefix(length);
    }
  }
  return valid;
}

}  // namespace understudy
