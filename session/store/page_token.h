// The order in which stores list sessions, and the page tokens that name a
// place in it.

#ifndef UNDERSTUDY_SESSION_STORE_PAGE_TOKEN_H_
#define UNDERSTUDY_SESSION_STORE_PAGE_TOKEN_H_

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "session/store/record.pb.h"

namespace understudy::session {

struct ListPosition {
  // Nanoseconds since 1970. The default is before every session.
  int64_t create_time = std::numeric_limits<int64_t>::min();
  std::string session_id;

  auto operator<=>(const ListPosition&) const = default;
};

ListPosition PositionOf(const store::SessionRecord& record);

std::string MakePageToken(const ListPosition& position);

// The position of a token that MakePageToken made; of "", the start.
// FIELD_INVALID for anything else.
absl::StatusOr<ListPosition> ParsePageToken(std::string_view token);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_PAGE_TOKEN_H_
