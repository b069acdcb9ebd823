// Concat: texts one after the other. absl::StrCat does not take
// std::string_view where Abseil was built with a string_view of its own.

#ifndef UNDERSTUDY_SESSION_BASE_CONCAT_H_
#define UNDERSTUDY_SESSION_BASE_CONCAT_H_

#include <initializer_list>
#include <string>
#include <string_view>

namespace understudy::session {

inline std::string Concat(std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string text;
  text.reserve(size);
  for (const std::string_view part : parts) text.append(part);
  return text;
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_CONCAT_H_
