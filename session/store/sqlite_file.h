// SqliteFile: the place of a SQLite store, held for one process.
//
// The folder is made if it is missing, open to its owner alone, and so is the
// file. A lock on `<file>.lock` keeps every other server out for as long as
// this lives; the kernel lets go of it when the process dies. SQLite's own
// locks would let a second writer in.
//
// Threads: immutable.

#ifndef UNDERSTUDY_SESSION_STORE_SQLITE_FILE_H_
#define UNDERSTUDY_SESSION_STORE_SQLITE_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace understudy::session {

// Whether a file system of this type (statfs's f_type) is shared with other
// machines or served by a process. SQLite's log needs memory that all its
// users share, and locks that hold.
bool IsNetworkFileSystem(uint32_t type);

class SqliteFile {
 public:
  // STORE_UNAVAILABLE: it cannot be made or is not a file, another server has
  // it, or it lies on a network file system.
  static absl::StatusOr<std::unique_ptr<SqliteFile>> Take(
      std::string_view path);
  ~SqliteFile();

  SqliteFile(const SqliteFile&) = delete;
  SqliteFile& operator=(const SqliteFile&) = delete;

  // Absolute, links resolved.
  const std::string& path() const { return path_; }

  // Whether the last server ended without closing the store: only then is
  // there something in the write-ahead log. Asked before SQLite opens it.
  bool LeftOpen() const;

 private:
  SqliteFile(std::string path, int lock_fd);

  const std::string path_;
  const int lock_fd_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_SQLITE_FILE_H_
