// What ListModels shows: what the agent itself has listed, and beside it what
// the profile and the session name. Pure.

#ifndef UNDERSTUDY_SESSION_MODEL_LIST_H_
#define UNDERSTUDY_SESSION_MODEL_LIST_H_

#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/agent/profile.h"
#include "session/calls.h"

namespace understudy::session {

// `current` is the model of a session; "" where none is asked about.
std::vector<ModelRow> ModelList(const Profile& profile,
                                const std::vector<ModelInfo>& listed,
                                std::string_view current);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_MODEL_LIST_H_
