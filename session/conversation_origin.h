// Whose conversation one is: what the sessions of the store have been in.
//
// For agents that keep no files which tell it, and load a conversation into
// whatever working directory they are asked to.

#ifndef UNDERSTUDY_SESSION_CONVERSATION_ORIGIN_H_
#define UNDERSTUDY_SESSION_CONVERSATION_ORIGIN_H_

#include <string>

#include "absl/status/statusor.h"
#include "session/store/store.h"

namespace understudy::session {

// Whether sessions of `mine`'s tenant have been in `conversation`, and all of
// them with another profile or working directory. One that none has been in is
// the agent's own, and nothing is known of it. Reads all records: blocks.
absl::StatusOr<bool> IsOfOthers(Store& store, const SessionRecord& mine,
                                const std::string& conversation);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_CONVERSATION_ORIGIN_H_
