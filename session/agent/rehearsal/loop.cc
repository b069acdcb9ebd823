#include "session/agent/rehearsal/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace understudy::session {
namespace {

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&signals, s);
  return signals;
}

int ExitCode(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
                                  : WEXITSTATUS(wait_status);
}

}  // namespace

Loop::Loop() : output_(STDOUT_FILENO) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals = HandledSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

Loop::~Loop() { close(signal_fd_); }

int Loop::Run(Handler& handler) {
  while (!exit_code_) {
    bool read_input = reading_ && !input_ended_;
    pollfd fds[] = {{read_input ? STDIN_FILENO : -1, POLLIN, 0},
                    {signal_fd_, POLLIN, 0},
                    {output_.pending() > 0 ? output_.fd() : -1, POLLOUT, 0}};
    poll(fds, 3, PollTimeout());
    if (fds[2].revents != 0) output_.Flush();
    if (fds[1].revents != 0) ReadSignals(handler);
    if (fds[0].revents != 0) ReadInput();
    if (!exit_code_) RunTimers();
    if (!exit_code_ && reading_) DeliverLines(handler);
    busy_ = true;
    for (int i = 0; i < kStepsPerPoll && Busy() && !exit_code_; ++i) {
      busy_ = handler.Step();
    }
  }
  WriteBlocking("");
  return *exit_code_;
}

void Loop::Exit(int code) {
  if (!exit_code_) exit_code_ = code;
}

int Loop::PollTimeout() const {
  if (Busy()) return 0;
  if (timers_.empty()) return -1;
  auto left = std::chrono::ceil<Milliseconds>(timers_.begin()->first.first -
                                              Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1 << 30));
}

void Loop::ReadInput() {
  char chunk[1 << 16];
  ssize_t n = read(STDIN_FILENO, chunk, sizeof(chunk));
  if (n > 0) input_.append(chunk, static_cast<size_t>(n));
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    input_ended_ = true;
  }
}

void Loop::DeliverLines(Handler& handler) {
  size_t start = 0;
  size_t end;
  while (!exit_code_ && reading_ &&
         (end = input_.find('\n', scanned_)) != std::string::npos) {
    handler.OnLine(std::string_view(input_).substr(start, end - start));
    start = scanned_ = end + 1;
  }
  input_.erase(0, start);
  scanned_ = reading_ ? input_.size() : 0;
  if (exit_code_ || !reading_ || !input_ended_) return;
  if (!input_.empty()) handler.OnLine(std::exchange(input_, ""));
  reading_ = false;
  if (!exit_code_) handler.OnInputEnd();
}

std::optional<int> Loop::NextSignal() {
  signalfd_siginfo info;
  if (read(signal_fd_, &info, sizeof(info)) != sizeof(info)) return {};
  return static_cast<int>(info.ssi_signo);
}

void Loop::ReadSignals(Handler& handler) {
  while (std::optional<int> signal = NextSignal()) {
    if (*signal == SIGTERM && ignore_termination_) continue;
    if (*signal != SIGCHLD) {
      handler.OnSignal(*signal);
      continue;
    }
    // Several exits may have been folded into one signal.
    for (pid_t pid : std::vector<pid_t>(children_.begin(), children_.end())) {
      int status;
      if (waitpid(pid, &status, WNOHANG) != pid) continue;
      children_.erase(pid);
      handler.OnChildExit(pid, ExitCode(status));
    }
  }
}

void Loop::CloseInput() {
  StopReading();
  // What is opened later does not take its number.
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  close(null);
}

Loop::TimerId Loop::RunAfter(Milliseconds delay, std::function<void()> task) {
  TimerId id = ++last_timer_;
  timers_.emplace(Deadline(Clock::now() + delay, id), std::move(task));
  return id;
}

void Loop::Cancel(TimerId timer) {
  auto it = std::find_if(timers_.begin(), timers_.end(), [&](const auto& t) {
    return t.first.second == timer;
  });
  if (it != timers_.end()) timers_.erase(it);
}

void Loop::RunTimers() {
  while (!timers_.empty() && timers_.begin()->first.first <= Clock::now()) {
    auto task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
}

// For when nothing else is listened to.
void Loop::ExitOnTermination() {
  if (NextSignal() == SIGTERM && !ignore_termination_) _exit(128 + SIGTERM);
}

void Loop::Pause(Milliseconds duration) {
  if (duration.count() <= 0) return;
  WriteBlocking("");
  const Clock::time_point end = Clock::now() + duration;
  while (Clock::now() < end) {
    auto left = std::chrono::ceil<Milliseconds>(end - Clock::now());
    pollfd fd = {signal_fd_, POLLIN, 0};
    if (poll(&fd, 1, static_cast<int>(left.count())) > 0) ExitOnTermination();
  }
}

void Loop::Wedge() {
  while (true) Pause(std::chrono::hours(1));
}

void Loop::WriteBlocking(std::string_view bytes) {
  output_.Raw(bytes);
  while (output_.pending() > 0) {
    pollfd fds[] = {{output_.fd(), POLLOUT, 0}, {signal_fd_, POLLIN, 0}};
    poll(fds, 2, -1);
    if (fds[1].revents != 0) ExitOnTermination();
    output_.Flush();
  }
}

}  // namespace understudy::session
