// StderrTail: the end of what a child wrote to its stderr, fit to be shown.
// Memory is bounded whatever the child writes.

#ifndef UNDERSTUDY_SESSION_PROCESS_STDERR_TAIL_H_
#define UNDERSTUDY_SESSION_PROCESS_STDERR_TAIL_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace understudy::session {

class StderrTail {
 public:
  static constexpr size_t kMaxBytes = 4096;

  void Append(std::string_view bytes);

  // At most kMaxBytes of valid UTF-8: redacted, control characters escaped,
  // without white space at the end. When something before it was dropped, it
  // begins with a whole line, or with a whole word of a very long one: half a
  // secret could not be recognised.
  std::string Text() const;

 private:
  static constexpr size_t kKeptBytes = 2 * kMaxBytes;

  std::string bytes_;  // the last of at most 2 * kKeptBytes
  bool dropped_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_STDERR_TAIL_H_
