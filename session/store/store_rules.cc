#include "session/store/store_rules.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/check.h"

namespace understudy::session {

void CheckAppend(const Append& append) {
  UNDERSTUDY_CHECK(append.kind != Append::Kind::kCreate || append.record,
                   "a session is created without a record");
  UNDERSTUDY_CHECK(
      !append.record || append.record->session_id() == append.session_id,
      "the record of another session");
  for (const StoredRequest& request : append.requests) {
    UNDERSTUDY_CHECK(
        request.scope.empty() || request.scope == append.session_id,
        "a request of another session");
  }
}

absl::Status CheckFence(const Append& append, uint64_t epoch,
                        uint64_t newest_sequence) {
  if (append.epoch == epoch && append.base_sequence == newest_sequence) {
    return absl::OkStatus();
  }
  return MakeError(
      Reason::kSessionFenced,
      absl::StrCat("write session ", append.session_id, ": it is in epoch ",
                   epoch, " at sequence ", newest_sequence,
                   ", the writer believes epoch ", append.epoch,
                   " and sequence ", append.base_sequence));
}

uint64_t OldestAfter(const Append& append, uint64_t oldest, uint64_t newest) {
  return std::max(oldest, std::min(append.oldest_sequence, newest + 1));
}

absl::Status SessionExists(std::string_view session_id) {
  return MakeError(
      Reason::kSessionExists,
      absl::StrCat("session ", std::string(session_id), " exists already"));
}

absl::Status SessionNotFound(std::string_view session_id) {
  return MakeError(
      Reason::kSessionNotFound,
      absl::StrCat("session ", std::string(session_id), " does not exist"));
}

bool IsUnfinished(const SessionRecord& record) {
  return record.open_turns_size() > 0 || record.processes_size() > 0;
}

}  // namespace understudy::session
