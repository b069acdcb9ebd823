// How the imaginary API behind the scripted model fails.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_API_ERROR_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_API_ERROR_H_

#include <string>

#include "session/agent/rehearsal/conversation.h"

namespace understudy::session {

// How often a request that failed so is made again.
int RetriesAfter(int status);
// What the model that is asked next cannot read of what another one has
// answered; "" if there is nothing (see --blind-model).
std::string BlindModelError(const Conversation& c, const std::string& model);
// The text of a scripted failure.
std::string ScriptedError(int status);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_API_ERROR_H_
