#include "session/agent/claude_transcripts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "session/base/concat.h"
#include "session/base/id.h"
#include "session/base/json.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxKeyBytes = 200;
constexpr std::string_view kExtension = ".jsonl";
// The first prompt stands behind some 70 KB of what the program notes down.
constexpr size_t kMaxReadBytes = 1 << 20;
constexpr size_t kMaxPromptBytes = 200;

// Empty where the agent's environment does not tell.
fs::path Projects(const Profile& profile) {
  const auto variable = [&](const char* name) -> std::string {
    const auto found = profile.env.find(name);
    return found == profile.env.end() ? "" : found->second;
  };
  if (const std::string config = variable("CLAUDE_CONFIG_DIR");
      !config.empty()) {
    return fs::path(config) / "projects";
  }
  const std::string home = variable("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".claude" / "projects";
}

std::string ProjectKey(const std::string& working_directory) {
  std::error_code error;
  const fs::path real = fs::canonical(working_directory, error);
  std::string key = error ? working_directory : real.string();
  for (char& c : key) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  return key;
}

bool IsProject(std::string_view folder, std::string_view key) {
  if (key.size() <= kMaxKeyBytes) return folder == key;
  return folder.size() > kMaxKeyBytes + 1 && folder[kMaxKeyBytes] == '-' &&
         folder.substr(0, kMaxKeyBytes) == key.substr(0, kMaxKeyBytes);
}

// The folders of the working directory, or (`its_own` false) all others.
std::vector<fs::path> Folders(const Profile& profile,
                              const std::string& working_directory,
                              bool its_own) {
  std::vector<fs::path> folders;
  const fs::path projects = Projects(profile);
  if (projects.empty()) return folders;
  const std::string key = ProjectKey(working_directory);
  std::error_code error;
  for (fs::directory_iterator at(projects, error), end; !error && at != end;
       at.increment(error)) {
    if (IsProject(at->path().filename().string(), key) == its_own) {
      folders.push_back(at->path());
    }
  }
  return folders;
}

bool AnyHas(const std::vector<fs::path>& folders, std::string_view id) {
  const std::string name = Concat({id, kExtension});
  std::error_code error;
  return std::any_of(folders.begin(), folders.end(), [&](const fs::path& one) {
    return fs::exists(one / name, error);
  });
}

// What a row of a transcript has the user say; "" for all other rows, and for
// what the program says in the user's name.
std::string Prompt(const JsonValue& row) {
  if (!row["type"].Is("user") || row["isMeta"].Bool() ||
      row["isSidechain"].Bool()) {
    return "";
  }
  const JsonValue content = row["message"]["content"];
  std::string text = content.String();
  if (content.IsArray()) {
    for (const JsonValue block : content) {
      if (block["type"].Is("tool_result")) return "";
      if (text.empty() && block["type"].Is("text")) {
        text = block["text"].String();
      }
    }
  }
  // <command-name>, <local-command-stdout>, <task-notification>.
  for (std::string_view own : {"<command-", "<local-command-", "<task-"}) {
    if (text.starts_with(own)) return "";
  }
  return text;
}

std::string FirstPrompt(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  JsonDocument document;
  size_t read = 0;
  for (std::string line; read < kMaxReadBytes && std::getline(in, line);) {
    read += line.size();
    if (line.find(R"("user")") == std::string::npos) continue;
    if (!document.ParseCopy(line).ok()) continue;
    if (const std::string prompt = Prompt(document.root()); !prompt.empty()) {
      return std::string(Utf8Prefix(prompt, kMaxPromptBytes));
    }
  }
  return "";
}

absl::Time TimeOf(fs::file_time_type time) {
  return absl::FromChrono(std::chrono::file_clock::to_sys(time));
}

}  // namespace

std::vector<LocalConversation> ClaudeConversations(
    const Profile& profile, const std::string& working_directory,
    size_t limit) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  for (const fs::path& folder : Folders(profile, working_directory, true)) {
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end;
         at.increment(error)) {
      std::error_code gone;
      const fs::file_time_type time = at->last_write_time(gone);
      if (!gone && at->path().extension() == kExtension &&
          IsUuid(at->path().stem().string())) {
        files.emplace_back(time, at->path());
      }
    }
  }
  std::sort(files.rbegin(), files.rend());
  std::vector<LocalConversation> conversations;
  for (const auto& [time, file] : files) {
    if (conversations.size() >= limit) break;
    std::string prompt = FirstPrompt(file);
    if (prompt.empty()) continue;
    conversations.push_back({.agent_session_id = file.stem().string(),
                             .update_time = TimeOf(time),
                             .first_prompt = std::move(prompt)});
  }
  return conversations;
}

bool ClaudeConversationIsElsewhere(const Profile& profile,
                                   const std::string& working_directory,
                                   std::string_view conversation) {
  return !AnyHas(Folders(profile, working_directory, true), conversation) &&
         AnyHas(Folders(profile, working_directory, false), conversation);
}

}  // namespace understudy::session
