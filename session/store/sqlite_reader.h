// SqliteReader: what a SQLite store can be asked, on one connection.
//
// Threads: for one thread at a time, as its connection is.

#ifndef UNDERSTUDY_SESSION_STORE_SQLITE_READER_H_
#define UNDERSTUDY_SESSION_STORE_SQLITE_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "session/store/sqlite.h"
#include "session/store/store.h"

namespace understudy::session {

class SqliteReader {
 public:
  // `db` outlives it.
  explicit SqliteReader(SqliteConnection& db) : db_(db) {}

  // As the methods of Store of the same name.
  absl::StatusOr<StoredSession> Get(std::string_view session_id);
  absl::StatusOr<Store::Page> List(std::string_view page_token, int page_size);
  absl::StatusOr<std::vector<std::string>> Unfinished();
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes);
  absl::StatusOr<std::vector<std::string>> RequestIds(std::string_view scope);
  absl::StatusOr<std::optional<StoredRequest>> FindRequest(
      std::string_view scope, std::string_view request_id);
  absl::StatusOr<std::optional<std::string>> FindByConversation(
      std::string_view tenant, std::string_view agent_session_id,
      std::string_view except);

 private:
  absl::StatusOr<StoredSession> Decode(const SqliteRows& row) const;
  absl::StatusOr<std::vector<StoredEvent>> ReadSnapshot(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes);
  absl::Status Undecodable(std::string_view what) const;

  SqliteConnection& db_;
  SqliteStatement begin_{db_, "begin to read", "BEGIN"};
  SqliteStatement end_{db_, "end a read", "COMMIT"};
  SqliteStatement get_{
      db_, "read a session",
      "SELECT record, epoch, oldest_sequence, newest_sequence "
      "FROM session JOIN head USING(session_key) WHERE session_id = ?"};
  SqliteStatement list_{
      db_, "list sessions",
      "SELECT record, epoch, oldest_sequence, newest_sequence "
      "FROM session JOIN head USING(session_key) "
      "WHERE (create_time, session_id) > (?, ?) "
      "ORDER BY create_time, session_id LIMIT ?"};
  SqliteStatement unfinished_{
      db_, "find unfinished sessions",
      "SELECT session_id FROM session WHERE unfinished ORDER BY session_id"};
  SqliteStatement find_log_{
      db_, "find a session",
      "SELECT session_key, oldest_sequence "
      "FROM session JOIN head USING(session_key) WHERE session_id = ?"};
  SqliteStatement events_{
      db_, "read events",
      "SELECT sequence, bytes, raw FROM event "
      "WHERE session_key = ? AND sequence >= ? ORDER BY sequence LIMIT ?"};
  SqliteStatement request_ids_{
      db_, "read request ids",
      "SELECT request_id FROM request WHERE session_key = iif(?1 = '', 0, "
      "(SELECT session_key FROM session WHERE session_id = ?1))"};
  SqliteStatement request_{
      db_, "read a request",
      "SELECT fingerprint, session_id, time, result FROM request "
      "WHERE session_key = iif(?1 = '', 0, "
      "(SELECT session_key FROM session WHERE session_id = ?1)) "
      "AND request_id = ?2"};
  SqliteStatement conversation_{
      db_, "find a conversation",
      "SELECT session_id FROM session WHERE agent_session_id <> '' "
      "AND agent_session_id = ? AND tenant = ? "
      "AND session_id <> ? ORDER BY session_id LIMIT 1"};
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_SQLITE_READER_H_
