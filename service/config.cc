#include "service/config.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "service/config_reader.h"
#include "service/profile_config.h"
#include "understudy/v1/config.pb.h"

namespace understudy::service {
namespace {

constexpr const char* kGuardName = "understudy-guard";

// Half of what clients take for the silence of a dead stream.
constexpr absl::Duration kMaxProgressInterval = absl::Seconds(30);

class ParseErrors final : public google::protobuf::io::ErrorCollector {
 public:
  ParseErrors(std::string file, std::vector<std::string>& problems)
      : file_(std::move(file)), problems_(problems) {}

  // A field that does not exist is a warning to the parser, which goes on.
  void AddWarning(int line, int column, const std::string& message) override {
    AddError(line, column, message);
  }
  // Lines and columns count from 0; -1 for the whole.
  void AddError(int line, int column, const std::string& message) override {
    problems_.push_back(line < 0 ? absl::StrCat(file_, ": ", message)
                                 : absl::StrCat(file_, ":", line + 1, ":",
                                                column + 1, ": ", message));
  }

 private:
  const std::string file_;
  std::vector<std::string>& problems_;
};

std::string Variable(const Environment& environment, const char* name) {
  const auto found = environment.variables.find(name);
  return found == environment.variables.end() ? "" : found->second;
}

std::string DefaultListen(const Environment& environment) {
  std::string folder = Variable(environment, "XDG_RUNTIME_DIR");
  if (folder.empty()) {
    folder = absl::StrCat("/tmp/understudy-", environment.user);
  }
  return absl::StrCat("unix:", folder, "/understudy/understudy.sock");
}

std::string DefaultStore(const Environment& environment) {
  std::string folder = Variable(environment, "XDG_STATE_HOME");
  if (folder.empty()) {
    folder = Variable(environment, "HOME");
    if (folder.empty()) return "";
    folder += "/.local/state";
  }
  return absl::StrCat("sqlite:", folder, "/understudy/understudy.db");
}

// What is wrong with it; empty if nothing is that can be told without opening
// it.
std::string StoreFault(const std::string& url) {
  std::string known;
#define STORE(scheme)                          \
  if (url.starts_with(#scheme ":")) return ""; \
  absl::StrAppend(&known, known.empty() ? "" : ", ", #scheme ":");
#include "session/store/stores.def"
#undef STORE
  // Not the whole of it: it may have a password in it.
  return absl::StrCat("must begin with one of ", known);
}

void ReadListeners(const v1::Config& config, const Overrides& overrides,
                   const Environment& environment, const ConfigReader& reader,
                   ConfigResult& result) {
  auto& listeners = result.configuration.listeners;
  if (!overrides.listen.empty()) {
    for (const std::string& text : overrides.listen) {
      if (auto address = ParseListenAddress(text); address.ok()) {
        listeners.push_back({*std::move(address)});
      } else {
        result.problems.emplace_back(address.status().message());
      }
    }
    return;
  }
  for (int i = 0; i < config.listen_size(); ++i) {
    if (auto address = ParseListenAddress(config.listen(i)); address.ok()) {
      listeners.push_back({*std::move(address)});
    } else {
      reader.Report("listen", i, std::string(address.status().message()));
    }
  }
  if (!config.listen().empty()) return;
  if (auto address = ParseListenAddress(DefaultListen(environment));
      address.ok()) {
    listeners.push_back({*std::move(address), /*is_default=*/true});
  } else {
    result.problems.emplace_back(address.status().message());
  }
}

void ReadStore(const v1::Config& config, const Overrides& overrides,
               const Environment& environment, const ConfigReader& reader,
               ConfigResult& result) {
  std::string& store = result.configuration.store;
  if (!overrides.store.empty()) {
    store = overrides.store;
    if (const std::string fault = StoreFault(store); !fault.empty()) {
      result.problems.push_back(absl::StrCat("--store: ", fault));
    }
  } else if (!config.store().empty()) {
    store = config.store();
    if (const std::string fault = StoreFault(store); !fault.empty()) {
      reader.Report("store", fault);
    }
  } else {
    store = DefaultStore(environment);
    if (store.empty()) {
      result.problems.emplace_back(
          "store: must be given where neither XDG_STATE_HOME nor HOME is set");
    }
  }
}

void ReadRoots(const v1::Config& config, const ConfigReader& reader,
               Rules& rules) {
  for (int i = 0; i < config.working_directory_root_size(); ++i) {
    const std::string& root = config.working_directory_root(i);
    if (root.empty() || root.front() != '/' ||
        root.find('\0') != std::string::npos) {
      reader.Report("working_directory_root", i, "must be an absolute path");
      continue;
    }
    const std::unique_ptr<char, decltype(&free)> resolved(
        realpath(root.c_str(), nullptr), &free);
    struct stat info;
    if (resolved == nullptr || stat(resolved.get(), &info) != 0) {
      reader.Report("working_directory_root", i,
                    absl::StrCat(root, ": ", std::strerror(errno)));
    } else if (!S_ISDIR(info.st_mode)) {
      reader.Report("working_directory_root", i,
                    absl::StrCat(root, " is not a directory"));
    } else {
      rules.working_directory_roots.emplace_back(resolved.get());
    }
  }
}

void ReadBounds(const v1::Config& config, const ConfigReader& reader,
                Configuration& result) {
  session::SessionManager::Options& engine = result.engine;
  result.rules.max_text_bytes =
      reader.Number("max_text_bytes", 1, 64 << 20,
                    static_cast<int64_t>(result.rules.max_text_bytes));
  engine.max_queued_messages = static_cast<int>(reader.Number(
      "max_queued_messages", 1, 10000, engine.max_queued_messages));
  engine.max_slots =
      static_cast<int>(reader.Number("max_slots", 1, 4096, engine.max_slots));
  result.progress_interval =
      reader.Time("progress_interval", absl::Milliseconds(100),
                  kMaxProgressInterval, result.progress_interval);
  result.drain_timeout = reader.Time("drain_timeout", absl::Milliseconds(1),
                                     absl::Hours(1), result.drain_timeout);
  const ConfigReader retention = reader.Nested(
      "event_retention", -1, config.event_retention(), "event_retention");
  engine.event_max_age =
      retention.Time("max_age", absl::Minutes(1), absl::InfiniteDuration(),
                     engine.event_max_age);
  engine.event_max_count =
      retention.Number("max_events", 1000, INT64_MAX, static_cast<int64_t>(0));
}

}  // namespace

Environment Environment::OfThisProcess() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const size_t equals = text.find('='); equals != text.npos) {
      environment.variables.emplace(text.substr(0, equals),
                                    text.substr(equals + 1));
    }
  }
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  if (size > 0) {
    const std::string_view program(path, size);
    environment.program_folder =
        std::string(program.substr(0, program.rfind('/')));
  }
  environment.user = geteuid();
  return environment;
}

namespace {

ConfigResult Read(const std::optional<ConfigFile>& file,
                  const Overrides& overrides, const Environment& environment) {
  ConfigResult result;
  v1::Config config;
  ConfigReader::Locations locations;
  if (file.has_value()) {
    ParseErrors errors(file->name, result.problems);
    google::protobuf::TextFormat::Parser parser;
    parser.RecordErrorsTo(&errors);
    parser.WriteLocationsTo(&locations);
    parser.AllowUnknownField(true);
    if (!parser.ParseFromString(file->text, &config)) return result;
  }
  const ConfigReader reader(file.has_value() ? file->name : "", config,
                            file.has_value() ? &locations : nullptr,
                            result.problems);
  Configuration& configuration = result.configuration;
  ReadListeners(config, overrides, environment, reader, result);
  ReadStore(config, overrides, environment, reader, result);
  ReadRoots(config, reader, configuration.rules);
  ReadBounds(config, reader, configuration);

  auto& profiles = configuration.engine.profiles;
  if (config.profile().empty()) {
    profiles = DefaultProfiles(reader, environment);
    if (profiles.empty()) {
      result.problems.emplace_back(
          "profile: there is none, and no agent's program was found");
    }
  } else {
    profiles = ReadProfiles(config, reader, configuration.engine.max_slots,
                            environment, result.warnings);
  }
  for (const session::Profile& profile : profiles) {
    configuration.rules.agents.push_back(profile.name);
  }
  if (const auto guard = FindProgram(kGuardName, environment);
      guard.has_value()) {
    configuration.guard = *guard;
  } else {
    result.problems.push_back(absl::StrCat("the program ", kGuardName,
                                           " is missing: it belongs in ",
                                           environment.program_folder));
  }
  return result;
}

}  // namespace

ConfigResult ReadConfiguration(const std::optional<ConfigFile>& file,
                               const Overrides& overrides,
                               const Environment& environment) {
  ConfigResult result = Read(file, overrides, environment);
  // Values are quoted in them as they stand in the file.
  for (auto* texts : {&result.problems, &result.warnings}) {
    for (std::string& text : *texts) {
      std::replace_if(
          text.begin(), text.end(),
          [](char c) { return absl::ascii_iscntrl(c); }, '?');
    }
  }
  return result;
}

}  // namespace understudy::service
