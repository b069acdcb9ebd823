#include "session/store/sqlite_writer.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "proto/error.h"
#include "session/base/status_macros.h"
#include "session/store/page_token.h"
#include "session/store/store_rules.h"

namespace understudy::session {
namespace {

// 4 MiB: what a checkpoint copies takes a few milliseconds.
constexpr int kCheckpointPages = 1000;
// 64 MiB.
constexpr int kTooManyPages = 16000;

// A sweep with a write of n events deletes up to 2n + this many rows: more than
// a log of constant length leaves behind.
constexpr int kSweepRows = 256;
constexpr int kForgetRows = 512;

// Of a session that is gone altogether.
constexpr uint64_t kEverything = std::numeric_limits<int64_t>::max();

absl::Status OutcomeUnknown(const absl::Status& status) {
  return MakeError(Reason::kStoreUnavailable, std::string(status.message()),
                   {{"outcome", "unknown"}});
}

}  // namespace

std::vector<absl::Status> SqliteWriter::Write(
    absl::Span<const Append> appends) {
  std::vector<absl::Status> answers(appends.size());
  if (appends.empty()) return answers;
  const absl::Status status = Transact([&]() -> absl::Status {
    size_t events = 0;
    for (size_t i = 0; i < appends.size(); ++i) {
      UNDERSTUDY_RETURN_IF_ERROR(Apply(appends[i], answers[i]));
      events += appends[i].events.size();
    }
    return Sweep({kSweepRows + 2 * static_cast<int>(events)});
  });
  if (!status.ok()) std::fill(answers.begin(), answers.end(), status);
  return answers;
}

absl::Status SqliteWriter::Transact(absl::FunctionRef<absl::Status()> body) {
  UNDERSTUDY_RETURN_IF_ERROR(Settle());
  UNDERSTUDY_RETURN_IF_ERROR(begin_.Run());
  absl::Status status = body();
  if (status.ok()) status = Commit();
  if (status.ok()) return status;
  // The failure that led here is the one to tell.
  if (db_.InTransaction()) rollback_.Run().IgnoreError();
  has_garbage_ = true;
  // The room that the log has may be used again once it has been copied.
  if (ReasonOf(status) == Reason::kStoreFull) CheckpointAll();
  return status;
}

absl::Status SqliteWriter::Commit() {
  absl::Status status = commit_.Run();
  // A full disk and whatever SQLite finds wrong show before the last page, the
  // one that makes the commit, has been written. Anything else may have come
  // after it.
  if (ReasonOf(status) != Reason::kStoreUnavailable) return status;
  in_doubt_ = true;
  return OutcomeUnknown(status);
}

// The next commit begins in the log where the failed one began; once it is
// durable, what may be left of that one does not follow from what is before it,
// and a recovery stops there.
absl::Status SqliteWriter::Settle() {
  if (!in_doubt_) return absl::OkStatus();
  absl::Status status = begin_.Run();
  if (status.ok()) status = settle_.Run();
  if (status.ok()) status = commit_.Run();
  if (db_.InTransaction()) rollback_.Run().IgnoreError();
  if (status.ok()) in_doubt_ = false;
  return status;
}

absl::Status SqliteWriter::Apply(const Append& append, absl::Status& answer) {
  CheckAppend(append);
  UNDERSTUDY_ASSIGN_OR_RETURN(std::optional<Head> found,
                              FindHead(append.session_id));
  if (append.kind == Append::Kind::kCreate) {
    if (found.has_value()) {
      answer = SessionExists(append.session_id);
      return absl::OkStatus();
    }
    UNDERSTUDY_ASSIGN_OR_RETURN(found, Create(append));
  } else if (!found.has_value()) {
    answer = SessionNotFound(append.session_id);
    return absl::OkStatus();
  } else {
    answer = CheckFence(append, found->epoch, found->newest);
    if (!answer.ok()) return absl::OkStatus();
  }
  // Nothing is refused from here on.
  const Head& head = *found;
  UNDERSTUDY_RETURN_IF_ERROR(AddRequests(append, head.key));
  if (append.kind == Append::Kind::kDelete) {
    UNDERSTUDY_RETURN_IF_ERROR(delete_session_.Run(head.key));
    return LeaveGarbage(head.key, kEverything);
  }
  uint64_t newest = head.newest;
  for (const Append::EventView& event : append.events) {
    UNDERSTUDY_RETURN_IF_ERROR(insert_event_.Run(
        head.key, ++newest, SqliteBlob{event.bytes}, SqliteBlob{event.raw}));
  }
  const uint64_t oldest = OldestAfter(append, head.oldest, newest);
  if (newest != head.newest || oldest != head.oldest) {
    UNDERSTUDY_RETURN_IF_ERROR(update_head_.Run(oldest, newest, head.key));
  }
  if (oldest != head.oldest) {
    UNDERSTUDY_RETURN_IF_ERROR(LeaveGarbage(head.key, oldest));
  }
  if (append.kind == Append::Kind::kCreate || append.record == nullptr) {
    return absl::OkStatus();
  }
  return UpdateRecord(head, *append.record);
}

absl::StatusOr<std::optional<SqliteWriter::Head>> SqliteWriter::FindHead(
    std::string_view session_id) {
  SqliteRows rows(find_head_, session_id);
  if (!rows.Next()) {
    UNDERSTUDY_RETURN_IF_ERROR(rows.status());
    return std::nullopt;
  }
  return Head{rows.Uint(0), rows.Uint(1), rows.Uint(2), rows.Uint(3)};
}

absl::StatusOr<SqliteWriter::Head> SqliteWriter::Create(const Append& append) {
  const SessionRecord& record = *append.record;
  record.SerializeToString(&encoded_);
  UNDERSTUDY_RETURN_IF_ERROR(insert_session_.Run(
      record.session_id(), record.tenant(), record.agent(),
      record.agent_session_id(), PositionOf(record).create_time,
      IsUnfinished(record), SqliteBlob{encoded_}));
  Head head;
  head.key = static_cast<uint64_t>(sqlite3_last_insert_rowid(db_.get()));
  head.epoch = append.epoch;
  head.oldest = append.base_sequence + 1;
  head.newest = append.base_sequence;
  UNDERSTUDY_RETURN_IF_ERROR(
      insert_head_.Run(head.key, head.epoch, head.oldest, head.newest));
  return head;
}

absl::Status SqliteWriter::UpdateRecord(const Head& head,
                                        const SessionRecord& record) {
  record.SerializeToString(&encoded_);
  UNDERSTUDY_RETURN_IF_ERROR(
      update_record_.Run(SqliteBlob{encoded_}, head.key));
  return update_keys_.Run(record.agent_session_id(), IsUnfinished(record),
                          head.key);
}

absl::Status SqliteWriter::AddRequests(const Append& append,
                                       uint64_t session_key) {
  for (const StoredRequest& request : append.requests) {
    request.result.SerializeToString(&encoded_);
    UNDERSTUDY_RETURN_IF_ERROR(replace_request_.Run(
        request.scope.empty() ? uint64_t{0} : session_key, request.request_id,
        SqliteBlob{request.fingerprint}, request.session_id,
        absl::ToUnixNanos(request.time), SqliteBlob{encoded_}));
  }
  return absl::OkStatus();
}

absl::StatusOr<StoredSession> SqliteWriter::Acquire(
    std::string_view session_id) {
  absl::StatusOr<StoredSession> session = SessionNotFound(session_id);
  const absl::Status status = Transact([&]() -> absl::Status {
    UNDERSTUDY_RETURN_IF_ERROR(raise_epoch_.Run(session_id));
    if (raise_epoch_.changes() > 0) session = reader_.Get(session_id);
    return session.status();
  });
  UNDERSTUDY_RETURN_IF_ERROR(status);
  return session;
}

absl::StatusOr<bool> SqliteWriter::ForgetSome(absl::Time before) {
  bool more = false;
  UNDERSTUDY_RETURN_IF_ERROR(Transact([&]() -> absl::Status {
    UNDERSTUDY_RETURN_IF_ERROR(
        forget_requests_.Run(absl::ToUnixNanos(before), kForgetRows));
    more = forget_requests_.changes() == kForgetRows;
    return Sweep({kForgetRows});
  }));
  return more || has_garbage_;
}

absl::Status SqliteWriter::LeaveGarbage(uint64_t session_key, uint64_t before) {
  has_garbage_ = true;
  return leave_garbage_.Run(session_key, before);
}

absl::Status SqliteWriter::Sweep(Budget budget) {
  while (has_garbage_ && !budget.spent()) {
    uint64_t session_key = 0;
    uint64_t before = 0;
    {
      SqliteRows rows(find_garbage_);
      if (!rows.Next()) {
        has_garbage_ = !rows.status().ok();
        return rows.status();
      }
      session_key = rows.Uint(0);
      before = rows.Uint(1);
    }
    UNDERSTUDY_RETURN_IF_ERROR(SweepEvents(session_key, before, budget));
    if (before == kEverything && !budget.spent()) {
      UNDERSTUDY_RETURN_IF_ERROR(SweepRequests(session_key, budget));
    }
    // Spent: there may be more.
    if (budget.spent()) break;
    UNDERSTUDY_RETURN_IF_ERROR(drop_garbage_.Run(session_key));
    --budget.rows;
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::SweepEvents(uint64_t session_key, uint64_t before,
                                       Budget& budget) {
  std::vector<int64_t> keys;
  {
    SqliteRows rows(garbage_events_, session_key, before, budget.rows);
    while (!budget.spent() && rows.Next()) {
      keys.push_back(rows.Int(0));
      budget.bytes -= rows.Int(1);
      --budget.rows;
    }
    UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  }
  for (const int64_t key : keys) {
    UNDERSTUDY_RETURN_IF_ERROR(delete_event_.Run(key));
  }
  return absl::OkStatus();
}

absl::Status SqliteWriter::SweepRequests(uint64_t session_key, Budget& budget) {
  UNDERSTUDY_RETURN_IF_ERROR(delete_requests_.Run(session_key, budget.rows));
  budget.rows -= static_cast<int>(delete_requests_.changes());
  return absl::OkStatus();
}

void SqliteWriter::CheckpointIfDue() {
  const int pages = db_.log_pages();
  if (pages < checkpointed_pages_) checkpointed_pages_ = 0;
  if (pages - checkpointed_pages_ >= kCheckpointPages) CheckpointAll();
}

bool SqliteWriter::LogIsTooLong() const {
  return db_.log_pages() >= kTooManyPages;
}

void SqliteWriter::CheckpointAll() {
  // What is in the log is durable and stays there until a later attempt
  // succeeds; a disk that fails for good shows in the commits.
  db_.Checkpoint(SQLITE_CHECKPOINT_PASSIVE).IgnoreError();
  checkpointed_pages_ = db_.log_pages();
}

}  // namespace understudy::session
