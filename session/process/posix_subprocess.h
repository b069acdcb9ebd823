// PosixSubprocess: one agent behind its guard.
//
// Life: starting (the guard runs) -> running (OnStarted) -> ending -> OnExit.
// It ends when the guard is gone, which is when the agent has been reaped and
// none of its descendants is left; what is in the pipes then is all there will
// ever be, so it is read to the end before OnExit, also when reading is off.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_PROCESS_POSIX_SUBPROCESS_H_
#define UNDERSTUDY_SESSION_PROCESS_POSIX_SUBPROCESS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "session/base/event_loop.h"
#include "session/base/unique_fd.h"
#include "session/process/guard.h"
#include "session/process/guard_protocol.h"
#include "session/process/guard_reaper.h"
#include "session/process/line_buffer.h"
#include "session/process/memory_watchdog.h"
#include "session/process/stderr_tail.h"
#include "session/process/stdin_writer.h"
#include "session/process/subprocess.h"

namespace understudy::session {

class PosixSubprocess final : public Subprocess {
 public:
  // What the children of one launcher share. Outlives them.
  struct Shared {
    EventLoop& loop;
    GuardReaper& reaper;
    MemoryWatchdog& memory;
    // Pipes made larger than the default, of which a user may not have many.
    int large_pipes = 0;
  };

  PosixSubprocess(Shared& shared, Guard guard, std::string mark,
                  const Command& command, Observer* observer);
  ~PosixSubprocess() override;

  pid_t pid() const override { return pid_; }
  absl::Status WriteLine(std::string_view line) override;
  uint64_t queued_bytes() const override { return stdin_.queued_bytes(); }
  uint64_t written_bytes() const override { return stdin_.written_bytes(); }
  void Stop(absl::Duration grace) override;
  void set_reading(bool reading) override;
  void set_observer(Observer* observer) override { observer_ = observer; }

 private:
  using Clock = std::chrono::steady_clock;

  // Calls the observer, if there is one. False: it destroyed this object.
  template <typename Call>
  [[nodiscard]] bool Tell(Call call);

  // Each returns false when this object was destroyed meanwhile.
  bool ReadReports();
  bool ReadStdout();
  bool DeliverLines();

  void ReadStderr(size_t limit);
  void WatchStdout();
  void CloseStdout();
  void GrowStdout();
  void ScheduleStop();
  void OnStopTimer();
  void Order(char command);
  void OnPipeClosed(bool input);
  void WatchMemory();
  void Kill(ExitStatus::Cause why);
  void OnGuardGone();
  ExitStatus Status() const;

  Shared& shared_;
  GuardReaper::Id guard_ = 0;
  Observer* observer_;
  const MemoryBound memory_bound_;
  // Where Tell() learns that this object is gone.
  bool* destroyed_ = nullptr;

  pid_t pid_ = 0;
  // Why it was not started.
  std::optional<GuardReport> start_error_;
  std::optional<int> wait_status_;
  // Why we killed it.
  std::optional<ExitStatus::Cause> killed_for_;
  bool closed_input_ = false;
  uint64_t memory_bytes_ = 0;
  bool gone_ = false;
  uint64_t stdout_bytes_ = 0;

  bool reading_ = true;
  bool stopping_ = false;
  bool terminated_ = false;
  bool large_pipe_ = false;
  Clock::time_point terminate_at_ = Clock::time_point::max();
  Clock::time_point kill_at_ = Clock::time_point::max();

  // Descriptors before their watches: destroyed after them.
  UniqueFd socket_;
  UniqueFd stdout_;
  UniqueFd stderr_;
  StdinWriter stdin_;
  LineBuffer lines_;
  StderrTail stderr_tail_;
  std::unique_ptr<EventLoop::Handle> socket_watch_;
  std::unique_ptr<EventLoop::Handle> stdout_watch_;
  std::unique_ptr<EventLoop::Handle> stderr_watch_;
  std::unique_ptr<EventLoop::Handle> stop_timer_;
  std::unique_ptr<EventLoop::Handle> closed_pipe_timer_;
  std::unique_ptr<EventLoop::Handle> memory_watch_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_POSIX_SUBPROCESS_H_
