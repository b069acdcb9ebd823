// SqliteWriter: the one connection of a SQLite store that writes, and the only
// one that checkpoints. (SQLite before 3.51.3 can damage a file when two
// connections do either at the same time.)
//
// Each call is one transaction, durable when it returns OK. When the disk fails
// in the middle of a commit, the commit may yet come to light after a crash,
// even though nobody sees it now. Its outcome is then in doubt, and nothing is
// read or written until Settle has overwritten what may be left of it.
//
// What deletions leave behind goes bit by bit, with later transactions, so that
// no call takes long.
//
// Threads: for one thread at a time, but for what in_doubt() refers to.

#ifndef UNDERSTUDY_SESSION_STORE_SQLITE_WRITER_H_
#define UNDERSTUDY_SESSION_STORE_SQLITE_WRITER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "session/store/sqlite.h"
#include "session/store/sqlite_reader.h"
#include "session/store/store.h"

namespace understudy::session {

class SqliteWriter {
 public:
  // `db` is a writer's connection whose schema has been prepared, and outlives
  // it.
  explicit SqliteWriter(SqliteConnection& db) : db_(db) {}

  // As the methods of Store of the same name.
  std::vector<absl::Status> Write(absl::Span<const Append> appends);
  absl::StatusOr<StoredSession> Acquire(std::string_view session_id);

  // Forgets some of the requests older than `before`, and deletes some of what
  // is left of deleted sessions. True while there may be more.
  absl::StatusOr<bool> ForgetSome(absl::Time before);

  const std::atomic<bool>& in_doubt() const { return in_doubt_; }
  absl::Status Settle();

  // Copies the log into the file once it has grown; cheap otherwise. What
  // readers still look at stays in the log, which therefore begins anew only
  // when there is a moment without readers.
  void CheckpointIfDue();
  // The log has become so long that such a moment should be made, for
  // CheckpointAll.
  bool LogIsTooLong() const;
  void CheckpointAll();

 private:
  struct Head {
    uint64_t key = 0;
    uint64_t epoch = 0;
    uint64_t oldest = 0;
    uint64_t newest = 0;
  };

  // Runs `body` in a transaction. Its error, or that of the commit.
  absl::Status Transact(absl::FunctionRef<absl::Status()> body);
  absl::Status Commit();

  // The error is the store's; `answer` is what the append is answered.
  absl::Status Apply(const Append& append, absl::Status& answer);
  absl::StatusOr<std::optional<Head>> FindHead(std::string_view session_id);
  absl::StatusOr<Head> Create(const Append& append);
  absl::Status UpdateRecord(const Head& head, const SessionRecord& record);
  absl::Status AddRequests(const Append& append, uint64_t session_key);
  absl::Status LeaveGarbage(uint64_t session_key, uint64_t before);

  // How much a transaction may delete of what nobody needs.
  struct Budget {
    int rows;
    int64_t bytes = 4 << 20;
    bool spent() const { return rows <= 0 || bytes <= 0; }
  };
  absl::Status Sweep(Budget budget);
  absl::Status SweepEvents(uint64_t session_key, uint64_t before,
                           Budget& budget);
  absl::Status SweepRequests(uint64_t session_key, Budget& budget);

  SqliteConnection& db_;
  SqliteReader reader_{db_};
  std::atomic<bool> in_doubt_ = false;
  bool has_garbage_ = true;
  int checkpointed_pages_ = 0;
  std::string encoded_;  // kept for its memory

  SqliteStatement begin_{db_, "begin to write", "BEGIN IMMEDIATE"};
  SqliteStatement commit_{db_, "commit", "COMMIT"};
  SqliteStatement rollback_{db_, "roll back", "ROLLBACK"};
  SqliteStatement settle_{db_, "settle a commit in doubt",
                          "UPDATE doubt SET count = count + 1"};
  SqliteStatement find_head_{
      db_, "find a session",
      "SELECT session_key, epoch, oldest_sequence, newest_sequence "
      "FROM session JOIN head USING(session_key) WHERE session_id = ?"};
  SqliteStatement insert_session_{
      db_, "create a session",
      "INSERT INTO session(session_id, tenant, agent, agent_session_id, "
      "create_time, unfinished, record) VALUES(?, ?, ?, ?, ?, ?, ?)"};
  SqliteStatement insert_head_{db_, "create a session",
                               "INSERT INTO head VALUES(?, ?, ?, ?)"};
  SqliteStatement update_head_{
      db_, "write a session",
      "UPDATE head SET oldest_sequence = ?, newest_sequence = ? "
      "WHERE session_key = ?"};
  SqliteStatement update_record_{
      db_, "write a session",
      "UPDATE session SET record = ? WHERE session_key = ?"};
  // Apart, for it touches indexes.
  SqliteStatement update_keys_{
      db_, "write a session",
      "UPDATE session SET agent_session_id = ?1, unfinished = ?2 "
      "WHERE session_key = ?3 "
      "AND (agent_session_id <> ?1 OR unfinished <> ?2)"};
  SqliteStatement delete_session_{db_, "delete a session",
                                  "DELETE FROM session WHERE session_key = ?"};
  SqliteStatement raise_epoch_{
      db_, "acquire a session",
      "UPDATE head SET epoch = epoch + 1 WHERE session_key = "
      "(SELECT session_key FROM session WHERE session_id = ?)"};
  SqliteStatement insert_event_{
      db_, "write an event",
      "INSERT INTO event(session_key, sequence, bytes, raw) "
      "VALUES(?, ?, ?, ?)"};
  SqliteStatement replace_request_{
      db_, "write a request",
      "INSERT OR REPLACE INTO request(session_key, request_id, fingerprint, "
      "session_id, time, result) VALUES(?, ?, ?, ?, ?, ?)"};
  SqliteStatement forget_requests_{
      db_, "forget requests",
      "DELETE FROM request WHERE (session_key, request_id) IN "
      "(SELECT session_key, request_id FROM request WHERE time < ? LIMIT ?)"};

  SqliteStatement leave_garbage_{
      db_, "leave garbage",
      "INSERT INTO garbage VALUES(?, ?) ON CONFLICT DO UPDATE SET "
      "before_sequence = max(before_sequence, excluded.before_sequence)"};
  SqliteStatement find_garbage_{
      db_, "find garbage",
      "SELECT session_key, before_sequence FROM garbage LIMIT 1"};
  SqliteStatement garbage_events_{
      db_, "find garbage",
      "SELECT event_key, length(bytes) + length(raw) FROM event "
      "WHERE session_key = ? AND sequence < ? ORDER BY sequence LIMIT ?"};
  SqliteStatement delete_event_{db_, "delete an event",
                                "DELETE FROM event WHERE event_key = ?"};
  SqliteStatement delete_requests_{
      db_, "delete requests",
      "DELETE FROM request WHERE session_key = ?1 AND request_id IN "
      "(SELECT request_id FROM request WHERE session_key = ?1 LIMIT ?2)"};
  SqliteStatement drop_garbage_{db_, "drop garbage",
                                "DELETE FROM garbage WHERE session_key = ?"};
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_SQLITE_WRITER_H_
