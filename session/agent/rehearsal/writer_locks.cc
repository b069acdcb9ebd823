#include "session/agent/rehearsal/writer_locks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "session/agent/rehearsal/transcript.h"

namespace understudy::session {

WriterLocks::~WriterLocks() {
  for (const auto& [id, file] : files_) close(file);
}

bool WriterLocks::Take(const std::string& session_id) {
  if (files_.count(session_id) > 0) return true;
  const std::filesystem::path folder = ConfigFolder() / "locks";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const int file =
      open((folder / session_id).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  // Without a place for locks there are none.
  if (file < 0) return true;
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    close(file);
    return false;
  }
  files_[session_id] = file;
  return true;
}

}  // namespace understudy::session
