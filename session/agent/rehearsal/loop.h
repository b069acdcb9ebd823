// The one thread of the rehearsal agent: standard input by lines, signals,
// children, timers, and standard output when it becomes writable.
//
// Run() never blocks in a write, so a control request is read and answered
// while a turn streams. A handler does a little work per Step(); between two
// steps the loop looks at its input, except that it gives a busy handler
// kStepsPerPoll steps at a time.
//
// SIGTERM, SIGINT, SIGHUP and SIGCHLD are blocked from construction on and
// arrive through OnSignal and OnChildExit.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_LOOP_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_LOOP_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "session/agent/rehearsal/output.h"

namespace understudy::session {

class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  using Milliseconds = std::chrono::milliseconds;
  using TimerId = uint64_t;  // 0 is no timer

  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnLine(std::string_view line) = 0;
    virtual void OnInputEnd() = 0;
    virtual void OnSignal(int signal) = 0;
    virtual void OnChildExit(pid_t pid, int exit_code) = 0;
    // Does one piece of work. False: nothing to do until something happens.
    virtual bool Step() = 0;
  };

  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // Runs until Exit; answers the exit code. Output that waits is written out
  // before it returns.
  int Run(Handler& handler);
  void Exit(int code);
  bool exiting() const { return exit_code_.has_value(); }

  TimerId RunAfter(Milliseconds delay, std::function<void()> task);
  void Cancel(TimerId timer);

  void StopReading() { reading_ = false; }
  // Stops reading, and whoever writes is told so.
  void CloseInput();
  void WatchChild(pid_t pid) { children_.insert(pid); }

  // What waits to be written is lost.
  void DropOutput() { output_.Close(); }
  // Does nothing for so long, with all output written; a SIGTERM ends it and
  // the process.
  void Pause(Milliseconds duration);
  // Ignores SIGTERM from now on.
  void IgnoreTermination() { ignore_termination_ = true; }
  // Does nothing, for ever.
  [[noreturn]] void Wedge();
  // Writes all of `bytes`, waiting for the pipe; a SIGTERM ends the process.
  void WriteBlocking(std::string_view bytes);

  Output& output() { return output_; }

 private:
  using Deadline = std::pair<Clock::time_point, TimerId>;

  bool Busy() const { return busy_ && output_.pending() < kMaxPending; }
  int PollTimeout() const;
  void ReadInput();
  void DeliverLines(Handler& handler);
  void ReadSignals(Handler& handler);
  void RunTimers();
  std::optional<int> NextSignal();
  void ExitOnTermination();

  static constexpr int kStepsPerPoll = 32;
  static constexpr size_t kMaxPending = 1 << 20;

  Output output_;
  int signal_fd_;
  std::string input_;
  size_t scanned_ = 0;  // of input_, without a newline
  bool reading_ = true;
  bool input_ended_ = false;
  bool busy_ = false;
  bool ignore_termination_ = false;
  std::optional<int> exit_code_;
  std::set<pid_t> children_;
  std::map<Deadline, std::function<void()>> timers_;
  TimerId last_timer_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_LOOP_H_
