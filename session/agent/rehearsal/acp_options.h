// The --acp-... options: which of the differences between the real agents that
// speak the Agent Client Protocol this one has.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_OPTIONS_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_OPTIONS_H_

#include <string>
#include <vector>

#include "session/agent/rehearsal/misbehaviour.h"

namespace CLI {
class App;
}  // namespace CLI

namespace understudy::session {

struct AcpOptions {
  std::string without;  // as it was given, until it is checked
  std::string models_as = "config";
  std::string modes_as = "modes";
  bool any_model = false;
  bool forgets_model = false;
  bool exclusive = false;
  std::string name = "understudy-rehearsal";  // that it gives itself

  bool load = true;
  bool resume = true;
  bool close = true;
  bool list = true;
  bool models = true;
  bool tool_call = true;
  bool usage = true;

  bool config_models() const { return models && models_as != "legacy"; }
  bool legacy_models() const { return models && models_as != "config"; }
  bool config_modes() const {
    return modes_as == "config" || modes_as == "both";
  }
  bool modes() const { return modes_as == "modes" || modes_as == "both"; }
};

void DefineAcpOptions(CLI::App& app, AcpOptions& options);
// What is wrong with the command line that was parsed into `options`; "" if
// nothing is. `acp` is whether the agent speaks the protocol.
std::string CheckAcpOptions(const CLI::App& app, bool acp, AcpOptions& options);
// The same of faults that are right by themselves.
std::string CheckAcpFaults(const AcpOptions& options,
                           const std::vector<Fault>& faults);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_OPTIONS_H_
