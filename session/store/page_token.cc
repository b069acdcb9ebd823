#include "session/store/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proto/error.h"

namespace understudy::session {
namespace {

// FNV-1a: tells a token that was cut, joined or altered from a whole one. It
// is not a secret, and need not be: a token gives no access to anything.
uint32_t Checksum(std::string_view text) {
  uint32_t sum = 2166136261u;
  for (const char c : text) sum = (sum ^ static_cast<uint8_t>(c)) * 16777619u;
  return sum;
}

}  // namespace

ListPosition PositionOf(const store::SessionRecord& record) {
  const absl::Time time =
      absl::FromUnixSeconds(record.create_time().seconds()) +
      absl::Nanoseconds(record.create_time().nanos());
  return {absl::ToUnixNanos(time), record.session_id()};
}

// "<time>/<id>/<checksum of what is before>", in base64.
std::string MakePageToken(const ListPosition& position) {
  const std::string place =
      absl::StrCat(position.create_time, "/", position.session_id, "/");
  return absl::WebSafeBase64Escape(absl::StrCat(place, Checksum(place)));
}

absl::StatusOr<ListPosition> ParsePageToken(std::string_view token) {
  ListPosition position;
  if (token.empty()) return position;
  std::string text;
  if (absl::WebSafeBase64Unescape(std::string(token), &text)) {
    const size_t first = text.find('/');
    const size_t last = text.rfind('/');
    if (first < last && last != std::string::npos &&
        absl::SimpleAtoi(text.substr(0, first), &position.create_time)) {
      position.session_id = text.substr(first + 1, last - first - 1);
      // The same place has one token only.
      if (MakePageToken(position) == token) return position;
    }
  }
  return FieldInvalid("page_token", "is not a token that a list has returned");
}

}  // namespace understudy::session
