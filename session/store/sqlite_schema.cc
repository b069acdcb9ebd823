#include "session/store/sqlite_schema.h"

#include <cstdint>
#include <iterator>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/error.h"
#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

// What brings a file from version i to i + 1. An entry never changes once it
// has been released.
constexpr const char* kMigrations[] = {
    // 1. What changes with every append is in `head`, apart from what is large
    // or indexed. Events lie in the order in which they were committed, so that
    // a commit for many sessions writes few pages; the index finds those of a
    // session. A session's key is never given out again: what still hangs on
    // the key of a deleted one cannot show up elsewhere, and goes when there
    // is time for it (`garbage`).
    R"sql(
      CREATE TABLE session(
        session_key INTEGER PRIMARY KEY AUTOINCREMENT,
        session_id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        agent TEXT NOT NULL,
        agent_session_id TEXT NOT NULL,
        create_time INTEGER NOT NULL,  -- nanoseconds since 1970
        unfinished INTEGER NOT NULL,   -- open turns, or a process
        record BLOB NOT NULL           -- understudy.store.SessionRecord
      ) STRICT;
      CREATE INDEX session_order ON session(create_time, session_id);
      CREATE INDEX session_conversation
        ON session(agent_session_id, tenant)
        WHERE agent_session_id <> '';
      CREATE INDEX session_unfinished
        ON session(session_id) WHERE unfinished;

      CREATE TABLE head(
        session_key INTEGER PRIMARY KEY
          REFERENCES session ON DELETE CASCADE,
        epoch INTEGER NOT NULL,
        oldest_sequence INTEGER NOT NULL,  -- newest + 1: none is retained
        newest_sequence INTEGER NOT NULL
      ) STRICT;

      CREATE TABLE event(
        event_key INTEGER PRIMARY KEY,
        session_key INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        bytes BLOB NOT NULL,           -- understudy.v1.Event without `raw`
        raw BLOB NOT NULL              -- the agent's own line
      ) STRICT;
      CREATE UNIQUE INDEX event_sequence ON event(session_key, sequence);

      CREATE TABLE request(
        session_key INTEGER NOT NULL,  -- 0: of no session
        request_id TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        session_id TEXT NOT NULL,
        time INTEGER NOT NULL,         -- nanoseconds since 1970
        result BLOB NOT NULL,          -- understudy.store.RequestResult
        PRIMARY KEY(session_key, request_id)
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX request_time ON request(time);

      -- Events before the sequence are no longer anyone's. The greatest
      -- sequence: nor is anything else under this key.
      CREATE TABLE garbage(
        session_key INTEGER PRIMARY KEY,
        before_sequence INTEGER NOT NULL
      ) STRICT;

      -- One row, written when a commit failed and its outcome was in doubt.
      CREATE TABLE doubt(count INTEGER NOT NULL) STRICT;
      INSERT INTO doubt VALUES(0);
    )sql",
};
constexpr int kVersion = std::size(kMigrations);

absl::Status Refused(const SqliteConnection& db, std::string_view why) {
  return MakeError(
      Reason::kStoreUnavailable,
      absl::StrCat("store ", db.path(), ": refused: ", std::string(why)));
}

// 0: a file without anything in it.
absl::StatusOr<int> FindVersion(SqliteConnection& db) {
  UNDERSTUDY_ASSIGN_OR_RETURN(
      const std::string tables,
      db.QueryText("SELECT count(*) FROM sqlite_schema"));
  if (tables == "0") return 0;
  UNDERSTUDY_ASSIGN_OR_RETURN(
      const std::string ours,
      db.QueryText("SELECT count(*) FROM sqlite_schema "
                   "WHERE type = 'table' AND name = 'schema_version'"));
  if (ours == "0") return Refused(db, "it is the database of another program");
  UNDERSTUDY_ASSIGN_OR_RETURN(
      const std::string text,
      db.QueryText("SELECT max(version) FROM schema_version"));
  int version = 0;
  if (!absl::SimpleAtoi(text, &version) || version < 1) {
    return Refused(db, "it is the database of another program");
  }
  return version;
}

absl::Status CheckIntegrity(SqliteConnection& db) {
  UNDERSTUDY_ASSIGN_OR_RETURN(const std::string answer,
                              db.QueryText("PRAGMA integrity_check(1)"));
  if (answer == "ok") return absl::OkStatus();
  return MakeError(
      Reason::kStoreCorrupt,
      absl::StrCat("store ", db.path(), ": check after an unclean stop: ",
                   absl::StrReplaceAll(answer, {{"\n", " "}}),
                   "; the file is left as it is"));
}

absl::Status Migrate(SqliteConnection& db, int version) {
  UNDERSTUDY_RETURN_IF_ERROR(db.Execute("BEGIN IMMEDIATE"));
  absl::Status status;
  if (version == 0) {
    status = db.Execute(
        "CREATE TABLE schema_version("
        "version INTEGER PRIMARY KEY, time INTEGER NOT NULL) STRICT");
  }
  for (; status.ok() && version < kVersion; ++version) {
    status = db.Execute(kMigrations[version]);
    if (!status.ok()) break;
    status = db.Execute(absl::StrCat("INSERT INTO schema_version VALUES(",
                                     version + 1, ", ",
                                     absl::ToUnixNanos(absl::Now()), ")"));
  }
  if (status.ok()) status = db.Execute("COMMIT");
  if (db.InTransaction()) {
    // The failure that led here is the one to tell.
    db.Execute("ROLLBACK").IgnoreError();
  }
  return status;
}

}  // namespace

absl::Status PrepareSqliteSchema(SqliteConnection& db, bool left_open) {
  UNDERSTUDY_ASSIGN_OR_RETURN(const int version, FindVersion(db));
  if (version > kVersion) {
    return Refused(db, absl::StrCat("it has schema version ", version,
                                    ", written by a newer server; this one "
                                    "knows versions up to ",
                                    kVersion));
  }
  if (left_open) UNDERSTUDY_RETURN_IF_ERROR(CheckIntegrity(db));
  UNDERSTUDY_ASSIGN_OR_RETURN(const std::string mode,
                              db.QueryText("PRAGMA journal_mode=WAL"));
  if (mode != "wal") {
    return Refused(db,
                   absl::StrCat("journal mode WAL cannot be had, only ", mode));
  }
  db.AllowCheckpoint();
  if (version < kVersion) UNDERSTUDY_RETURN_IF_ERROR(Migrate(db, version));
  return db.Checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
}

}  // namespace understudy::session
