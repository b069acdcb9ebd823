// AcpSettings: what an agent that speaks ACP says of the model and the mode of
// a conversation, and how either is changed. Pure.
//
// There are two shapes of each. `configOptions` (stable in the schema) is a
// list of settings with a category, changed by session/set_config_option, which
// answers with the whole list. `models` and `modes` are older, changed by
// session/set_model and session/set_mode, which answer with nothing. Gemini CLI
// 0.61 has only the older ones, OpenCode 1.18 only the first, codex-acp 2.6 and
// claude-agent-acp 0.100 have both of some: there the first wins, since it
// tells what came of a change (and codex-acp's set_model wants other names).

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_SETTINGS_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_SETTINGS_H_

#include <string>
#include <string_view>
#include <vector>

#include "session/base/json.h"

namespace understudy::session {

struct AcpSetting {
  struct Choice {
    std::string value;
    std::string name;
  };
  enum class Way { kNone, kOption, kOlder };

  Way way = Way::kNone;  // how it is changed; kNone: the agent has none
  std::string option;    // kOption: its id
  std::string current;
  std::vector<Choice> choices;

  bool exists() const { return way != Way::kNone; }
  bool Offers(std::string_view value) const;
};

struct AcpSettings {
  AcpSetting model;
  AcpSetting mode;

  // Takes up what the result of a request, or an update, says; what it does
  // not speak of stays as it was.
  void Read(JsonValue said);
};

struct AcpCall {
  std::string_view method;
  std::string params;
};

// The request that sets it; it exists.
AcpCall AcpSetModel(std::string_view conversation, const AcpSetting& setting,
                    std::string_view value);
AcpCall AcpSetMode(std::string_view conversation, const AcpSetting& setting,
                   std::string_view value);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_SETTINGS_H_
