// What all stores decide alike.

#ifndef UNDERSTUDY_SESSION_STORE_STORE_RULES_H_
#define UNDERSTUDY_SESSION_STORE_STORE_RULES_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "session/store/store.h"

namespace understudy::session {

// Ends the process if an append breaks what its own comments promise: that is
// a bug of the writer's.
void CheckAppend(const Append& append);

// SESSION_FENCED unless the append was made for a session in this state.
absl::Status CheckFence(const Append& append, uint64_t epoch,
                        uint64_t newest_sequence);

// The oldest sequence after an append that leaves `newest` as the newest.
uint64_t OldestAfter(const Append& append, uint64_t oldest, uint64_t newest);

absl::Status SessionExists(std::string_view session_id);
absl::Status SessionNotFound(std::string_view session_id);

// Whether Store::Unfinished names the session.
bool IsUnfinished(const SessionRecord& record);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_STORE_RULES_H_
