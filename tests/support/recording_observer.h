// Keeps what a child said, in order.

#ifndef UNDERSTUDY_TESTS_SUPPORT_RECORDING_OBSERVER_H_
#define UNDERSTUDY_TESTS_SUPPORT_RECORDING_OBSERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "session/process/subprocess.h"

namespace understudy::session {

struct RecordingObserver final : public Subprocess::Observer {
  void OnStarted(pid_t started) override {
    pid = started;
    calls += 'S';
  }
  void OnLine(char* line, size_t size) override {
    lines.emplace_back(line, size);
    if (calls.empty() || calls.back() != 'L') calls += 'L';
    if (on_line) on_line(lines.back());
  }
  void OnLinesDone() override { calls += 'D'; }
  void OnExit(const ExitStatus& status) override {
    exit = status;
    calls += 'X';
    if (on_exit) on_exit();
  }

  bool HasLine(const std::string& wanted) const {
    for (const std::string& line : lines) {
      if (line == wanted) return true;
    }
    return false;
  }

  pid_t pid = 0;
  std::vector<std::string> lines;
  std::optional<ExitStatus> exit;
  // S started, L one or more lines, D lines done, X exit.
  std::string calls;
  std::function<void(const std::string&)> on_line;
  std::function<void()> on_exit;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_RECORDING_OBSERVER_H_
