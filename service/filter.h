// The filter of ListSessions: `agent=X state=IDLE label.KEY=VALUE`.
//
//   filter = term { ["AND"] term }
//   term   = ("agent" | "state" | "label." KEY) "=" value
//   value  = characters other than space and quote, or "..." where a backslash
//            stands before a quote or another backslash
//
// Terms all hold; each field is named once.

#ifndef UNDERSTUDY_SERVICE_FILTER_H_
#define UNDERSTUDY_SERVICE_FILTER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "session/session_manager.h"

namespace understudy::service {

// `agent`, `state` and `labels` of the result are set. FIELD_INVALID of the
// field `filter`.
absl::StatusOr<session::ListParams> ParseFilter(std::string_view filter);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_FILTER_H_
