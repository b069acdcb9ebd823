// LineBuffer: bytes as they are read -> lines, in place.
//
//   Span room = buffer.Prepare();
//   buffer.Commit(read(fd, room.data, room.size));
//   while (buffer.Next(&line) == LineBuffer::kLine) ...
//
// Invariants: a byte is searched for a newline once; a line is never copied
// once it is complete; memory is bounded by the longest line allowed, and is
// given back when nothing is buffered.
//
// Threads: none of its own; one at a time.

#ifndef UNDERSTUDY_SESSION_PROCESS_LINE_BUFFER_H_
#define UNDERSTUDY_SESSION_PROCESS_LINE_BUFFER_H_

#include <cstddef>
#include <memory>

namespace understudy::session {

class LineBuffer {
 public:
  // How much is read at once, as long as no longer line asks for more.
  static constexpr size_t kBlockBytes = 256 << 10;

  struct Span {
    char* data = nullptr;
    size_t size = 0;
  };
  enum Result {
    kLine,      // `line` is set
    kNeedMore,  // no complete line is left
    kTooLong,   // the next line is longer than allowed; for good
  };

  // A line, without its newline, has at most `max_line_bytes`.
  explicit LineBuffer(size_t max_line_bytes);

  // Room to read into, at least a quarter of a block. What Next returned
  // before is invalid now. Not to be called once Next has said kTooLong.
  Span Prepare();

  // The first `size` bytes of the room have been filled.
  void Commit(size_t size);

  // The next line, without its newline and without a carriage return before
  // it. Its bytes may be changed; kLinePadding bytes after it may be read, not
  // changed. Valid until the next Prepare() or Release().
  Result Next(Span* line);

  // Gives the memory back if nothing is buffered. Called when the caller has
  // taken every line of a read.
  void Release();

  // Bytes of a last line that has no newline yet.
  size_t partial_bytes() const { return end_ - begin_; }
  size_t memory_bytes() const { return capacity_; }

 private:
  void MoveTo(size_t capacity);

  const size_t max_line_bytes_;
  // capacity_ + kLinePadding bytes, of which [begin_, end_) are buffered and
  // [begin_, searched_) hold no newline.
  std::unique_ptr<char[]> bytes_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t searched_ = 0;
  size_t end_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_LINE_BUFFER_H_
