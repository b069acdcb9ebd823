// LineBuffer beside the plainest way to find lines, whatever the reads.
//
// The first two bytes say how long a line may be and how long a read is.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "session/process/line_buffer.h"
#include "session/process/subprocess.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

using session::LineBuffer;

// The lines of `text`, up to one that is too long.
struct Expected {
  std::vector<std::string> lines;
  bool too_long = false;
  size_t partial = 0;
};

Expected Split(std::string_view text, size_t max_line_bytes) {
  Expected expected;
  while (true) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.size() > max_line_bytes) {
      expected.too_long = true;
      return expected;
    }
    if (end == std::string_view::npos) {
      expected.partial = line.size();
      return expected;
    }
    text.remove_prefix(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    expected.lines.emplace_back(line);
  }
}

// Reads what may be read behind a line, and changes the line.
void Touch(const LineBuffer::Span& line) {
  unsigned sum = 0;
  for (size_t i = 0; i < session::kLinePadding; ++i) {
    sum += static_cast<unsigned char>(line.data[line.size + i]);
  }
  volatile unsigned keep = sum;
  (void)keep;
  std::fill_n(line.data, line.size, '\n');
}

void Run(Input input) {
  const size_t max_line_bytes = input.Byte();
  const size_t read_bytes = 1 + input.Byte();
  const Expected expected = Split(input.rest(), max_line_bytes);

  LineBuffer buffer(max_line_bytes);
  std::vector<std::string> lines;
  bool too_long = false;
  while (!input.empty() && !too_long) {
    const LineBuffer::Span room = buffer.Prepare();
    Require(room.size >= LineBuffer::kBlockBytes / 4, "there is room");
    const std::string_view read = input.Take(read_bytes);
    std::memcpy(room.data, read.data(), read.size());
    buffer.Commit(read.size());
    LineBuffer::Span line;
    LineBuffer::Result result;
    while ((result = buffer.Next(&line)) == LineBuffer::kLine) {
      lines.emplace_back(line.data, line.size);
      Touch(line);
    }
    too_long = result == LineBuffer::kTooLong;
    if (too_long) {
      Require(buffer.Next(&line) == LineBuffer::kTooLong, "that is for good");
    } else {
      buffer.Release();
      Require(buffer.partial_bytes() > 0 || buffer.memory_bytes() == 0,
              "memory is given back");
    }
  }
  Require(lines == expected.lines, "the lines are those of the text");
  Require(too_long == expected.too_long, "a line that is too long is found");
  Require(too_long || buffer.partial_bytes() == expected.partial,
          "the rest is the rest");
}

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Run({data, size});
  return 0;
}
