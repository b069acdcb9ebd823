// UTF-8 as the proto string fields want it: valid, and cut between code points.

#ifndef UNDERSTUDY_SESSION_BASE_UTF8_H_
#define UNDERSTUDY_SESSION_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace understudy::session {

// By the Unicode standard: no overlong forms, no surrogates, nothing above
// U+10FFFF. NUL is valid.
bool IsValidUtf8(std::string_view bytes);

// `bytes` with each maximal invalid part replaced by U+FFFD.
std::string ToValidUtf8(std::string_view bytes);

// The longest beginning of `text` of at most `max_bytes` that does not cut a
// code point. Of valid UTF-8 it is valid UTF-8.
std::string_view Utf8Prefix(std::string_view text, size_t max_bytes);

// The same from the end.
std::string_view Utf8Suffix(std::string_view text, size_t max_bytes);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_UTF8_H_
