#include "session/process/stdin_writer.h"

#include <errno.h>
#include <sys/uio.h>

#include <algorithm>
#include <utility>

namespace understudy::session {

StdinWriter::StdinWriter(EventLoop& loop, UniqueFd pipe, absl::Duration timeout,
                         absl::AnyInvocable<void(End) &&> broken)
    : loop_(loop),
      pipe_(std::move(pipe)),
      timeout_(timeout),
      broken_(std::move(broken)) {}

absl::Status StdinWriter::WriteLine(std::string_view line) {
  if (!pipe_ || closing_) {
    return absl::FailedPreconditionError("its stdin is closed");
  }
  const size_t pending = pending_.size() - sent_;
  if (pending > kMaxQueuedBytes) {
    return absl::ResourceExhaustedError(
        "it does not read its stdin, and the queue is full");
  }
  size_t direct = 0;
  if (pending == 0) {
    char newline = '\n';
    const iovec parts[2] = {{const_cast<char*>(line.data()), line.size()},
                            {&newline, 1}};
    ssize_t n;
    do {
      n = writev(pipe_.get(), parts, 2);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
      Break(End::kClosed);
      return absl::FailedPreconditionError("it has closed its stdin");
    }
    if (n > 0) direct = static_cast<size_t>(n);
  }
  queued_bytes_ += line.size() + 1;
  written_bytes_ += direct;
  if (direct == line.size() + 1) return absl::OkStatus();
  pending_.append(line.substr(std::min(direct, line.size())));
  pending_.push_back('\n');
  if (watch_ == nullptr) {
    watch_ = loop_.WatchFd(pipe_.get(), EventLoop::kWritable,
                           [this](uint32_t) { Flush(); });
    AwaitReader();
  }
  return absl::OkStatus();
}

void StdinWriter::Close() {
  closing_ = true;
  if (sent_ == pending_.size()) Shut();
}

void StdinWriter::Flush() {
  const ssize_t n =
      write(pipe_.get(), pending_.data() + sent_, pending_.size() - sent_);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) Break(End::kClosed);
    return;
  }
  sent_ += static_cast<size_t>(n);
  written_bytes_ += static_cast<uint64_t>(n);
  if (sent_ == pending_.size()) {
    pending_ = std::string();
    sent_ = 0;
    watch_.reset();
    stall_.reset();
    if (closing_) Shut();
    return;
  }
  if (sent_ >= pending_.size() / 2) {
    pending_.erase(0, sent_);
    sent_ = 0;
  }
  AwaitReader();
}

void StdinWriter::AwaitReader() {
  stall_ = loop_.RunAfter(timeout_, [this] { Break(End::kStalled); });
}

void StdinWriter::Break(End end) {
  Shut();
  std::move(broken_)(end);
}

void StdinWriter::Shut() {
  watch_.reset();
  stall_.reset();
  pipe_.reset();
  pending_ = std::string();
  sent_ = 0;
}

}  // namespace understudy::session
