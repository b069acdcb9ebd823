// What the scripted "model" says to a message, whatever the protocol: the
// special words of a message (`kScriptHelp`), and the text that ends a turn.
// The same message in the same conversation has the same answer.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_SCRIPT_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_SCRIPT_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "session/agent/rehearsal/misbehaviour.h"

namespace understudy::session {

extern const char kScriptHelp[];

struct Think {
  std::string text;
};
struct UseTool {
  std::string name;
  std::string input;  // JSON
};
struct RunCommand {
  std::string seconds;
  bool in_background;
};
struct StreamDeltas {
  int64_t count;
  int bytes;
  std::chrono::milliseconds pause{0};
};
struct Say {
  std::string text;
};
struct FillUp {
  size_t bytes;
};
struct ApiFailure {
  int status;
};
struct WriteLine {
  std::string line;
};
struct WriteNovelty {};  // what no client knows
struct ArmFault {
  Fault fault;
};

using ScriptStep =
    std::variant<Think, UseTool, RunCommand, StreamDeltas, Say, FillUp,
                 ApiFailure, WriteLine, WriteNovelty, ArmFault>;

// The special words of `text`, in their order. A word that is wrong is said
// back instead: Say{"!tool: ..."}.
std::vector<ScriptStep> ParseScript(std::string_view text, Protocol protocol);

// The text that ends a turn, which answers `text`. `prompts` are the user's
// messages of the conversation.
std::string FinalText(std::string_view model,
                      const std::vector<std::string>& prompts,
                      std::string_view text);

// `text` in pieces of at most `bytes` (at least 4), never cut within a UTF-8
// character.
std::vector<std::string_view> SplitText(std::string_view text, size_t bytes);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_SCRIPT_H_
