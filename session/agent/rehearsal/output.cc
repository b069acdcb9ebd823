#include "session/agent/rehearsal/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace understudy::session {

Output::Output(int fd) : fd_(fd) {
  struct stat info;
  if (fstat(fd, &info) == 0 &&
      (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode))) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
}

void Output::Line(std::string_view line) {
  buffer_.append(line);
  buffer_.push_back('\n');
  Flush();
}

void Output::Raw(std::string_view bytes) {
  // The common case of a stream of full blocks is written without a copy.
  while (pending() == 0 && !bytes.empty() && fd_ >= 0) {
    ssize_t n = write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) return Close();
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (fd_ >= 0) buffer_.append(bytes);
}

void Output::Flush() {
  while (pending() > 0 && fd_ >= 0) {
    ssize_t n = write(fd_, buffer_.data() + written_, pending());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return Close();
    written_ += static_cast<size_t>(n);
  }
  buffer_.clear();
  written_ = 0;
}

void Output::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  buffer_.clear();
  written_ = 0;
}

}  // namespace understudy::session
