#include "session/agent/unreadable.h"

#include <algorithm>
#include <array>

namespace understudy::session {

// The words of Anthropic's API. Claude Code 2.1.197 and 2.1.329 pass them on
// behind "API Error: 400" (the latter repeats the request before for some of
// them), and so do those that have it inside.
bool SaysUnreadable(std::string_view text) {
  const auto says = [text](std::string_view words) {
    return text.find(words) != std::string_view::npos;
  };
  static constexpr std::array<std::string_view, 4> kThinking = {
      "`thinking`", "`redacted_thinking`", ".thinking.", "thinking block"};
  static constexpr std::array<std::string_view, 5> kWhy = {
      "signature", "Invalid `data`", "cannot be modified", "Expected `",
      "must start with a thinking block"};
  return std::any_of(kThinking.begin(), kThinking.end(), says) &&
         std::any_of(kWhy.begin(), kWhy.end(), says);
}

}  // namespace understudy::session
