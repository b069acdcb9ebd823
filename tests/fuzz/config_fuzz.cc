// Any text as a configuration: it is taken or refused, each problem is one
// line that says where it is, and what is taken keeps its bounds.

#include <string>

#include "service/config.h"
#include "session/base/id.h"
#include "session/base/utf8.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

void OneLine(const std::string& problem) {
  Require(!problem.empty() && problem.find('\n') == std::string::npos,
          "a problem is one line", problem);
}

void Run(std::string_view text) {
  static const service::Environment environment{
      .variables = {{"HOME", "/tmp"}, {"PATH", "/usr/bin"}},
      .program_folder = "/usr/bin",
      .user = 1000};
  const service::ConfigResult result = service::ReadConfiguration(
      service::ConfigFile{.name = "f", .text = std::string(text)}, {},
      environment);
  for (const std::string& problem : result.problems) OneLine(problem);
  for (const std::string& warning : result.warnings) OneLine(warning);
  if (!result.problems.empty()) return;
  const service::Configuration& taken = result.configuration;
  Require(!taken.listeners.empty(), "it listens somewhere");
  Require(!taken.store.empty(), "it has a store");
  Require(taken.engine.max_slots >= 1 && taken.engine.max_slots <= 4096,
          "max_slots within bounds");
  Require(!taken.engine.profiles.empty(), "it has a profile");
  for (const session::Profile& profile : taken.engine.profiles) {
    Require(session::IsId(profile.name), "a profile's name is an id");
    Require(profile.start_timeout > absl::ZeroDuration(), "a bound");
    Require(profile.switch_timeout > absl::ZeroDuration(), "a bound");
  }
}

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
