// Text deltas as fast as the pipe takes them: lines that are formatted once and
// differ in a number only, which stands at the begin of the text ("0000042
// ......") and at the end of the frame's uuid, if it has one.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_DELTA_STREAM_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_DELTA_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "session/agent/rehearsal/output.h"

namespace understudy::session {

class DeltaStream {
 public:
  // The text of delta `number`, `bytes` long: seven digits and a space, then
  // dots; fewer digits, the last ones, if there is no room.
  static std::string Text(int64_t number, int bytes);

  // `line` is the frame of delta 0 (its text is Text(0, bytes)).
  DeltaStream(std::string line, int64_t count, int bytes);

  // Writes the next lines: all that fit in 64 KiB, by one write(2).
  void WriteBlock(Output& output);
  // Writes one line, by one write(2).
  void WriteLine(Output& output);
  // Writes nothing for so many.
  void Skip(int64_t lines) { next_ = std::min(next_ + lines, count_); }
  bool done() const { return next_ == count_; }
  int64_t written() const { return next_; }

 private:
  // Turns the line at `at` in block_ into that of delta next_.
  void Number(size_t at);

  const int64_t count_;
  int64_t next_ = 0;
  size_t line_size_;
  size_t lines_per_block_;
  size_t text_offset_;  // of the number's last digit, in a line
  int text_digits_;
  size_t uuid_offset_ = 0;  // of the uuid's last digit; 0: has none
  std::string block_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_DELTA_STREAM_H_
