#include "tests/client/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "gtest/gtest.h"

namespace understudy {
namespace {

// A file of no name with `content`, read from its beginning.
int FileWith(const std::string& content) {
  const int fd = memfd_create("program", MFD_CLOEXEC);
  EXPECT_EQ(write(fd, content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string Content(int fd) {
  std::string content;
  char bytes[4096];
  lseek(fd, 0, SEEK_SET);
  for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;) {
    content.append(bytes, n);
  }
  return content;
}

}  // namespace

Program::Program(const std::vector<std::string>& argv,
                 const std::string& input) {
  int pipe_fds[2];
  EXPECT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  const int input_fd = FileWith(input);
  errors_ = FileWith("");

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input_fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors_, STDERR_FILENO);

  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::vector<std::string> settings = {"TZ=UTC"};
  for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) {
      settings.push_back(std::string(name) + "=" + value);
    }
  }
  std::vector<char*> environment;
  for (std::string& setting : settings) environment.push_back(setting.data());
  environment.push_back(nullptr);

  EXPECT_EQ(posix_spawn(&pid_, arguments[0], &actions, nullptr,
                        arguments.data(), environment.data()),
            0)
      << argv[0];
  posix_spawn_file_actions_destroy(&actions);
  close(input_fd);
  close(pipe_fds[1]);
  output_ = pipe_fds[0];
}

Program::~Program() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(output_);
  close(errors_);
}

bool Program::Fill() {
  char bytes[4096];
  const ssize_t n = read(output_, bytes, sizeof bytes);
  if (n <= 0) return false;
  unread_.append(bytes, n);
  return true;
}

std::string Program::ReadLine() {
  size_t end;
  while ((end = unread_.find('\n')) == std::string::npos) {
    if (!Fill()) return "";
  }
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  return line;
}

void Program::Signal(int signal) { kill(pid_, signal); }

Program::Result Program::Wait() {
  while (Fill()) {
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          unread_, Content(errors_)};
}

}  // namespace understudy
