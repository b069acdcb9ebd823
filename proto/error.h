// The errors of the API, as absl::Status: a reason decides the code, and the
// details travel as payloads of the status, each a serialized message of
// google/rpc/error_details.proto under its own type URL (ErrorInfo, and
// RetryInfo or BadRequest where they belong). rpc_status.h puts the same bytes
// on the wire.
//
// Functions are pure and may be called from any thread.

#ifndef UNDERSTUDY_PROTO_ERROR_H_
#define UNDERSTUDY_PROTO_ERROR_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace understudy {

inline constexpr char kErrorDomain[] = "understudy.dev";
inline constexpr char kErrorInfoUrl[] =
    "type.googleapis.com/google.rpc.ErrorInfo";
inline constexpr char kRetryInfoUrl[] =
    "type.googleapis.com/google.rpc.RetryInfo";
inline constexpr char kBadRequestUrl[] =
    "type.googleapis.com/google.rpc.BadRequest";

// One for each condition that a client may want to tell from the others.
enum class Reason {
  kFieldInvalid,
  kSessionNotFound,
  kConversationNotFound,
  kAgentNotFound,
  kPermissionNotFound,
  kSessionExists,
  kRequestIdReused,
  kModelRejected,
  kTurnRunning,
  kPermissionResolved,
  kConversationInUse,
  kConversationUnreadable,
  kCapabilityMissing,
  kAgentStartFailed,
  kAgentStartTimeout,
  kAgentUnresponsive,
  kAgentLost,
  kCircuitOpen,
  kNoSlot,
  kQueueFull,
  kQuotaExceeded,
  kAgentLineTooLong,
  kAgentStalled,
  kAgentOutOfMemory,
  kSlowConsumer,
  kStoreUnavailable,
  kStoreFull,
  kStoreCorrupt,
  kSessionFenced,
  kOwnerLeasePending,
  kDraining,
  kSequenceOutOfRange,
  kAgentProtocol,
  kInternal,
};

// Facts for machines: exit_code, signal, delivered, turn_id, and the like.
// Never a prompt, an argument list, an environment value or a secret.
using ErrorMetadata = absl::btree_map<std::string, std::string>;

struct FieldViolation {
  std::string field;        // path within the request: "labels.team"
  std::string description;  // what it must be, and what it is
};

// All reasons, in the order of the enumeration.
absl::Span<const Reason> AllReasons();

// The name on the wire: "FIELD_INVALID".
std::string_view ReasonName(Reason reason);
absl::StatusCode ReasonCode(Reason reason);
std::optional<Reason> FindReason(std::string_view name);

// `message` is for people: what failed, on what, why. Bytes that are not UTF-8
// are replaced, for a message with them cannot be sent.
absl::Status MakeError(Reason reason, std::string_view message,
                       const ErrorMetadata& metadata = {},
                       std::optional<absl::Duration> retry_after = {});

// kFieldInvalid that names the field; with several, the message names them all.
// At least one violation is given.
absl::Status FieldInvalid(std::string_view field, std::string_view description);
absl::Status FieldInvalid(const std::vector<FieldViolation>& violations);

// What MakeError and FieldInvalid put in, also after a trip over the wire.
// Nothing if the status has no reason of this API, or one that is newer than
// this build.
std::optional<Reason> ReasonOf(const absl::Status& status);
ErrorMetadata MetadataOf(const absl::Status& status);
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);
std::vector<FieldViolation> FieldViolationsOf(const absl::Status& status);

// `text` with each byte that is not part of a UTF-8 character replaced by '?'.
std::string ValidUtf8(std::string_view text);

}  // namespace understudy

#endif  // UNDERSTUDY_PROTO_ERROR_H_
