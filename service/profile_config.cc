#include "service/profile_config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "session/agent/agent.h"
#include "session/base/id.h"

namespace understudy::service {
namespace {

using session::Profile;

// What an agent may need that is no secret and no switch of its behaviour.
constexpr const char* kPassedVariables[] = {
    "HOME",  "LANG", "LC_ALL", "LOGNAME", "PATH",
    "SHELL", "TERM", "TMPDIR", "TZ",      "USER"};

// By which Claude Code finds its account, where it is not logged in.
constexpr const char* kClaudeVariables[] = {
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"};

// The same of agents that speak ACP.
constexpr const char* kOpenCodeVariables[] = {
    "ANTHROPIC_API_KEY",   "GEMINI_API_KEY",      "OPENAI_API_KEY",
    "OPENCODE_API_KEY",    "OPENCODE_CONFIG",     "OPENCODE_CONFIG_CONTENT",
    "OPENCODE_CONFIG_DIR", "OPENCODE_PERMISSION", "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",     "XDG_DATA_HOME",       "XDG_STATE_HOME"};
constexpr const char* kGeminiVariables[] = {"GEMINI_API_KEY",
                                            "GOOGLE_API_KEY",
                                            "GOOGLE_APPLICATION_CREDENTIALS",
                                            "GOOGLE_CLOUD_LOCATION",
                                            "GOOGLE_CLOUD_PROJECT",
                                            "GOOGLE_GEMINI_BASE_URL",
                                            "GOOGLE_GENAI_USE_GCA",
                                            "GOOGLE_GENAI_USE_VERTEXAI"};
constexpr const char* kCodexVariables[] = {"CODEX_API_KEY", "CODEX_HOME",
                                           "OPENAI_API_KEY"};

// The program that a kind is named after, if there is one.
struct KindProgram {
  std::string_view kind;
  const char* program;
};
constexpr KindProgram kKindPrograms[] = {{"claude", "claude"}};

struct DefaultProfile {
  const char* name;
  const char* kind;
  const char* program;
  const char* arg;  // by which it speaks its kind's protocol, or null
  absl::Span<const char* const> variables;
};
constexpr DefaultProfile kDefaultProfiles[] = {
    {"rehearsal", "claude", "understudy-rehearsal", nullptr, {}},
    {"claude", "claude", "claude", nullptr, kClaudeVariables},
    {"opencode", "acp", "opencode", "acp", kOpenCodeVariables},
    {"gemini", "acp", "gemini", "--acp", kGeminiVariables},
    {"codex", "acp", "codex-acp", nullptr, kCodexVariables},
};

bool IsProgram(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

bool IsVariableName(std::string_view name) {
  if (name.empty() || absl::ascii_isdigit(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

bool HasNul(std::string_view text) { return text.find('\0') != text.npos; }

std::string KnownKinds() {
  std::vector<std::string> names;
  for (const std::string_view name : session::AgentKindNames()) {
    names.emplace_back(name);
  }
  return absl::StrJoin(names, ", ");
}

void Pass(std::string_view name, const Environment& environment,
          Profile& profile) {
  const auto found = environment.variables.find(std::string(name));
  if (found != environment.variables.end()) profile.env.insert(*found);
}

// What all profiles have from the server's own settings.
Profile ServerWide(const ConfigReader& server) {
  Profile profile;
  profile.max_line_bytes = server.Number("max_line_bytes", 64 << 10, 256 << 20,
                                         profile.max_line_bytes);
  profile.interrupt_timeout =
      server.Time("interrupt_timeout", absl::Milliseconds(100),
                  absl::Minutes(10), profile.interrupt_timeout);
  profile.stop_grace = server.Time("stop_grace", absl::Milliseconds(10),
                                   absl::Minutes(5), profile.stop_grace);
  return profile;
}

void ReadCommand(const v1::Profile& config, const ConfigReader& reader,
                 const Environment& environment, Profile& profile) {
  profile.command = config.command();
  for (const KindProgram& row : kKindPrograms) {
    if (profile.command.empty() && row.kind == config.agent()) {
      profile.command = row.program;
    }
  }
  if (profile.command.empty()) return reader.Report("command", "is required");
  if (HasNul(profile.command)) {
    return reader.Report("command", "must not contain NUL");
  }
  if (profile.command.front() == '/') {
    if (!IsProgram(profile.command)) {
      reader.Report("command", absl::StrCat(profile.command,
                                            " is not a program that exists"));
    }
  } else if (profile.command.find('/') != std::string::npos) {
    reader.Report("command", "must be an absolute path or a name");
  } else if (const auto path = FindProgram(profile.command, environment);
             path.has_value()) {
    profile.command = *path;
  } else {
    reader.Report("command", absl::StrCat("there is no program ",
                                          profile.command, " on PATH"));
  }
}

void ReadVariables(const v1::Profile& config, const ConfigReader& reader,
                   const Environment& environment, Profile& profile) {
  for (const auto& [name, value] : config.env()) {
    if (!IsVariableName(name)) {
      reader.Report(
          "env", 0,
          absl::StrCat("\"", name, "\" is not the name of a variable"));
    }
    if (HasNul(value)) {
      reader.Report("env", 0, absl::StrCat(name, " must not contain NUL"));
    }
    profile.env.emplace(name, value);
  }
  for (int i = 0; i < config.pass_env_size(); ++i) {
    if (!IsVariableName(config.pass_env(i))) {
      reader.Report("pass_env", i,
                    absl::StrCat("\"", config.pass_env(i),
                                 "\" is not the name of a variable"));
    }
    Pass(config.pass_env(i), environment, profile);
  }
  if (config.pass_env().empty()) {
    for (const char* name : kPassedVariables) Pass(name, environment, profile);
  }
}

void ReadChoices(const v1::Profile& config, const ConfigReader& reader,
                 Profile& profile) {
  if (!config.default_model().empty() &&
      !session::IsModelName(config.default_model())) {
    reader.Report("default_model", "is not the name of a model");
  }
  profile.default_model = config.default_model();
  if (!config.permission_mode().empty() &&
      !session::IsId(config.permission_mode())) {
    reader.Report("permission_mode", "is not the name of a mode");
  }
  profile.permission_mode = config.permission_mode();
  if (config.auth_method().size() > 128 || HasNul(config.auth_method())) {
    reader.Report("auth_method", "must be at most 128 bytes without NUL");
  }
  profile.auth_method = config.auth_method();
  if (!v1::PermissionPolicy_IsValid(config.permission_policy())) {
    reader.Report("permission_policy", "has no such value");
  } else if (config.permission_policy() == v1::PERMISSION_POLICY_ALLOW) {
    profile.permission_policy = Profile::PermissionPolicy::kAllow;
  } else if (config.permission_policy() == v1::PERMISSION_POLICY_DENY) {
    profile.permission_policy = Profile::PermissionPolicy::kDeny;
  }
  if (!v1::NativeSwitch_IsValid(config.native_switch())) {
    reader.Report("native_switch", "has no such value");
  }
  profile.native_switch = config.native_switch() != v1::NATIVE_SWITCH_NEVER;
  const std::map<std::string_view, bool*> capabilities = {
      {"native_switch", &profile.native_switch},
      {"clear", &profile.native_clear},
      {"resume", &profile.native_resume},
      {"interrupt", &profile.interrupt},
      {"permissions", &profile.permissions}};
  for (int i = 0; i < config.disable_size(); ++i) {
    const auto found = capabilities.find(config.disable(i));
    if (found == capabilities.end()) {
      reader.Report("disable", i,
                    "must be native_switch, clear, resume, interrupt or "
                    "permissions");
    } else {
      *found->second = false;
    }
  }
}

void ReadBounds(const ConfigReader& reader, int max_slots, Profile& profile) {
  constexpr absl::Duration kLeast = absl::Milliseconds(100);
  constexpr absl::Duration kMost = absl::Minutes(10);
  const absl::Duration never = absl::InfiniteDuration();
  profile.start_timeout =
      reader.Time("start_timeout", kLeast, kMost, profile.start_timeout);
  profile.switch_timeout =
      reader.Time("switch_timeout", kLeast, kMost, profile.switch_timeout);
  profile.quiesce_timeout =
      reader.Time("quiesce_timeout", kLeast, never, profile.quiesce_timeout);
  profile.turn_timeout =
      reader.Time("turn_timeout", kLeast, never, profile.turn_timeout);
  profile.permission_timeout = reader.Time("permission_timeout", kLeast, never,
                                           profile.permission_timeout);
  profile.idle_timeout =
      reader.Time("idle_timeout", kLeast, never, profile.idle_timeout);
  profile.max_slots = static_cast<int>(
      reader.Number("max_slots", 1, max_slots, profile.max_slots));
  profile.sessions_per_process = static_cast<int>(reader.Number(
      "sessions_per_process", 1, 10000, profile.sessions_per_process));
  profile.max_memory_bytes = static_cast<uint64_t>(reader.Number(
      "max_memory_bytes", int64_t{16} << 20, int64_t{1} << 40, 0));
}

// What the schema has and this version does not act on.
void WarnOfNoEffect(const v1::Profile& config, const ConfigReader& reader,
                    int max_slots, std::vector<std::string>& warnings) {
  reader.Number("warm", 0, max_slots, 0);
  const auto warn = [&](const char* what, const std::string& where) {
    warnings.push_back(absl::StrCat("profile \"", config.name(), "\": ", what,
                                    " has no effect ", where));
  };
  if (config.warm() > 0) warn("warm", "in this version");
  const session::AgentKind* const kind = session::FindAgentKind(config.agent());
  if (kind == nullptr) return;
  const std::string of_kind =
      absl::StrCat("for agents of kind ", config.agent());
  if (config.sessions_per_process() > 1 && !kind->many_conversations) {
    warn("sessions_per_process", of_kind);
  }
  if (kind->capabilities.load_conversation) return;
  if (std::count(config.disable().begin(), config.disable().end(), "resume") >
      0) {
    warn("disable: \"resume\"", of_kind);
  }
}

}  // namespace

std::optional<std::string> FindProgram(const std::string& name,
                                       const Environment& environment) {
  const std::vector<std::string> own = {
      environment.program_folder,
      environment.program_folder + "/../libexec/understudy"};
  std::vector<std::string> folders;
  if (const auto path = environment.variables.find("PATH");
      path != environment.variables.end()) {
    folders = absl::StrSplit(path->second, ':');
  }
  // Our own programs are those that were built with this one.
  const bool ours = name.starts_with("understudy-");
  folders.insert(ours ? folders.begin() : folders.end(), own.begin(),
                 own.end());
  for (const std::string& folder : folders) {
    if (folder.empty() || folder.front() != '/') continue;
    if (std::string path = absl::StrCat(folder, "/", name); IsProgram(path)) {
      return path;
    }
  }
  return std::nullopt;
}

std::vector<Profile> ReadProfiles(const v1::Config& config,
                                  const ConfigReader& reader, int max_slots,
                                  const Environment& environment,
                                  std::vector<std::string>& warnings) {
  std::vector<Profile> profiles;
  std::set<std::string> names;
  const Profile server_wide = ServerWide(reader);
  for (int i = 0; i < config.profile_size(); ++i) {
    const v1::Profile& row = config.profile(i);
    const ConfigReader at = reader.Nested(
        "profile", i, row, absl::StrCat("profile \"", row.name(), "\""));
    if (!session::IsId(row.name())) {
      at.Report("name", "must match ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$");
    } else if (!names.insert(row.name()).second) {
      at.Report("name", "is that of another profile, too");
    }
    Profile& profile = profiles.emplace_back(server_wide);
    profile.name = row.name();
    profile.kind = row.agent();
    if (session::FindAgentKind(row.agent()) == nullptr) {
      at.Report("agent",
                absl::StrCat("must be a kind of agent that this version has: ",
                             KnownKinds()));
    }
    ReadCommand(row, at, environment, profile);
    for (int arg = 0; arg < row.arg_size(); ++arg) {
      if (HasNul(row.arg(arg))) {
        at.Report("arg", arg, "must not contain NUL");
      }
      profile.args.push_back(row.arg(arg));
    }
    ReadVariables(row, at, environment, profile);
    ReadChoices(row, at, profile);
    ReadBounds(at, max_slots, profile);
    WarnOfNoEffect(row, at, max_slots, warnings);
  }
  return profiles;
}

std::vector<Profile> DefaultProfiles(const ConfigReader& reader,
                                     const Environment& environment) {
  std::vector<Profile> profiles;
  const Profile server_wide = ServerWide(reader);
  for (const DefaultProfile& row : kDefaultProfiles) {
    const auto program = FindProgram(row.program, environment);
    if (!program.has_value() || session::FindAgentKind(row.kind) == nullptr) {
      continue;
    }
    Profile& profile = profiles.emplace_back(server_wide);
    profile.name = row.name;
    profile.kind = row.kind;
    profile.command = *program;
    if (row.arg != nullptr) profile.args.emplace_back(row.arg);
    for (const char* name : kPassedVariables) Pass(name, environment, profile);
    for (const char* name : row.variables) Pass(name, environment, profile);
    // In its own default mode it asks a model for permission, and no client.
    if (profile.name == "codex") profile.permission_mode = "workspace-write";
  }
  return profiles;
}

}  // namespace understudy::service
