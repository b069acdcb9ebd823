// One child process, its pipes and its end.
//
// Command says how it is started, Subprocess is how we talk to it and watch
// it, ExitStatus how it ended (a value, written once). Launcher is the seam to
// the operating system: the only thing that starts processes.
//
// Threads: everything on the loop.

#ifndef UNDERSTUDY_SESSION_PROCESS_SUBPROCESS_H_
#define UNDERSTUDY_SESSION_PROCESS_SUBPROCESS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/base/event_loop.h"
#include "session/process/memory_watchdog.h"

namespace understudy::session {

struct Command {
  std::vector<std::string> argv;  // argv[0] is a path or is looked up in PATH
                                  // of `env`; never passes through a shell
  std::map<std::string, std::string> env;  // complete, not a difference
  std::string cwd;                         // absolute
  size_t max_line_bytes = 32 << 20;        // a longer line ends the child
  // The memory of the child and all its descendants together: more ends it,
  // within about a second. 0: no bound.
  uint64_t max_memory_bytes = 0;
  // How long it may leave unread what its stdin's pipe has no room for.
  absl::Duration write_timeout = absl::Seconds(30);
};

struct ExitStatus {
  enum class Cause {
    kExited,        // exit_code is meaningful
    kSignaled,      // signal is meaningful, nobody here sent it
    kStopped,       // it ended after Stop() was called, by whatever means
    kNotStarted,    // its directory or its exec failed: error_number
    kLineTooLong,   // ended by us: a line above max_line_bytes
    kClosedOutput,  // ended by us: it closed its stdout and lived on, or its
                    // stdin, which showed when it was written to
    kStalled,       // ended by us: it did not read its stdin for write_timeout
    kOutOfMemory,   // ended by us: more than max_memory_bytes
    kGuardLost,     // its guard was killed; the agent was killed with it
  };
  Cause cause = Cause::kExited;
  int exit_code = 0;
  int signal = 0;
  int error_number = 0;
  bool in_directory = false;   // kNotStarted: of its directory, not its exec
  bool closed_input = false;   // kClosedOutput: its stdin, not its stdout
  uint64_t memory_bytes = 0;   // kOutOfMemory: what it had
  std::string stderr_tail{};   // at most 4 KiB of valid UTF-8, redacted
  uint64_t partial_bytes = 0;  // of a last line without a newline: discarded

  // "exited 1: <last stderr line>", "killed by signal 9", ...
  std::string ToString() const;
};

// Bytes after the end of a line given to OnLine that may be read (not
// meaningful): what simdjson needs to parse a line in place.
inline constexpr size_t kLinePadding = 64;

class Subprocess {
 public:
  // The Subprocess may be destroyed from inside each of these.
  class Observer {
   public:
    virtual ~Observer() = default;
    // The child runs (its exec succeeded). Before the first OnLine.
    virtual void OnStarted(pid_t pid) = 0;
    // One line without its newline (and without a carriage return before it).
    // The bytes may be changed in place and are gone after the call.
    virtual void OnLine(char* line, size_t size) = 0;
    // Every line of one read has been delivered: what was put off for the
    // sake of a batch happens now.
    virtual void OnLinesDone() = 0;
    // Exactly once, after the last OnLine, also when it never started. The
    // child is reaped and no descendant of it is left when this is called.
    virtual void OnExit(const ExitStatus& status) = 0;
  };

  // Kills the child and every descendant if they still run; no callback
  // follows. Their end is still awaited by the launcher, so no zombie is left.
  virtual ~Subprocess() = default;

  // 0 until OnStarted.
  virtual pid_t pid() const = 0;

  // Queues `line` and a newline for the child's stdin; written whole and in
  // order. kFailedPrecondition after Stop or the child's end, or when it has
  // closed its stdin, of which it is ended if it lives on;
  // kResourceExhausted when more than the bound (16 MiB beside one line) is
  // queued: then nothing of the line is written.
  virtual absl::Status WriteLine(std::string_view line) = 0;

  // Bytes ever handed to the kernel, and ever queued: a line queued when
  // queued_bytes() was Q before it has begun to leave when written_bytes() > Q.
  virtual uint64_t queued_bytes() const = 0;
  virtual uint64_t written_bytes() const = 0;

  // Closes stdin at once (after what is queued), SIGTERM after `grace`,
  // SIGKILL of the whole tree after `grace` again. Idempotent; a shorter grace
  // shortens. absl::ZeroDuration() kills now.
  virtual void Stop(absl::Duration grace) = 0;

  // Stops or goes on reading stdout (stderr is always drained). Lines that
  // have been read are still delivered, and so is what a child leaves in its
  // pipe when it ends: its end is never held up.
  virtual void set_reading(bool reading) = 0;

  // Where several share the child: whether others go on in it; that what it
  // says of `channel` is for this one's observer;
  virtual bool shared() const { return false; }
  virtual void Subscribe(std::string_view /*channel*/) {}
  // that what it has opened, it holds on to until it ends.
  virtual void HoldsOn() {}

  // Null detaches: what the child still says is thrown away.
  virtual void set_observer(Observer* observer) = 0;
};

class Launcher {
 public:
  // Must outlive every Subprocess; its destruction kills what is left.
  virtual ~Launcher() = default;

  // An error only when nothing was started (no descriptors, guard missing).
  // A program or a directory that is missing is an OnExit with kNotStarted.
  // Callbacks come from the loop, never from inside the call.
  virtual absl::StatusOr<std::unique_ptr<Subprocess>> Launch(
      const Command& command, Subprocess::Observer* observer) = 0;
};

struct PosixLauncherOptions {
  std::string guard_path;  // understudy-guard
  // Name=value put into the environment of every agent, by which leftovers of
  // a server that is gone are found. The value is this server's own mark, to
  // which "/" and the agent's number are added. Empty: no variable.
  std::string marker_name = "UNDERSTUDY_SERVER_MARK";
  std::string marker_value;
  MemoryWatchdog::Options memory{};
};

std::unique_ptr<Launcher> NewPosixLauncher(EventLoop& loop,
                                           PosixLauncherOptions options);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_SUBPROCESS_H_
