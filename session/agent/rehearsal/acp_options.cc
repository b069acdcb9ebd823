#include "session/agent/rehearsal/acp_options.h"

#include <map>
#include <set>

#include "CLI/CLI.hpp"
#include "absl/strings/str_split.h"
#include "session/agent/rehearsal/options.h"

namespace understudy::session {
namespace {

constexpr char kGroup[] = "The rehearsal agent's own, with --protocol=acp";

// Of the options that a host passes to Claude Code, those that mean the same
// to a client of the other protocol.
bool HasMeaning(const std::string& name) {
  static const std::set<std::string> kNames = {
      "--model", "--permission-mode", "--dangerously-skip-permissions",
      "--allow-dangerously-skip-permissions", "-v,--version"};
  return kNames.count(name) > 0;
}

}  // namespace

void DefineAcpOptions(CLI::App& app, AcpOptions& options) {
  auto option = [&](const char* name, std::string& value, const char* help) {
    return app.add_option(name, value, help)
        ->group(kGroup)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  auto flag = [&](const char* name, bool& value, const char* help) {
    app.add_flag(name, value, help)->group(kGroup);
  };
  option("--acp-without", options.without,
         "What the agent cannot do, separated by commas: load, resume, close, "
         "list, models; usage: it tells of none; tool_call: it announces no "
         "tool call, a permission request or a tool_call_update is the first "
         "that is heard of it");
  option("--acp-models", options.models_as,
         "config: models are a configOption, session/set_config_option "
         "switches (the default); legacy: models{availableModels, "
         "currentModelId} and session/set_model; both")
      ->check(CLI::IsMember({"config", "legacy", "both"}));
  option("--acp-modes", options.modes_as,
         "modes: modes{availableModes, currentModeId} and session/set_mode "
         "(the default); config: a configOption; both; none")
      ->check(CLI::IsMember({"config", "modes", "both", "none"}));
  option("--acp-name", options.name,
         "The name that the agent gives itself, to be taken for another one");
  flag("--acp-any-model", options.any_model,
       "Switch to any model; the next prompt fails if there is no such model");
  flag("--acp-forgets-model", options.forgets_model,
       "A conversation that is loaded or resumed is at the default model, "
       "instead of the one that answered last in it");
  flag("--acp-exclusive", options.exclusive,
       "A conversation that another agent with this option has opened cannot "
       "be loaded or resumed before that one has exited");
}

std::string CheckAcpOptions(const CLI::App& app, bool acp,
                            AcpOptions& options) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() == 0) continue;
    const std::string name = option->get_name(false, true);
    if (!acp && option->get_group() == kGroup) {
      return "error: " + name + " needs --protocol=acp";
    }
    if (acp && (name == "--legacy" ||
                (option->get_group() == kClaudeGroup && !HasMeaning(name)))) {
      return "error: " + name + " has no meaning with --protocol=acp";
    }
  }
  const std::map<std::string, bool*> abilities = {
      {"load", &options.load},     {"resume", &options.resume},
      {"close", &options.close},   {"list", &options.list},
      {"models", &options.models}, {"tool_call", &options.tool_call},
      {"usage", &options.usage}};
  for (const std::string& name : std::vector<std::string>(
           absl::StrSplit(options.without, ',', absl::SkipEmpty()))) {
    auto ability = abilities.find(name);
    if (ability == abilities.end()) {
      return "error: --acp-without: '" + name +
             "' is none of load, resume, close, list, models, tool_call, usage";
    }
    *ability->second = false;
  }
  return "";
}

std::string CheckAcpFaults(const AcpOptions& options,
                           const std::vector<Fault>& faults) {
  for (const Fault& fault : faults) {
    if (fault.kind != Fault::Kind::kLieModel) continue;
    const bool by_update = fault.point == Fault::Point::kTurnStart;
    if (!options.models || (by_update && !options.config_models())) {
      return "error: fault '" + fault.text +
             "': the agent does not tell its model there";
    }
  }
  return "";
}

}  // namespace understudy::session
