#include "session/store/sqlite.h"

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

// What the system answered when SQLite failed with `code`; 0: nothing of note.
// For a failed commit SQLite tells it only of the file itself.
int SystemError(sqlite3* db, int code) {
  const int primary = code & 0xff;
  if (primary != SQLITE_IOERR && primary != SQLITE_CANTOPEN) return 0;
  int error = sqlite3_system_errno(db);
  sqlite3_file* log = nullptr;
  if (code == SQLITE_IOERR_WRITE &&
      sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) ==
          SQLITE_OK &&
      log != nullptr && log->pMethods != nullptr) {
    int log_error = 0;
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &log_error);
    if (log_error != 0) error = log_error;
  }
  return error;
}

// Whether a failure means that there is no room. SQLite itself tells only the
// plain case. After a failed sync nobody knows what is on the disk.
bool IsFull(int code, int system_error) {
  if ((code & 0xff) == SQLITE_FULL) return true;
  const bool plain_write = code == SQLITE_IOERR_WRITE ||
                           code == SQLITE_IOERR_TRUNCATE ||
                           code == SQLITE_IOERR_SHMSIZE;
  return plain_write && (system_error == ENOSPC || system_error == EDQUOT ||
                         system_error == EFBIG);
}

int RememberLogPages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

// Settings of every connection. secure_delete: what is deleted is overwritten
// only where that costs no further write.
constexpr char kSettings[] =
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA cell_size_check=ON;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA secure_delete=FAST;"
    "PRAGMA mmap_size=0;"
    "PRAGMA wal_autocheckpoint=0;";
constexpr char kWriterSettings[] =
    "PRAGMA synchronous=FULL;"
    "PRAGMA cache_size=-8192;";
constexpr char kReaderSettings[] =
    "PRAGMA query_only=ON;"
    "PRAGMA cache_size=-1024;";

constexpr int kBusyMilliseconds = 5000;

}  // namespace

SqliteConnection::SqliteConnection(std::string path, sqlite3* db)
    : path_(std::move(path)), db_(db) {}

SqliteConnection::~SqliteConnection() { sqlite3_close_v2(db_); }

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(
    const std::string& path, Mode mode) {
  const int access =
      mode == Mode::kWriter ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &db, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  // A failed open gives a connection too, to ask for the error and to close.
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(path, db));
  if (code != SQLITE_OK) return connection->Error("open");
  sqlite3_busy_timeout(db, kBusyMilliseconds);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  UNDERSTUDY_RETURN_IF_ERROR(connection->Execute(kSettings));
  UNDERSTUDY_RETURN_IF_ERROR(connection->Execute(
      mode == Mode::kWriter ? kWriterSettings : kReaderSettings));
  // Only now: setting wal_autocheckpoint takes the hook away.
  sqlite3_wal_hook(db, &RememberLogPages, &connection->log_pages_);
  return connection;
}

absl::Status SqliteConnection::Execute(const std::string& script) {
  const int code = sqlite3_exec(db_, script.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(script);
}

absl::StatusOr<std::string> SqliteConnection::QueryText(
    const std::string& sql) {
  SqliteStatement statement(*this, sql.c_str(), sql.c_str());
  SqliteRows rows(statement);
  std::string text(rows.Next() ? rows.Bytes(0) : "");
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return text;
}

void SqliteConnection::AllowCheckpoint() {
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
}

absl::Status SqliteConnection::Checkpoint(int mode) {
  const int code =
      sqlite3_wal_checkpoint_v2(db_, nullptr, mode, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error("checkpoint");
}

bool SqliteConnection::InTransaction() const {
  return sqlite3_get_autocommit(db_) == 0;
}

absl::Status SqliteConnection::Error(std::string_view what) const {
  const int code = sqlite3_extended_errcode(db_);
  const int primary = code & 0xff;
  const int system_error = SystemError(db_, code);
  Reason reason = Reason::kStoreUnavailable;
  if (IsFull(code, system_error)) {
    reason = Reason::kStoreFull;
  } else if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
    reason = Reason::kStoreCorrupt;
  } else if (primary == SQLITE_CONSTRAINT) {
    // Every row is checked before it is written.
    reason = Reason::kStoreCorrupt;
  }
  std::string message = absl::StrCat("store ", path_, ": ", std::string(what),
                                     ": ", sqlite3_errmsg(db_), " (", code);
  if (system_error != 0) {
    absl::StrAppend(&message, ", ", std::strerror(system_error));
  }
  absl::StrAppend(&message, ")");
  return MakeError(reason, message);
}

int SqliteStatement::Compile() {
  if (statement_ != nullptr) return SQLITE_OK;
  return sqlite3_prepare_v3(db_.get(), sql_, -1, SQLITE_PREPARE_PERSISTENT,
                            &statement_, nullptr);
}

int SqliteStatement::Bind(int index, int64_t value) {
  return sqlite3_bind_int64(statement_, index, value);
}

// Sequences and epochs; what is greater than SQLite's integers is greater than
// any that exists.
int SqliteStatement::Bind(int index, uint64_t value) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  return Bind(index, static_cast<int64_t>(value < kMax ? value : kMax));
}

int SqliteStatement::Bind(int index, std::string_view text) {
  return sqlite3_bind_text64(statement_, index,
                             text.data() == nullptr ? "" : text.data(),
                             text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

int SqliteStatement::Bind(int index, SqliteBlob blob) {
  // A null pointer would be NULL, not an empty blob.
  return sqlite3_bind_blob64(
      statement_, index, blob.bytes.data() == nullptr ? "" : blob.bytes.data(),
      blob.bytes.size(), SQLITE_STATIC);
}

void SqliteRows::Fail() { status_ = statement_.db_.Error(statement_.what_); }

}  // namespace understudy::session
