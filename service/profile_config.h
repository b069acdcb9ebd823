// The profiles of a configuration: those of a file, checked, and those that a
// server without a file offers.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_PROFILE_CONFIG_H_
#define UNDERSTUDY_SERVICE_PROFILE_CONFIG_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "service/config.h"
#include "service/config_reader.h"
#include "session/agent/profile.h"
#include "understudy/v1/config.pb.h"

namespace understudy::service {

// The path of a program of that name on PATH, beside this one or in its libexec
// folder; our own programs are looked for in the opposite order. Nothing if
// there is none.
std::optional<std::string> FindProgram(const std::string& name,
                                       const Environment& environment);

// The profiles of `config`; what is wrong with them goes to `reader`'s
// problems. `max_slots` is the server's.
std::vector<session::Profile> ReadProfiles(const v1::Config& config,
                                           const ConfigReader& reader,
                                           int max_slots,
                                           const Environment& environment,
                                           std::vector<std::string>& warnings);

// `rehearsal`, and those of real agents whose program is found.
// `reader` is that of the whole configuration.
std::vector<session::Profile> DefaultProfiles(const ConfigReader& reader,
                                              const Environment& environment);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_PROFILE_CONFIG_H_
