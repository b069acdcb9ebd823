#include "session/agent/acp_settings.h"

#include <algorithm>

#include "session/base/concat.h"

namespace understudy::session {
namespace {

using Choice = AcpSetting::Choice;
using Way = AcpSetting::Way;

// More than any agent lists; what is behind is not offered.
constexpr size_t kMaxChoices = 4096;

void AddChoice(JsonValue value, JsonValue name, std::vector<Choice>& choices) {
  if (!value.IsString() || choices.size() >= kMaxChoices) return;
  choices.push_back({value.String(), name.String()});
}

// `options`: a list of values, or of groups of them.
std::vector<Choice> ReadChoices(JsonValue options) {
  std::vector<Choice> choices;
  for (const JsonValue option : options) {
    AddChoice(option["value"], option["name"], choices);
    for (const JsonValue inner : option["options"]) {
      AddChoice(inner["value"], inner["name"], choices);
    }
  }
  return choices;
}

void ReadOption(JsonValue option, AcpSetting& setting) {
  if (!option["currentValue"].IsString()) return;
  setting.way = Way::kOption;
  setting.option = option["id"].String();
  setting.current = option["currentValue"].String();
  setting.choices = ReadChoices(option["options"]);
}

// By its category; an agent that gives none is taken at the word of the id.
JsonValue FindOption(JsonValue options, std::string_view category) {
  JsonValue by_id;
  for (const JsonValue option : options) {
    if (option["category"].Is(category)) return option;
    if (option["id"].Is(category)) by_id = option;
  }
  return by_id;
}

void ReadOlder(JsonValue list, std::string_view id, JsonValue current,
               AcpSetting& setting) {
  if (setting.way == Way::kOption) return;
  setting.way = Way::kOlder;
  if (current.IsString()) setting.current = current.String();
  if (!list.IsArray()) return;
  setting.choices.clear();
  for (const JsonValue one : list) {
    AddChoice(one[id], one["name"], setting.choices);
  }
}

AcpCall Set(std::string_view conversation, const AcpSetting& setting,
            std::string_view value, std::string_view method,
            std::string_view field) {
  if (setting.way == Way::kOption) {
    return {"session/set_config_option",
            Concat({R"({"sessionId":)", JsonString(conversation),
                    R"(,"configId":)", JsonString(setting.option),
                    R"(,"value":)", JsonString(value), "}"})};
  }
  return {method, Concat({R"({"sessionId":)", JsonString(conversation), ",\"",
                          field, "\":", JsonString(value), "}"})};
}

}  // namespace

bool AcpSetting::Offers(std::string_view value) const {
  return std::any_of(
      choices.begin(), choices.end(),
      [value](const Choice& choice) { return choice.value == value; });
}

void AcpSettings::Read(JsonValue said) {
  const JsonValue options = said["configOptions"];
  if (options.IsArray()) {
    ReadOption(FindOption(options, "model"), model);
    ReadOption(FindOption(options, "mode"), mode);
  }
  if (const JsonValue models = said["models"]; models.IsObject()) {
    ReadOlder(models["availableModels"], "modelId", models["currentModelId"],
              model);
  }
  if (const JsonValue modes = said["modes"]; modes.IsObject()) {
    ReadOlder(modes["availableModes"], "id", modes["currentModeId"], mode);
  }
  // A current_mode_update.
  if (const JsonValue now = said["currentModeId"]; now.IsString()) {
    mode.current = now.String();
  }
}

AcpCall AcpSetModel(std::string_view conversation, const AcpSetting& setting,
                    std::string_view value) {
  return Set(conversation, setting, value, "session/set_model", "modelId");
}

AcpCall AcpSetMode(std::string_view conversation, const AcpSetting& setting,
                   std::string_view value) {
  return Set(conversation, setting, value, "session/set_mode", "modeId");
}

}  // namespace understudy::session
