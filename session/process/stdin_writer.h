// StdinWriter: the only writer to a child's stdin. Lines are written whole and
// in order, straight to the pipe as long as it takes them, else from a bounded
// queue; the caller never blocks.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_PROCESS_STDIN_WRITER_H_
#define UNDERSTUDY_SESSION_PROCESS_STDIN_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/base/event_loop.h"
#include "session/base/unique_fd.h"

namespace understudy::session {

class StdinWriter {
 public:
  // Beside one line, which may be longer.
  static constexpr size_t kMaxQueuedBytes = 16 << 20;

  enum class End {
    kClosed,   // the child has closed its stdin, or is dead
    kStalled,  // it has read nothing of what waits for `timeout`
  };

  // `broken` is called, once, when a line could not be written: from the loop,
  // or (kClosed) from inside WriteLine.
  StdinWriter(EventLoop& loop, UniqueFd pipe, absl::Duration timeout,
              absl::AnyInvocable<void(End) &&> broken);

  // As Subprocess::WriteLine. kFailedPrecondition once closed, by either side.
  absl::Status WriteLine(std::string_view line);

  // After what is queued.
  void Close();

  uint64_t queued_bytes() const { return queued_bytes_; }
  uint64_t written_bytes() const { return written_bytes_; }

 private:
  // Hands to the pipe what it takes.
  void Flush();
  void AwaitReader();
  void Shut();
  void Break(End end);

  EventLoop& loop_;
  UniqueFd pipe_;
  const absl::Duration timeout_;
  absl::AnyInvocable<void(End) &&> broken_;
  bool closing_ = false;
  std::string pending_;  // from sent_ on
  size_t sent_ = 0;
  uint64_t queued_bytes_ = 0;
  uint64_t written_bytes_ = 0;
  // While something is pending.
  std::unique_ptr<EventLoop::Handle> watch_;
  std::unique_ptr<EventLoop::Handle> stall_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_STDIN_WRITER_H_
