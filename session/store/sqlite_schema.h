// The tables of a SQLite store, and how a file comes to have them.

#ifndef UNDERSTUDY_SESSION_STORE_SQLITE_SCHEMA_H_
#define UNDERSTUDY_SESSION_STORE_SQLITE_SCHEMA_H_

#include "absl/status/status.h"
#include "session/store/sqlite.h"

namespace understudy::session {

// Brings the file to the newest version, from nothing or from an older one.
// Until it is known to be a sound store of ours the file is not touched:
//   STORE_CORRUPT      it is not a database, or a damaged one; looked at in
//                      full (that takes time) if `left_open`
//   STORE_UNAVAILABLE  it belongs to another program or a newer server
absl::Status PrepareSqliteSchema(SqliteConnection& db, bool left_open);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_SQLITE_SCHEMA_H_
