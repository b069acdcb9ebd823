// A part of a test in a process of its own: to be killed, to have limits, or to
// be somebody else.

#ifndef UNDERSTUDY_TESTS_SUPPORT_CHILD_PROCESS_H_
#define UNDERSTUDY_TESTS_SUPPORT_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>

namespace understudy::session {

// Runs `body` in a forked child and returns what it returns; "ended by signal
// N" or "exited N" if it does not come to that. Call it while this process has
// no other threads.
std::string RunInChild(const std::function<std::string()>& body);

// A forked child that tells numbers. Killed, and waited for, at the latest by
// the destructor.
class TellingChild {
 public:
  using Tell = std::function<void(uint64_t)>;
  explicit TellingChild(const std::function<void(const Tell&)>& body);
  ~TellingChild();
  TellingChild(const TellingChild&) = delete;
  TellingChild& operator=(const TellingChild&) = delete;

  // The next number that it has told; waits for it. False when it has ended
  // and no number is left.
  bool Next(uint64_t& number);
  // By SIGKILL. What it told before can still be read.
  void Kill();

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_CHILD_PROCESS_H_
