#include "session/agent/rehearsal/delta_stream.h"

#include <algorithm>

namespace understudy::session {
namespace {

constexpr size_t kBlockSize = 1 << 16;
constexpr int kDigits = 7;

// Writes the last `digits` decimal digits of `number`, ending at `last`.
void PutNumber(int64_t number, int digits, char* last) {
  for (int i = 0; i < digits; ++i, number /= 10) {
    *last-- = static_cast<char>('0' + number % 10);
  }
}

}  // namespace

std::string DeltaStream::Text(int64_t number, int bytes) {
  std::string text(static_cast<size_t>(bytes), '.');
  int digits = std::min(kDigits, bytes);
  PutNumber(number, digits, text.data() + digits - 1);
  if (bytes > kDigits) text[kDigits] = ' ';
  return text;
}

DeltaStream::DeltaStream(std::string line, int64_t count, int bytes)
    : count_(count), text_digits_(std::min(kDigits, bytes)) {
  std::string text = "\"text\":\"" + Text(0, bytes);
  std::string_view uuid = "\"uuid\":\"";
  text_offset_ = line.find(text) + 8 + static_cast<size_t>(text_digits_) - 1;
  const size_t at = line.rfind(uuid);
  if (at != std::string::npos) uuid_offset_ = at + uuid.size() + 35;
  line.push_back('\n');
  line_size_ = line.size();
  lines_per_block_ = std::max<size_t>(1, kBlockSize / line_size_);
  for (size_t i = 0; i < lines_per_block_; ++i) block_ += line;
}

void DeltaStream::Number(size_t at) {
  PutNumber(next_, text_digits_, block_.data() + at + text_offset_);
  if (uuid_offset_ > 0) PutNumber(next_, 12, block_.data() + at + uuid_offset_);
}

void DeltaStream::WriteBlock(Output& output) {
  size_t lines =
      std::min<size_t>(lines_per_block_, static_cast<size_t>(count_ - next_));
  for (size_t i = 0; i < lines; ++i, ++next_) Number(i * line_size_);
  output.Raw(std::string_view(block_).substr(0, lines * line_size_));
}

void DeltaStream::WriteLine(Output& output) {
  if (done()) return;
  Number(0);
  ++next_;
  output.Raw(std::string_view(block_).substr(0, line_size_));
}

}  // namespace understudy::session
