// Whether a tool call needs a permission, by the permission mode and by what
// was allowed for good.
//
// A rule "Bash" allows every use of the tool, "Bash(touch a *)" the commands
// that begin so, "Bash(touch a)" that command.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_PERMISSION_RULES_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_PERMISSION_RULES_H_

#include <set>
#include <string>

#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/json.h"

namespace understudy::session {

// What a rule's content is compared with: the command, else the file.
std::string SubjectOf(const Json& input);
bool AnyMatches(const std::set<std::string>& rules, const std::string& tool,
                const Json& input);
bool IsEdit(const std::string& tool);
bool IsAllowed(const Conversation& c, const std::string& tool,
               const Json& input);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_PERMISSION_RULES_H_
