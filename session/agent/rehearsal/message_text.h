// The text of a message's content, as the scripted model reads it.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_MESSAGE_TEXT_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_MESSAGE_TEXT_H_

#include <string>

#include "session/agent/rehearsal/json.h"

namespace understudy::session {

// `content` is a string or an array of blocks; a picture counts as a line
// "[image image/png 68 bytes]".
std::string TextOf(const Json& content);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_MESSAGE_TEXT_H_
