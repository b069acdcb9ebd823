// SQLite's C interface as three small classes: a connection, its prepared
// statements, and the rows of one execution.
//
// SqliteRows lives shorter than its statement, and a statement shorter than its
// connection. A statement is compiled when it is first used, and kept; errors
// of compiling and binding show when it is run, as errors of the step would.
//
// Threads: a connection with all that belongs to it is for one thread at a
// time; the owner sees to that.

#ifndef UNDERSTUDY_SESSION_STORE_SQLITE_H_
#define UNDERSTUDY_SESSION_STORE_SQLITE_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace understudy::session {

// Marks bytes among the arguments of a statement; plain strings are text.
struct SqliteBlob {
  std::string_view bytes;
};

class SqliteConnection {
 public:
  enum class Mode { kWriter, kReader };

  // The file must exist. A reader can change nothing, and never checkpoints.
  // A writer does not checkpoint either, not even when it is closed, before
  // AllowCheckpoint.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(
      const std::string& path, Mode mode);
  ~SqliteConnection();

  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Runs a script of statements without arguments or answers.
  absl::Status Execute(const std::string& script);

  // The first column of the first row, as text; "" if there is none.
  absl::StatusOr<std::string> QueryText(const std::string& sql);

  // From here on Checkpoint may be called, and closing the last connection
  // copies what is in the log into the file and removes the log.
  void AllowCheckpoint();

  // SQLITE_CHECKPOINT_PASSIVE or SQLITE_CHECKPOINT_TRUNCATE.
  absl::Status Checkpoint(int mode);

  // The length of the write-ahead log after the newest commit.
  int log_pages() const { return log_pages_; }

  // Whether a transaction is open. SQLite itself rolls back after some errors.
  bool InTransaction() const;

  // The reason for the newest failure on this connection: STORE_FULL,
  // STORE_CORRUPT or STORE_UNAVAILABLE. `what` failed.
  absl::Status Error(std::string_view what) const;

  const std::string& path() const { return path_; }
  sqlite3* get() const { return db_; }

 private:
  SqliteConnection(std::string path, sqlite3* db);

  const std::string path_;
  sqlite3* const db_;
  int log_pages_ = 0;
};

class SqliteStatement {
 public:
  // `what` names the statement in errors; `sql` too is a literal.
  SqliteStatement(SqliteConnection& db, const char* what, const char* sql)
      : db_(db), what_(what), sql_(sql) {}
  ~SqliteStatement() { sqlite3_finalize(statement_); }

  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  // Runs it to its end; it has no rows or they do not matter.
  template <typename... Args>
  absl::Status Run(const Args&... args);

  // Rows that the last Run inserted, changed or deleted.
  int64_t changes() const { return sqlite3_changes64(db_.get()); }

 private:
  friend class SqliteRows;

  // SQLite's result codes.
  int Compile();
  int Bind(int index, int64_t value);
  int Bind(int index, uint64_t value);
  int Bind(int index, int value) { return Bind(index, int64_t{value}); }
  int Bind(int index, bool value) { return Bind(index, int64_t{value}); }
  int Bind(int index, std::string_view text);
  int Bind(int index, const char* text) = delete;  // it would be a bool
  int Bind(int index, SqliteBlob blob);

  SqliteConnection& db_;
  const char* const what_;
  const char* const sql_;
  sqlite3_stmt* statement_ = nullptr;
};

// One execution. The arguments are not copied: they live as long as it does.
class SqliteRows {
 public:
  template <typename... Args>
  explicit SqliteRows(SqliteStatement& statement, const Args&... args)
      : statement_(statement), code_(statement.Compile()) {
    int index = 0;
    ((code_ = code_ == SQLITE_OK ? statement_.Bind(++index, args) : code_),
     ...);
    if (code_ != SQLITE_OK) Fail();
  }
  ~SqliteRows() { sqlite3_reset(statement_.statement_); }

  SqliteRows(const SqliteRows&) = delete;
  SqliteRows& operator=(const SqliteRows&) = delete;

  // False at the end, and on a failure, which status() then has.
  bool Next() {
    if (code_ != SQLITE_OK && code_ != SQLITE_ROW) return false;
    code_ = sqlite3_step(statement_.statement_);
    if (code_ == SQLITE_ROW) return true;
    if (code_ != SQLITE_DONE) Fail();
    return false;
  }

  const absl::Status& status() const { return status_; }

  // Columns of the current row; views are valid until Next or destruction.
  int64_t Int(int column) const {
    return sqlite3_column_int64(statement_.statement_, column);
  }
  uint64_t Uint(int column) const { return static_cast<uint64_t>(Int(column)); }
  std::string_view Bytes(int column) const {
    // In this order: asking for the bytes may convert the value.
    const void* bytes = sqlite3_column_blob(statement_.statement_, column);
    const int size = sqlite3_column_bytes(statement_.statement_, column);
    return {static_cast<const char*>(bytes), static_cast<size_t>(size)};
  }

 private:
  void Fail();

  SqliteStatement& statement_;
  int code_;
  absl::Status status_;
};

template <typename... Args>
absl::Status SqliteStatement::Run(const Args&... args) {
  SqliteRows rows(*this, args...);
  while (rows.Next()) {
  }
  return rows.status();
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_SQLITE_H_
