#include "session/store/sqlite_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;

absl::Status Unavailable(const fs::path& path, std::string_view what,
                         std::string_view why) {
  return MakeError(Reason::kStoreUnavailable,
                   absl::StrCat("store ", path.string(), ": ",
                                std::string(what), ": ", std::string(why)));
}

absl::Status Failed(const fs::path& path, std::string_view what, int error) {
  return Unavailable(path, what, std::strerror(error));
}

absl::Status SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed(folder, "open the folder", errno);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  // Some file systems cannot sync a folder, and need not.
  if (error == 0 || error == EINVAL) return absl::OkStatus();
  return Failed(folder, "sync the folder", error);
}

// Makes what is missing of `folder`, from the top down, so that it survives a
// loss of power as the file in it does.
absl::Status MakeFolder(const fs::path& folder) {
  std::error_code ignored;
  if (fs::is_directory(folder, ignored)) return absl::OkStatus();
  if (folder.has_relative_path()) {
    UNDERSTUDY_RETURN_IF_ERROR(MakeFolder(folder.parent_path()));
  }
  if (mkdir(folder.c_str(), 0700) == 0) return SyncFolder(folder.parent_path());
  if (errno == EEXIST) return absl::OkStatus();
  return Failed(folder, "make the folder", errno);
}

absl::Status RefuseNetwork(const fs::path& folder) {
  struct statfs file_system;
  if (statfs(folder.c_str(), &file_system) != 0) {
    return Failed(folder, "ask for the file system", errno);
  }
  if (!IsNetworkFileSystem(static_cast<uint32_t>(file_system.f_type))) {
    return absl::OkStatus();
  }
  return Unavailable(folder, "refused",
                     "it is on a network or user-space file system; a SQLite "
                     "store needs a local disk");
}

absl::StatusOr<int> TakeLock(const fs::path& path) {
  const std::string name = absl::StrCat(path.string(), ".lock");
  const int fd =
      open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Failed(path, absl::StrCat("open ", name), errno);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) {
    return Unavailable(
        path, "refused",
        absl::StrCat("another server uses it (it holds ", name, ")"));
  }
  return Failed(path, absl::StrCat("lock ", name), error);
}

// Before SQLite opens it: closing a descriptor of a file gives up the locks
// that the process has on it. The log gets the mode of the file.
absl::Status MakeFile(const fs::path& path) {
  const int fd =
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return Failed(path, "open", errno);
  struct stat file;
  absl::Status status;
  if (fstat(fd, &file) != 0) {
    status = Failed(path, "look at it", errno);
  } else if (!S_ISREG(file.st_mode)) {
    status = Unavailable(path, "refused", "it is not a file");
  } else if ((file.st_mode & 0777) != 0600 && fchmod(fd, 0600) != 0) {
    status = Failed(path, "close it to other users", errno);
  }
  close(fd);
  return status;
}

}  // namespace

bool IsNetworkFileSystem(uint32_t type) {
  switch (type) {
    case 0x6969:      // NFS
    case 0x517B:      // SMB
    case 0xFE534D42:  // SMB2
    case 0xFF534D42:  // CIFS
    case 0x65735546:  // FUSE
    case 0x01021997:  // 9P
    case 0x00C36400:  // Ceph
    case 0x5346414F:  // AFS
    case 0x6B414653:  // AFS, the kernel's own
    case 0x73757245:  // Coda
    case 0x0BD00BD0:  // Lustre
      return true;
    default:
      return false;
  }
}

SqliteFile::SqliteFile(std::string path, int lock_fd)
    : path_(std::move(path)), lock_fd_(lock_fd) {}

SqliteFile::~SqliteFile() { close(lock_fd_); }

absl::StatusOr<std::unique_ptr<SqliteFile>> SqliteFile::Take(
    std::string_view path) {
  std::error_code error;
  const fs::path given = fs::absolute(fs::path(path), error);
  if (error) return Failed(path, "find it", error.value());
  UNDERSTUDY_RETURN_IF_ERROR(MakeFolder(given.parent_path()));
  // Two names of one file must come to one lock.
  const fs::path real = fs::weakly_canonical(given, error);
  if (error) return Failed(given, "find it", error.value());
  UNDERSTUDY_RETURN_IF_ERROR(RefuseNetwork(real.parent_path()));
  UNDERSTUDY_ASSIGN_OR_RETURN(const int lock_fd, TakeLock(real));
  std::unique_ptr<SqliteFile> file(new SqliteFile(real.string(), lock_fd));
  UNDERSTUDY_RETURN_IF_ERROR(MakeFile(real));
  return file;
}

bool SqliteFile::LeftOpen() const {
  struct stat log;
  return stat(absl::StrCat(path_, "-wal").c_str(), &log) == 0 &&
         log.st_size > 0;
}

}  // namespace understudy::session
