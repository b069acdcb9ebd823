#include "tests/fakes/faulty_vfs.h"

#include <cstdlib>

namespace understudy::session {

// What SQLite holds for an open file; the disk's own follows in memory.
struct FaultyFile {
  using Role = FaultyVfs::Role;

  sqlite3_file base;
  FaultyVfs* vfs;
  Role role;

  static FaultyFile* Of(sqlite3_file* file) {
    return reinterpret_cast<FaultyFile*>(file);
  }
  static sqlite3_file* Disk(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(Of(file) + 1);
  }
  static const sqlite3_io_methods* Methods(sqlite3_file* file) {
    return Disk(file)->pMethods;
  }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file,
                  int flags, int* out_flags);
  static int Close(sqlite3_file* file) {
    return Methods(file)->xClose(Disk(file));
  }
  static int Read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 at) {
    const int code = Of(file)->vfs->OnRead();
    return code != SQLITE_OK
               ? code
               : Methods(file)->xRead(Disk(file), bytes, size, at);
  }
  static int Write(sqlite3_file* file, const void* bytes, int size,
                   sqlite3_int64 at) {
    const int code = Of(file)->vfs->OnWrite(Of(file)->role);
    return code != SQLITE_OK
               ? code
               : Methods(file)->xWrite(Disk(file), bytes, size, at);
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    const int code = Of(file)->vfs->OnTruncate();
    return code != SQLITE_OK ? code
                             : Methods(file)->xTruncate(Disk(file), size);
  }
  static int Sync(sqlite3_file* file, int) {
    return Of(file)->vfs->OnSync(Of(file)->role);
  }
  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    return Methods(file)->xFileSize(Disk(file), size);
  }
  static int Lock(sqlite3_file* file, int level) {
    return Methods(file)->xLock(Disk(file), level);
  }
  static int Unlock(sqlite3_file* file, int level) {
    return Methods(file)->xUnlock(Disk(file), level);
  }
  static int CheckReservedLock(sqlite3_file* file, int* held) {
    return Methods(file)->xCheckReservedLock(Disk(file), held);
  }
  static int FileControl(sqlite3_file* file, int operation, void* argument) {
    return Methods(file)->xFileControl(Disk(file), operation, argument);
  }
  static int SectorSize(sqlite3_file* file) {
    return Methods(file)->xSectorSize(Disk(file));
  }
  static int DeviceCharacteristics(sqlite3_file* file) {
    return Methods(file)->xDeviceCharacteristics(Disk(file));
  }
  static int ShmMap(sqlite3_file* file, int page, int size, int extend,
                    void volatile** memory) {
    return Methods(file)->xShmMap(Disk(file), page, size, extend, memory);
  }
  static int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
    return Methods(file)->xShmLock(Disk(file), offset, n, flags);
  }
  static void ShmBarrier(sqlite3_file* file) {
    Methods(file)->xShmBarrier(Disk(file));
  }
  static int ShmUnmap(sqlite3_file* file, int remove) {
    return Methods(file)->xShmUnmap(Disk(file), remove);
  }
};

namespace {

constexpr char kName[] = "faulty";

const sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = &FaultyFile::Close,
    .xRead = &FaultyFile::Read,
    .xWrite = &FaultyFile::Write,
    .xTruncate = &FaultyFile::Truncate,
    .xSync = &FaultyFile::Sync,
    .xFileSize = &FaultyFile::FileSize,
    .xLock = &FaultyFile::Lock,
    .xUnlock = &FaultyFile::Unlock,
    .xCheckReservedLock = &FaultyFile::CheckReservedLock,
    .xFileControl = &FaultyFile::FileControl,
    .xSectorSize = &FaultyFile::SectorSize,
    .xDeviceCharacteristics = &FaultyFile::DeviceCharacteristics,
    .xShmMap = &FaultyFile::ShmMap,
    .xShmLock = &FaultyFile::ShmLock,
    .xShmBarrier = &FaultyFile::ShmBarrier,
    .xShmUnmap = &FaultyFile::ShmUnmap,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

}  // namespace

int FaultyFile::Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file,
                     int flags, int* out_flags) {
  FaultyVfs* const self = static_cast<FaultyVfs*>(vfs->pAppData);
  FaultyFile* const opened = Of(file);
  opened->vfs = self;
  opened->role = (flags & SQLITE_OPEN_MAIN_DB) != 0 ? Role::kDatabase
                 : (flags & SQLITE_OPEN_WAL) != 0   ? Role::kLog
                                                    : Role::kOther;
  const int code =
      self->disk_->xOpen(self->disk_, name, Disk(file), flags, out_flags);
  // A file without methods was not opened.
  file->pMethods = Disk(file)->pMethods == nullptr ? nullptr : &kMethods;
  return code;
}

FaultyVfs::FaultyVfs() : disk_(sqlite3_vfs_find(nullptr)), vfs_(*disk_) {
  vfs_.pNext = nullptr;
  vfs_.zName = kName;
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(FaultyFile)) + disk_->szOsFile;
  vfs_.xOpen = &FaultyFile::Open;
  if (sqlite3_vfs_register(&vfs_, 1) != SQLITE_OK) abort();
}

FaultyVfs::~FaultyVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(disk_, 1);
}

void FaultyVfs::FailLogSyncs(int count) {
  absl::MutexLock lock(&mu_);
  failing_log_syncs_ = count;
}

void FaultyVfs::FailCheckpoints(int count) {
  absl::MutexLock lock(&mu_);
  failing_checkpoints_ = count;
}

void FaultyVfs::Fill() {
  absl::MutexLock lock(&mu_);
  full_ = true;
}

void FaultyVfs::Empty() {
  absl::MutexLock lock(&mu_);
  full_ = false;
}

void FaultyVfs::FailCall(int n) {
  absl::MutexLock lock(&mu_);
  until_failure_ = n;
  failed_ = false;
}

bool FaultyVfs::CallFailed() const {
  absl::MutexLock lock(&mu_);
  return failed_;
}

int FaultyVfs::database_writes() const {
  absl::MutexLock lock(&mu_);
  return database_writes_;
}

int FaultyVfs::log_syncs() const {
  absl::MutexLock lock(&mu_);
  return log_syncs_;
}

bool FaultyVfs::Due() {
  if (until_failure_ == 0) return false;
  if (--until_failure_ > 0) return false;
  failed_ = true;
  return true;
}

bool FaultyVfs::FailsCheckpoint(Role role) {
  if (role != Role::kDatabase || failing_checkpoints_ == 0) return false;
  --failing_checkpoints_;
  return true;
}

int FaultyVfs::OnRead() {
  absl::MutexLock lock(&mu_);
  return Due() ? SQLITE_IOERR_READ : SQLITE_OK;
}

int FaultyVfs::OnWrite(Role role) {
  absl::MutexLock lock(&mu_);
  if (Due() || FailsCheckpoint(role)) return SQLITE_IOERR_WRITE;
  if (full_) return SQLITE_FULL;
  if (role == Role::kDatabase) ++database_writes_;
  return SQLITE_OK;
}

int FaultyVfs::OnTruncate() {
  absl::MutexLock lock(&mu_);
  return Due() ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

int FaultyVfs::OnSync(Role role) {
  absl::MutexLock lock(&mu_);
  if (role == Role::kLog) ++log_syncs_;
  if (role == Role::kLog && failing_log_syncs_ > 0) {
    --failing_log_syncs_;
    return SQLITE_IOERR_FSYNC;
  }
  return Due() || FailsCheckpoint(role) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

}  // namespace understudy::session
