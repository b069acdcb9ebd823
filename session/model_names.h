// Whether two names mean one model: clients say `sonnet`, agents report
// `claude-sonnet-5-5`. Pure.

#ifndef UNDERSTUDY_SESSION_MODEL_NAMES_H_
#define UNDERSTUDY_SESSION_MODEL_NAMES_H_

#include <string_view>
#include <vector>

#include "session/agent/agent.h"

namespace understudy::session {

// Whether `reported` may be what an agent calls what was asked for as `asked`
// ("": its own default, which may have any name): by the agent's list of
// models, or because the one name is part of the other.
bool MayName(const std::vector<ModelInfo>& models, std::string_view asked,
             std::string_view reported);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_MODEL_NAMES_H_
