#include "session/process/line_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "session/process/subprocess.h"

namespace understudy::session {

LineBuffer::LineBuffer(size_t max_line_bytes)
    : max_line_bytes_(max_line_bytes) {}

LineBuffer::Span LineBuffer::Prepare() {
  const size_t partial = partial_bytes();
  constexpr size_t kLeastRoom = kBlockBytes / 4;
  if (capacity_ > kBlockBytes && partial <= kBlockBytes / 2) {
    MoveTo(kBlockBytes);  // the long line is gone
  } else if (capacity_ - partial < kLeastRoom) {
    // Doubling: each byte of a long line is moved a constant number of times.
    MoveTo(std::max(kBlockBytes, 2 * capacity_));
  } else if (capacity_ - end_ < kLeastRoom) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, partial);
    searched_ -= begin_;
    begin_ = 0;
    end_ = partial;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

void LineBuffer::MoveTo(size_t capacity) {
  const size_t partial = partial_bytes();
  auto bytes = std::make_unique_for_overwrite<char[]>(capacity + kLinePadding);
  if (partial > 0) std::memcpy(bytes.get(), bytes_.get() + begin_, partial);
  bytes_ = std::move(bytes);
  capacity_ = capacity;
  searched_ -= begin_;
  begin_ = 0;
  end_ = partial;
}

void LineBuffer::Commit(size_t size) { end_ += size; }

LineBuffer::Result LineBuffer::Next(Span* line) {
  char* const begin = bytes_.get() + begin_;
  const void* const found =
      end_ > searched_
          ? std::memchr(bytes_.get() + searched_, '\n', end_ - searched_)
          : nullptr;
  if (found == nullptr) {
    searched_ = end_;
    return partial_bytes() > max_line_bytes_ ? kTooLong : kNeedMore;
  }
  size_t size = static_cast<const char*>(found) - begin;
  if (size > max_line_bytes_) return kTooLong;
  begin_ += size + 1;
  searched_ = begin_;
  if (size > 0 && begin[size - 1] == '\r') --size;
  *line = {begin, size};
  return kLine;
}

void LineBuffer::Release() {
  if (partial_bytes() > 0) return;
  bytes_.reset();
  capacity_ = begin_ = searched_ = end_ = 0;
}

}  // namespace understudy::session
