// What clients have allowed a Claude Code process for the rest of the session,
// in words that a later process is told: `allow:` and a rule as it stands in
// its settings, `Bash(npm test *)`, or `directory:` and a path. Pure.
//
// Rules of the session are kept by the process alone (2.1.197, 2.1.329): a
// resumed one does not know them. Of the ways to tell it, on both versions:
//  - the control request `apply_flag_settings` adds rules and directories to
//    those of a `--settings` in the profile's arguments, and /clear keeps them;
//  - a `--settings` of ours would take the place of the profile's, with what is
//    denied there;
//  - `--allowedTools` has no directories, splits its value at commas and
//  spaces,
//    and everybody on the machine can read it.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_GRANTS_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_GRANTS_H_

#include <string>
#include <vector>

#include "session/base/json.h"

namespace understudy::session {

// What an answer allows that takes up all `suggestions` of a request. The mode
// that they may change is not part of it: the process tells that itself.
std::vector<std::string> ClaudeGrants(JsonValue suggestions);

// The settings that say the same; "" if nothing in `grants` is understood.
std::string ClaudeGrantSettings(const std::vector<std::string>& grants);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_GRANTS_H_
