// Configuration: from a file, flags and defaults to what the server runs with.
//
// All validation of configuration is here. It does not stop at the first
// problem; each is one line that names where it is: the line of the file and,
// within a profile, the profile.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_CONFIG_H_
#define UNDERSTUDY_SERVICE_CONFIG_H_

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "service/check.h"
#include "service/listeners.h"
#include "session/session_manager.h"

namespace understudy::service {

struct ConfigFile {
  std::string name;  // for messages
  std::string text;
};

// Flags that override the file.
struct Overrides {
  std::vector<std::string> listen;
  std::string store;
};

// What a configuration depends on beside file and flags.
struct Environment {
  std::map<std::string, std::string> variables;
  std::string program_folder;  // of the running program
  uid_t user = 0;

  static Environment OfThisProcess();
};

struct Configuration {
  struct Listener {
    ListenAddress address;
    bool is_default = false;
  };

  std::vector<Listener> listeners;
  std::string store;
  std::string guard;  // the path of understudy-guard
  Rules rules;
  session::SessionManager::Options engine;
  absl::Duration progress_interval = absl::Seconds(15);
  absl::Duration drain_timeout = absl::Seconds(10);
};

struct ConfigResult {
  Configuration configuration;  // complete if there are no problems
  std::vector<std::string> problems;
  // What was said and has no effect in this version.
  std::vector<std::string> warnings;
};

ConfigResult ReadConfiguration(const std::optional<ConfigFile>& file,
                               const Overrides& overrides,
                               const Environment& environment);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_CONFIG_H_
