#include "service/call_log.h"

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {
namespace {

using session::LogLevel;

// The field, if it is there and holds a UUID: anything else is not worth a
// place in the log.
std::string UuidField(const google::protobuf::Message& message,
                      const char* name) {
  const auto* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) return "";
  return session::CanonicalUuid(
             message.GetReflection()->GetString(message, field))
      .value_or("");
}

LogLevel LevelOf(std::string_view method, const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return method.starts_with("Get") || method.starts_with("List")
                 ? LogLevel::kDebug
                 : LogLevel::kInfo;
    case absl::StatusCode::kCancelled:
      return LogLevel::kDebug;  // the client has what it wanted
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return LogLevel::kError;
    default:
      return LogLevel::kInfo;
  }
}

// Of the fields at fault, at most a few.
std::string FieldNames(const absl::Status& status) {
  constexpr size_t kMaxNames = 8;
  std::vector<FieldViolation> violations = FieldViolationsOf(status);
  if (violations.size() > kMaxNames) violations.resize(kMaxNames);
  return absl::StrJoin(violations, ",", [](std::string* out, const auto& row) {
    out->append(row.field);
  });
}

// The store's errors are the operator's to act on, and quote neither clients
// nor agents.
std::string_view LoggedMessage(const std::optional<Reason>& reason,
                               const absl::Status& status) {
  const bool of_the_store = reason == Reason::kStoreUnavailable ||
                            reason == Reason::kStoreFull ||
                            reason == Reason::kStoreCorrupt;
  const absl::string_view message = status.message();
  return of_the_store ? std::string_view(message.data(), message.size())
                      : std::string_view();
}

}  // namespace

CallLog::CallLog(std::string_view method)
    : method_(method), start_(absl::Now()) {}

void CallLog::Read(const google::protobuf::Message& request) {
  session_id_ = UuidField(request, "session_id");
  if (const auto* update =
          google::protobuf::DynamicCastToGenerated<v1::UpdateSessionRequest>(
              &request)) {
    session_id_ = UuidField(update->session(), "session_id");
  }
  request_id_ = UuidField(request, "request_id");
}

void CallLog::Finish(const absl::Status& status) const {
  const LogLevel level = LevelOf(method_, status);
  if (!session::LogEnabled(level)) return;
  const std::optional<Reason> reason = ReasonOf(status);
  session::Log(
      level, "call ended",
      {{"method", method_},
       {"session_id", session_id_},
       {"request_id", request_id_},
       {"code", absl::StatusCodeToString(status.code())},
       {"reason", reason.has_value() ? ReasonName(*reason) : ""},
       {"fields", FieldNames(status)},
       {"error", LoggedMessage(reason, status)},
       {"elapsed_ms",
        absl::StrCat(absl::ToInt64Milliseconds(absl::Now() - start_))}});
}

}  // namespace understudy::service
