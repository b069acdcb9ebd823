// What is said to Claude Code: how it is started, and the lines it is written.
// Pure; every line is one line, whatever is in the texts.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_COMMAND_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_COMMAND_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "session/agent/agent.h"
#include "session/agent/profile.h"
#include "session/process/subprocess.h"

namespace understudy::session {

// The name by which Claude Code knows `model`: its own default has one.
std::string_view ClaudeModelName(std::string_view model);

// Whether `mode` can be the name of a permission mode.
bool IsClaudeMode(std::string_view mode);
// The same of a permission mode.
std::string_view ClaudeModeName(std::string_view mode);
// Whether 2.1.197, which takes any word when it is asked to change its mode,
// has this one.
bool ClaudeModeIsOld(std::string_view mode);

// `new_conversation` is the id that a new conversation gets.
// FIELD_INVALID if something may not stand in an argument list.
absl::StatusOr<Command> ClaudeCommand(const Profile& profile,
                                      const Opening& opening,
                                      std::string_view new_conversation);

std::string ClaudeInitialize(std::string_view request_id);
std::string ClaudeGetSettings(std::string_view request_id);
// What it has spent, without the costly rest of the answer, and without that
// other requests wait for it.
std::string ClaudeGetUsage(std::string_view request_id);
// `settings` is a JSON object.
std::string ClaudeApplySettings(std::string_view request_id,
                                std::string_view settings);
std::string ClaudeSetModel(std::string_view request_id, std::string_view model);
std::string ClaudeSetMode(std::string_view request_id, std::string_view mode);
std::string ClaudeInterrupt(std::string_view request_id);

// A message. `text` is never a command: versions that do not know how to be
// told so (`knows_composed` false) get a space before a slash, which keeps
// them from looking.
std::string ClaudeMessage(std::string_view uuid, std::string_view text,
                          bool knows_composed);
// The same in parts. Such a version looks for a command in one of them, the
// last or the first: each text is kept from it.
std::string ClaudeMessage(std::string_view uuid, const v1::Content& content,
                          bool knows_composed);
// The command that begins a new conversation.
std::string ClaudeClear(std::string_view uuid);

// An answer to a permission request; `input` is a JSON object, `permissions` an
// array of rules to keep or "".
std::string ClaudeAllow(std::string_view request_id, std::string_view input,
                        std::string_view permissions);
std::string ClaudeDeny(std::string_view request_id, std::string_view message);
// An answer to a request that we do not know.
std::string ClaudeRefusal(std::string_view request_id, std::string_view why);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_COMMAND_H_
