#include "session/agent/claude_delta.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "session/base/json.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

constexpr std::string_view kStart =
    R"({"type":"stream_event","event":{"type":"content_block_delta","index":)";
constexpr std::string_view kText = R"(,"delta":{"type":"text_delta","text":")";
constexpr std::string_view kThought =
    R"(,"delta":{"type":"thinking_delta","thinking":")";

constexpr uint64_t kOnes = 0x0101010101010101u;
constexpr uint64_t kHigh = 0x8080808080808080u;

// What a scan of the inside of a string has met.
struct Seen {
  uint64_t bytes = 0;  // all of them, or-ed
  bool backslash = false;
};

inline bool Skip(std::string_view prefix, std::string_view& text) {
  if (text.size() < prefix.size() ||
      std::memcmp(text.data(), prefix.data(), prefix.size()) != 0) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

inline bool SkipDigits(std::string_view& text) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    ++digits;
  }
  if (digits == 0 || (digits > 1 && text.front() == '0')) return false;
  text.remove_prefix(digits);
  return true;
}

// A byte of `word` is marked, in its highest bit, if it may be a quote, a
// backslash or a control character: never one too few, and the lowest mark is
// right.
inline uint64_t MarkStops(uint64_t word) {
  const auto zeros = [](uint64_t v) { return (v - kOnes) & ~v & kHigh; };
  return ((word - kOnes * 0x20) & ~word & kHigh) | zeros(word ^ kOnes * '"') |
         zeros(word ^ kOnes * '\\');
}

// Takes the rest of a string off `text`, its end quote too, and returns what
// is inside. Nothing if it has no end, or a control character in it.
inline std::optional<std::string_view> TakeString(std::string_view& text,
                                                  Seen& seen) {
  size_t i = 0;
  while (i < text.size()) {
    if (uint64_t word; i + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + i, sizeof(word));
      seen.bytes |= word;
      const uint64_t stops = MarkStops(word);
      if (stops == 0) {
        i += sizeof(word);
        continue;
      }
      if constexpr (std::endian::native == std::endian::little) {
        i += std::countr_zero(stops) / 8;
      }
    }
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"') {
      const std::string_view inside = text.substr(0, i);
      text.remove_prefix(i + 1);
      return inside;
    }
    if (c < 0x20) return std::nullopt;
    seen.bytes |= c;
    ++i;
    if (c == '\\') {
      // What follows is no end of the string, whatever it is.
      if (i >= text.size()) return std::nullopt;
      const auto escaped = static_cast<unsigned char>(text[i]);
      if (escaped < 0x20) return std::nullopt;
      seen.bytes |= escaped;
      seen.backslash = true;
      ++i;
    }
  }
  return std::nullopt;
}

// Whether `text` is the rest of an object: members whose values are strings,
// numbers, true, false and null, and none of which is called as those that
// were read already, or says that the line is of a sub-agent.
bool IsPlainRest(std::string_view text) {
  Seen seen;
  while (Skip(",\"", text)) {
    const auto name = TakeString(text, seen);
    if (!name.has_value() || *name == "type" || *name == "event") return false;
    if (!Skip(":", text)) return false;
    if (Skip("\"", text)) {
      if (*name == "parent_tool_use_id") return false;
      if (!TakeString(text, seen).has_value()) return false;
    } else if (!Skip("null", text) && !Skip("true", text) &&
               !Skip("false", text) && !SkipDigits(text)) {
      return false;
    }
  }
  return text == "}" && !seen.backslash;
}

}  // namespace

std::optional<ClaudeDelta> ReadClaudeDelta(std::string_view line,
                                           std::string& scratch) {
  if (!Skip(kStart, line)) return std::nullopt;
  if (!SkipDigits(line)) return std::nullopt;
  ClaudeDelta delta{.kind = DeltaKind::kText, .text = {}};
  if (!Skip(kText, line)) {
    if (!Skip(kThought, line)) return std::nullopt;
    delta.kind = DeltaKind::kThought;
  }
  Seen seen;
  const auto inside = TakeString(line, seen);
  if (!inside.has_value()) return std::nullopt;
  delta.text = *inside;
  if ((seen.bytes & kHigh) != 0 && !IsValidUtf8(delta.text)) {
    return std::nullopt;
  }
  if (!Skip("}}", line) || !IsPlainRest(line)) return std::nullopt;
  if (seen.backslash) {
    scratch.clear();
    AppendUnescaped(delta.text, scratch);
    delta.text = scratch;
  }
  return delta;
}

}  // namespace understudy::session
