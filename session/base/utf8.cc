#include "session/base/utf8.h"

#include <cstdint>
#include <cstring>

namespace understudy::session {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

// How many bytes at the start of `bytes` are ASCII.
size_t AsciiRun(std::string_view bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (i < bytes.size() && static_cast<unsigned char>(bytes[i]) < 0x80) ++i;
  return i;
}

struct Part {
  size_t size;  // at least 1
  bool valid;
};

// The code point, or the maximal invalid part, that starts at a byte that is
// not ASCII. `bytes` is not empty.
Part NextPart(std::string_view bytes) {
  const auto at = [&](size_t i) {
    return static_cast<unsigned char>(bytes[i]);
  };
  const unsigned char lead = at(0);
  size_t length;
  // The second byte's range says the rest: no overlong form, no surrogate,
  // nothing too large.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {1, false};
  }
  if (bytes.size() < 2 || at(1) < low || at(1) > high) return {1, false};
  for (size_t i = 2; i < length; ++i) {
    if (i >= bytes.size() || !IsContinuation(at(i))) return {i, false};
  }
  return {length, true};
}

}  // namespace

bool IsValidUtf8(std::string_view bytes) {
  for (;;) {
    bytes.remove_prefix(AsciiRun(bytes));
    if (bytes.empty()) return true;
    const Part part = NextPart(bytes);
    if (!part.valid) return false;
    bytes.remove_prefix(part.size);
  }
}

std::string ToValidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (;;) {
    const size_t ascii = AsciiRun(bytes);
    text.append(bytes.substr(0, ascii));
    bytes.remove_prefix(ascii);
    if (bytes.empty()) return text;
    const Part part = NextPart(bytes);
    text.append(part.valid ? bytes.substr(0, part.size) : kReplacement);
    bytes.remove_prefix(part.size);
  }
}

std::string_view Utf8Prefix(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t size = max_bytes;
  while (size > 0 && IsContinuation(text[size])) --size;
  return text.substr(0, size);
}

std::string_view Utf8Suffix(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t begin = text.size() - max_bytes;
  while (begin < text.size() && IsContinuation(text[begin])) ++begin;
  return text.substr(begin);
}

}  // namespace understudy::session
