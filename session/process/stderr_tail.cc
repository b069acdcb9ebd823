#include "session/process/stderr_tail.h"

#include <algorithm>

#include "session/base/redact.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

// Drops what the cut may have made unrecognisable: up to a line's beginning, or
// in a long line two words, since the first may be the rest of a secret, or of
// the word that announces one ("Bearer").
std::string_view DropCutStart(std::string_view text) {
  size_t begin = text.find('\n');
  const size_t space = text.find_first_of(" \t");
  if (space < begin)
    begin = std::min(begin, text.find_first_of(" \t", space + 1));
  return begin == std::string_view::npos ? "" : text.substr(begin + 1);
}

}  // namespace

void StderrTail::Append(std::string_view bytes) {
  if (bytes.size() > kKeptBytes) {
    bytes.remove_prefix(bytes.size() - kKeptBytes);
    bytes_.clear();
    dropped_ = true;
  }
  bytes_.append(bytes);
  // In big steps, so that a byte is moved once.
  if (bytes_.size() > 2 * kKeptBytes) {
    bytes_.erase(0, bytes_.size() - kKeptBytes);
    dropped_ = true;
  }
}

std::string StderrTail::Text() const {
  std::string_view kept = bytes_;
  kept = kept.substr(0, kept.find_last_not_of(" \t\r\n") + 1);
  if (dropped_) kept = DropCutStart(kept);
  const std::string text = Redact(kept);
  std::string_view tail = Utf8Suffix(text, kMaxBytes);
  if (tail.size() < text.size()) {
    if (const size_t newline = tail.find('\n'); newline < tail.size() - 1) {
      tail.remove_prefix(newline + 1);
    }
  }
  return std::string(tail);
}

}  // namespace understudy::session
