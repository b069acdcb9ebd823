#include "session/process/posix_subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace understudy::session {
namespace {

// How long a child may live on with its stdout, or its stdin, closed: one that
// is about to end is told by the way it does.
constexpr absl::Duration kClosedPipeGrace = absl::Seconds(1);

constexpr size_t kDefaultPipeBytes = 64 << 10;
constexpr int kLargePipeBytes = 1 << 20;
// A user has 64 MiB of pipes; when they are used up, new ones, the agents' own
// among them, have a page or two. So only what floods gets a large one.
constexpr int kMaxLargePipes = 24;

// At one go: others want to be read as well.
constexpr size_t kStderrBytes = 64 << 10;

ssize_t ReadSome(int fd, char* data, size_t size) {
  ssize_t n;
  do {
    n = read(fd, data, size);
  } while (n < 0 && errno == EINTR);
  return n;
}

bool WouldBlock(ssize_t n) { return n < 0 && errno == EAGAIN; }

}  // namespace

PosixSubprocess::PosixSubprocess(Shared& shared, Guard guard, std::string mark,
                                 const Command& command, Observer* observer)
    : shared_(shared),
      observer_(observer),
      memory_bound_{guard.pid, command.max_memory_bytes},
      socket_(std::move(guard.socket)),
      stdout_(std::move(guard.stdout_pipe)),
      stderr_(std::move(guard.stderr_pipe)),
      stdin_(shared.loop, std::move(guard.stdin_pipe), command.write_timeout,
             [this](StdinWriter::End end) {
               if (end == StdinWriter::End::kStalled) {
                 Kill(ExitStatus::Cause::kStalled);
               } else {
                 OnPipeClosed(/*input=*/true);
               }
             }),
      lines_(command.max_line_bytes) {
  guard_ = shared_.reaper.Add(std::move(guard.pidfd), std::move(mark),
                              [this] { OnGuardGone(); });
  socket_watch_ = shared_.loop.WatchFd(socket_.get(), EventLoop::kReadable,
                                       [this](uint32_t) { ReadReports(); });
  stderr_watch_ =
      shared_.loop.WatchFd(stderr_.get(), EventLoop::kReadable,
                           [this](uint32_t) { ReadStderr(kStderrBytes); });
}

PosixSubprocess::~PosixSubprocess() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  CloseStdout();
  if (gone_) return;
  // End of file on its socket: the guard kills its tree.
  shutdown(socket_.get(), SHUT_RDWR);
  shared_.reaper.Abandon(guard_);
}

template <typename Call>
bool PosixSubprocess::Tell(Call call) {
  if (observer_ == nullptr) return true;
  bool destroyed = false;
  destroyed_ = &destroyed;
  call(*observer_);
  if (destroyed) return false;
  destroyed_ = nullptr;
  return true;
}

absl::Status PosixSubprocess::WriteLine(std::string_view line) {
  absl::Status status =
      gone_ || stopping_ || start_error_.has_value() || wait_status_.has_value()
          ? absl::FailedPreconditionError("it is ending")
          : stdin_.WriteLine(line);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("write to agent ", pid_, ": ",
                                                  status.message()));
}

// --- What the guard reports -------------------------------------------------

bool PosixSubprocess::ReadReports() {
  GuardReport report;
  while (socket_) {
    const ssize_t n = recv(socket_.get(), &report, sizeof(report), 0);
    if (n < 0 && errno == EINTR) continue;
    if (WouldBlock(n)) return true;
    if (n != sizeof(report)) {
      // The guard is gone; its pidfd says so too, and how.
      socket_watch_.reset();
      return true;
    }
    switch (report.kind) {
      case GuardReport::kStarted:
        pid_ = report.value;
        shared_.reaper.SetAgent(guard_, pid_);
        WatchStdout();
        WatchMemory();
        if (!Tell([&](Observer& to) { to.OnStarted(pid_); })) return false;
        break;
      case GuardReport::kNotStarted:
      case GuardReport::kNoDirectory:
        start_error_ = report;
        break;
      case GuardReport::kEnded:
        wait_status_ = report.value;
        stop_timer_.reset();
        closed_pipe_timer_.reset();
        memory_watch_.reset();
        shared_.reaper.ExpectEnd(guard_);
        break;
    }
  }
  return true;
}

void PosixSubprocess::OnGuardGone() {
  gone_ = true;
  socket_watch_.reset();
  stdout_watch_.reset();
  stderr_watch_.reset();
  stop_timer_.reset();
  closed_pipe_timer_.reset();
  memory_watch_.reset();
  if (!ReadReports()) return;
  // Nobody is left to write: a pipe holds at most its size. The bound is for
  // an end that was handed to a stranger.
  const size_t most = large_pipe_ ? kLargePipeBytes : kDefaultPipeBytes;
  for (size_t read = 0; stdout_ && read <= most;) {
    const uint64_t before = stdout_bytes_;
    if (!ReadStdout()) return;
    if (stdout_bytes_ == before) break;
    read += stdout_bytes_ - before;
  }
  ReadStderr(2 * kDefaultPipeBytes);
  const ExitStatus status = Status();
  if (Observer* const observer = std::exchange(observer_, nullptr)) {
    observer->OnExit(status);  // may destroy this object
  }
}

ExitStatus PosixSubprocess::Status() const {
  using Cause = ExitStatus::Cause;
  ExitStatus status;
  status.stderr_tail = stderr_tail_.Text();
  status.partial_bytes = lines_.partial_bytes();
  if (start_error_.has_value()) {
    status.cause = Cause::kNotStarted;
    status.error_number = start_error_->value;
    status.in_directory = start_error_->kind == GuardReport::kNoDirectory;
    return status;
  }
  if (!wait_status_.has_value()) {
    status.cause = Cause::kGuardLost;
    status.signal = SIGKILL;
  } else if (WIFSIGNALED(*wait_status_)) {
    status.cause = Cause::kSignaled;
    status.signal = WTERMSIG(*wait_status_);
  } else {
    status.cause = Cause::kExited;
    status.exit_code = WEXITSTATUS(*wait_status_);
  }
  if (stopping_) {
    status.cause = Cause::kStopped;
  } else if (killed_for_.has_value()) {
    status.cause = *killed_for_;
    status.closed_input = status.cause == Cause::kClosedOutput && closed_input_;
    status.memory_bytes = memory_bytes_;
  }
  return status;
}

// --- What the child says ----------------------------------------------------

void PosixSubprocess::WatchStdout() {
  if (!reading_ || !stdout_ || pid_ == 0 || gone_ || stdout_watch_) return;
  stdout_watch_ = shared_.loop.WatchFd(stdout_.get(), EventLoop::kReadable,
                                       [this](uint32_t) { ReadStdout(); });
}

void PosixSubprocess::set_reading(bool reading) {
  reading_ = reading;
  if (reading) {
    WatchStdout();
  } else {
    stdout_watch_.reset();
  }
}

bool PosixSubprocess::ReadStdout() {
  const LineBuffer::Span room = lines_.Prepare();
  const ssize_t n = ReadSome(stdout_.get(), room.data, room.size);
  if (n > 0) {
    stdout_bytes_ += static_cast<uint64_t>(n);
    lines_.Commit(static_cast<size_t>(n));
    if (static_cast<size_t>(n) >= kDefaultPipeBytes) GrowStdout();
    return DeliverLines();
  }
  lines_.Release();
  if (WouldBlock(n)) return true;
  CloseStdout();
  OnPipeClosed(/*input=*/false);
  return true;
}

bool PosixSubprocess::DeliverLines() {
  LineBuffer::Span line;
  bool any = false;
  for (;;) {
    switch (lines_.Next(&line)) {
      case LineBuffer::kLine:
        any = true;
        if (!Tell([&](Observer& to) { to.OnLine(line.data, line.size); })) {
          return false;
        }
        continue;
      case LineBuffer::kTooLong:
        CloseStdout();
        Kill(ExitStatus::Cause::kLineTooLong);
        break;
      case LineBuffer::kNeedMore:
        lines_.Release();
        break;
    }
    break;
  }
  return !any || Tell([](Observer& to) { to.OnLinesDone(); });
}

void PosixSubprocess::CloseStdout() {
  stdout_watch_.reset();
  stdout_.reset();
  if (std::exchange(large_pipe_, false)) --shared_.large_pipes;
}

void PosixSubprocess::GrowStdout() {
  if (large_pipe_ || gone_ || shared_.large_pipes >= kMaxLargePipes) return;
  // Refused when the user's pipes are used up: then it stays as it is.
  if (fcntl(stdout_.get(), F_SETPIPE_SZ, kLargePipeBytes) < 0) return;
  large_pipe_ = true;
  ++shared_.large_pipes;
}

void PosixSubprocess::ReadStderr(size_t limit) {
  char bytes[4096];
  for (size_t done = 0; stderr_ && done < limit;) {
    const ssize_t n = ReadSome(stderr_.get(), bytes, sizeof(bytes));
    if (WouldBlock(n)) return;
    if (n <= 0) {
      stderr_watch_.reset();
      stderr_.reset();
      return;
    }
    stderr_tail_.Append({bytes, static_cast<size_t>(n)});
    done += static_cast<size_t>(n);
  }
}

// --- Its end ----------------------------------------------------------------

void PosixSubprocess::Stop(absl::Duration grace) {
  if (gone_ || start_error_.has_value() || wait_status_.has_value()) return;
  stopping_ = true;
  closed_pipe_timer_.reset();
  stdin_.Close();
  if (grace >= absl::Hours(24 * 365)) return;  // never, and no overflow
  const auto now = Clock::now();
  const auto wait = absl::ToChronoNanoseconds(grace);
  terminate_at_ = std::min(terminate_at_, now + wait);
  kill_at_ = std::min(kill_at_, now + 2 * wait);
  if (grace <= absl::ZeroDuration()) {
    OnStopTimer();
  } else {
    ScheduleStop();
  }
}

void PosixSubprocess::ScheduleStop() {
  const auto at = terminated_ ? kill_at_ : terminate_at_;
  stop_timer_ = shared_.loop.RunAfter(absl::FromChrono(at - Clock::now()),
                                      [this] { OnStopTimer(); });
}

void PosixSubprocess::OnStopTimer() {
  const auto now = Clock::now();
  if (now >= kill_at_) {
    stop_timer_.reset();
    Order(kGuardKill);
    shared_.reaper.ExpectEnd(guard_);
    return;
  }
  if (!terminated_ && now >= terminate_at_) {
    terminated_ = true;
    Order(kGuardTerminate);
  }
  ScheduleStop();
}

void PosixSubprocess::OnPipeClosed(bool input) {
  if (gone_ || stopping_ || wait_status_.has_value() || closed_pipe_timer_) {
    return;
  }
  closed_pipe_timer_ = shared_.loop.RunAfter(kClosedPipeGrace, [this, input] {
    closed_input_ = input;
    Kill(ExitStatus::Cause::kClosedOutput);
  });
}

void PosixSubprocess::WatchMemory() {
  if (memory_bound_.bytes == 0) return;
  memory_watch_ = shared_.memory.Watch(memory_bound_, [this](uint64_t bytes) {
    memory_bytes_ = bytes;
    Kill(ExitStatus::Cause::kOutOfMemory);
  });
}

void PosixSubprocess::Kill(ExitStatus::Cause why) {
  if (!killed_for_.has_value()) killed_for_ = why;
  Order(kGuardKill);
  shared_.reaper.ExpectEnd(guard_);
}

void PosixSubprocess::Order(char command) {
  // If the guard is gone, its pidfd says so.
  (void)send(socket_.get(), &command, 1, MSG_NOSIGNAL);
}

}  // namespace understudy::session
