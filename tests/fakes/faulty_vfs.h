// FaultyVfs: the disk under SQLite, which fails when a test says so. While it
// lives, every SQLite file that is opened in this process goes through it.
// Syncs take no time: this machine will not lose its power.
//
// Threads: any.

#ifndef UNDERSTUDY_TESTS_FAKES_FAULTY_VFS_H_
#define UNDERSTUDY_TESTS_FAKES_FAULTY_VFS_H_

#include <sqlite3.h>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace understudy::session {

class FaultyVfs {
 public:
  FaultyVfs();
  // After all files have been closed.
  ~FaultyVfs();
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  // The next `count` syncs of a write-ahead log fail. What was written stays
  // written.
  void FailLogSyncs(int count);
  // The next `count` writes and syncs of a database fail.
  void FailCheckpoints(int count);
  // From now on every write fails for want of room, until Empty.
  void Fill();
  void Empty();
  // The n-th call that reads, writes, truncates or syncs fails, counted from
  // now, 1 being the next; and none after it. 0: none.
  void FailCall(int n);
  // Whether that call has come.
  bool CallFailed() const;

  // Writes to the database itself so far: only checkpoints make them.
  int database_writes() const;
  // Syncs of a log so far.
  int log_syncs() const;

 private:
  friend struct FaultyFile;
  enum class Role { kDatabase, kLog, kOther };

  // What the call in hand is to answer in place of the disk; SQLITE_OK: go on.
  int OnRead();
  int OnWrite(Role role);
  int OnTruncate();
  int OnSync(Role role);
  bool FailsCheckpoint(Role role) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Due() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  sqlite3_vfs* const disk_;
  sqlite3_vfs vfs_;
  mutable absl::Mutex mu_;
  int failing_log_syncs_ ABSL_GUARDED_BY(mu_) = 0;
  int failing_checkpoints_ ABSL_GUARDED_BY(mu_) = 0;
  bool full_ ABSL_GUARDED_BY(mu_) = false;
  int until_failure_ ABSL_GUARDED_BY(mu_) = 0;
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  int database_writes_ ABSL_GUARDED_BY(mu_) = 0;
  int log_syncs_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAULTY_VFS_H_
