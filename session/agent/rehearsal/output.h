// The agent's standard output: lines of JSON, and the bytes that a fault
// writes instead.
//
// Never blocks: what the pipe does not take is kept and written when the loop
// finds it writable, so that the agent goes on reading its input while a host
// reads slowly. Once the reader is gone everything is dropped silently, as the
// real program does.
//
// One thread.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_OUTPUT_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_OUTPUT_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace understudy::session {

class Output {
 public:
  // Takes over `fd` and makes it non-blocking if it is a pipe or a socket.
  explicit Output(int fd);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Writes `line` and a newline, in one write(2) if nothing waits before it.
  void Line(std::string_view line);
  // Writes `bytes` as they are.
  void Raw(std::string_view bytes);
  // Writes as much of what waits as the pipe takes now.
  void Flush();
  // Closes the descriptor; whatever waits, and comes later, is dropped.
  void Close();

  int fd() const { return fd_; }
  size_t pending() const { return buffer_.size() - written_; }

 private:
  int fd_;
  std::string buffer_;
  size_t written_ = 0;  // of buffer_
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_OUTPUT_H_
