#include "tests/support/child_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace understudy::session {
namespace {

// A child that runs `body` with the end of a pipe to write to, and the other
// end.
std::pair<pid_t, int> Fork(const std::function<void(int)>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) abort();
  const pid_t pid = fork();
  if (pid < 0) abort();
  if (pid == 0) {
    close(ends[0]);
    body(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

}  // namespace

std::string RunInChild(const std::function<std::string()>& body) {
  const auto [pid, pipe] = Fork([&body](int end) {
    const std::string text = body();
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t n = write(end, text.data() + sent, text.size() - sent);
      if (n < 0) _exit(99);
      sent += static_cast<size_t>(n);
    }
  });
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(pipe, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<size_t>(n));
  }
  close(pipe);
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) {
    return absl::StrCat("ended by signal ", WTERMSIG(status));
  }
  if (WEXITSTATUS(status) != 0) {
    return absl::StrCat("exited ", WEXITSTATUS(status));
  }
  return text;
}

TellingChild::TellingChild(const std::function<void(const Tell&)>& body) {
  std::tie(pid_, pipe_) = Fork([&body](int end) {
    body([end](uint64_t number) {
      if (write(end, &number, sizeof(number)) != sizeof(number)) _exit(99);
    });
  });
}

TellingChild::~TellingChild() {
  Kill();
  close(pipe_);
}

bool TellingChild::Next(uint64_t& number) {
  return read(pipe_, &number, sizeof(number)) == sizeof(number);
}

void TellingChild::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
}

}  // namespace understudy::session
