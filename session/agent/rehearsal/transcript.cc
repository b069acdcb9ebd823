#include "session/agent/rehearsal/transcript.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;

fs::path Projects() { return ConfigFolder() / "projects"; }

std::string ProjectKey(std::string key) {
  for (char& c : key) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  }
  if (key.size() > 200) {
    size_t hash = std::hash<std::string>()(key);
    key = absl::StrCat(key.substr(0, 200), "-", hash);
  }
  return key;
}

fs::path FileOf(const std::string& cwd, std::string_view session_id) {
  return Projects() / ProjectKey(cwd) /
         absl::StrCat(std::string(session_id), ".jsonl");
}

// Empty if no project has it.
fs::path FindFile(std::string_view session_id) {
  std::error_code error;
  for (const auto& project : fs::directory_iterator(Projects(), error)) {
    fs::path file =
        project.path() / absl::StrCat(std::string(session_id), ".jsonl");
    if (fs::exists(file, error)) return file;
  }
  return {};
}

// The text of a message of the user; nothing for tool results and for what the
// program itself puts in the user's mouth.
std::optional<std::string> PromptText(const Json& content) {
  std::string text;
  if (content.is_string()) text = content.get<std::string>();
  if (content.is_array()) {
    for (const Json& block : content) {
      std::string type = GetString(block, "type");
      if (type == "tool_result") return std::nullopt;
      if (type != "text") continue;
      if (!text.empty()) text.push_back('\n');
      text.append(GetString(block, "text"));
    }
  }
  for (std::string_view not_by_the_user :
       {"[Request interrupted by user", "<task-notification>"}) {
    if (text.rfind(not_by_the_user, 0) == 0) return std::nullopt;
  }
  return text;
}

bool IsMessage(const Json& row) {
  std::string type = GetString(row, "type");
  return type == "user" || type == "assistant";
}

}  // namespace

fs::path ConfigFolder() {
  const char* config = getenv("CLAUDE_CONFIG_DIR");
  if (config != nullptr && *config != 0) return config;
  const char* home = getenv("HOME");
  return fs::path(home != nullptr ? home : "/") / ".claude";
}

Transcript Transcript::New(std::string cwd, std::string session_id,
                           std::string version) {
  Transcript t;
  t.path_ = FileOf(cwd, session_id);
  t.cwd_ = std::move(cwd);
  t.session_id_ = std::move(session_id);
  t.version_ = std::move(version);
  return t;
}

absl::StatusOr<Transcript> Transcript::Resume(std::string cwd,
                                              std::string session_id,
                                              std::string version,
                                              bool search_all_projects) {
  Transcript t = New(std::move(cwd), std::move(session_id), version);
  std::error_code error;
  if (!fs::exists(t.path_, error) && search_all_projects) {
    fs::path found = FindFile(t.session_id_);
    if (!found.empty()) t.path_ = found;
  }
  absl::StatusOr<Transcript> read = Read(t.path_, t.session_id_);
  if (!read.ok()) return read;
  read->cwd_ = std::move(t.cwd_);
  read->version_ = std::move(t.version_);
  return read;
}

absl::StatusOr<Transcript> Transcript::Read(std::string path,
                                            std::string session_id) {
  Transcript t;
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  t.path_ = std::move(path);
  t.session_id_ = std::move(session_id);
  t.Load(text);
  t.cut_ = !text.empty() && text.back() != '\n';
  if (t.leaf_.empty()) {
    return absl::NotFoundError(
        absl::StrCat("No conversation found with session ID: ", t.session_id_));
  }
  return t;
}

std::vector<Transcript::Listing> Transcript::List(const std::string& cwd) {
  std::vector<Listing> listings;
  std::error_code error;
  for (const auto& project : fs::directory_iterator(Projects(), error)) {
    for (const auto& file : fs::directory_iterator(project.path(), error)) {
      if (file.path().extension() != ".jsonl") continue;
      absl::StatusOr<Transcript> t =
          Read(file.path().string(), file.path().stem().string());
      if (!t.ok() || t->chain_.empty()) continue;
      const Json& last = t->chain_.back();
      Listing listing{.session_id = t->session_id_,
                      .cwd = GetString(last, "cwd"),
                      .updated_at = GetString(last, "timestamp")};
      if (!t->prompts_.empty()) listing.title = t->prompts_.front();
      if (cwd.empty() || listing.cwd == cwd) listings.push_back(listing);
    }
  }
  std::sort(listings.begin(), listings.end(), [](const auto& a, const auto& b) {
    return a.updated_at > b.updated_at;
  });
  return listings;
}

bool Transcript::Exists(std::string_view session_id) {
  return !FindFile(session_id).empty();
}

Transcript Transcript::Fork(std::string session_id) const {
  Transcript fork = *this;
  fork.path_ = FileOf(cwd_, session_id);
  fork.session_id_ = session_id;
  for (Json& row : fork.chain_) row["sessionId"] = session_id;
  fork.open_ = fork.cut_ = false;
  return fork;
}

void Transcript::Load(std::string_view text) {
  std::map<std::string, Json> rows;
  std::vector<std::string> order;
  std::string closed_leaf;
  for (size_t start = 0, end; start < text.size(); start = end + 1) {
    end = std::min(text.find('\n', start), text.size());
    // A cut or foreign line is no reason to lose the conversation.
    Json row = ParseJson(text.substr(start, end - start));
    std::string type = GetString(row, "type");
    std::string uuid = GetString(row, "uuid");
    if (type == "last-prompt") closed_leaf = GetString(row, "leafUuid");
    if (type == "cost-state") cost_state_ = row;
    if (uuid.empty() || (!IsMessage(row) && type != "system")) continue;
    order.push_back(uuid);
    rows[uuid] = std::move(row);
  }
  // The branch that was closed properly, as far as it was continued since;
  // rows of other branches that were written later do not count.
  std::set<std::string> branch;
  if (rows.count(closed_leaf)) {
    leaf_ = closed_leaf;
    branch.insert(closed_leaf);
  } else if (!order.empty()) {
    leaf_ = order.back();
  }
  for (const std::string& uuid : order) {
    if (branch.count(GetString(rows[uuid], "parentUuid"))) {
      branch.insert(uuid);
      leaf_ = uuid;
    }
  }
  for (std::string uuid = leaf_; rows.count(uuid);) {
    chain_.push_back(rows[uuid]);
    uuid = GetString(chain_.back(), "parentUuid");
    rows.erase(chain_.back()["uuid"].get<std::string>());
  }
  std::reverse(chain_.begin(), chain_.end());
  for (const Json& row : chain_) Remember(row);
}

void Transcript::Remember(const Json& row) {
  const Json& message = Get(row, "message");
  uuids_.insert(GetString(row, "uuid"));
  bytes_ +=
      Get(message, "content").is_null() ? 0 : Dump(message["content"]).size();
  if (GetString(row, "type") == "user") {
    std::optional<std::string> text = PromptText(Get(message, "content"));
    if (text) prompts_.push_back(*std::move(text));
  } else if (GetBool(row, "isApiErrorMessage", false)) {
    if (!prompts_.empty()) prompts_.pop_back();
  } else if (GetString(row, "type") == "assistant") {
    last_model_ = GetString(message, "model");
  }
}

void Transcript::AppendPrompt(std::string_view uuid, const Json& content) {
  AppendRow({{"parentUuid", nullptr},
             {"isSidechain", false},
             {"type", "user"},
             {"message", {{"role", "user"}, {"content", content}}},
             {"uuid", uuid}});
}

void Transcript::AppendUser(const Json& message) {
  AppendRow({{"parentUuid", nullptr},
             {"isSidechain", false},
             {"type", "user"},
             {"message", message},
             {"uuid", NewUuid()}});
}

void Transcript::AppendAssistant(const Json& message) {
  AppendRow({{"parentUuid", nullptr},
             {"isSidechain", false},
             {"message", message},
             {"type", "assistant"},
             {"uuid", NewUuid()}});
}

void Transcript::AppendApiError(const Json& message) {
  AppendRow({{"parentUuid", nullptr},
             {"isSidechain", false},
             {"message", message},
             {"isApiErrorMessage", true},
             {"type", "assistant"},
             {"uuid", NewUuid()}});
}

void Transcript::AppendLocalCommand(std::string_view command) {
  AppendRow({{"parentUuid", nullptr},
             {"isSidechain", false},
             {"type", "system"},
             {"subtype", "local_command"},
             {"content", "<local-command-stdout></local-command-stdout>"},
             {"commandRun", {{"command", command}, {"args", ""}}},
             {"uuid", NewUuid()}});
}

void Transcript::Close(const Json& cost_state) {
  if (!open_) return;
  Write({{"type", "last-prompt"},
         {"lastPrompt", prompts_.empty() ? "" : prompts_.back()},
         {"leafUuid", leaf_},
         {"sessionId", session_id_}});
  Write(cost_state);
}

void Transcript::AppendRow(Json row) {
  std::error_code error;
  if (!open_) {
    fs::create_directories(fs::path(path_).parent_path(), error);
    if (!fs::exists(path_, error)) {
      for (const Json& earlier : chain_) Write(earlier);
    }
    chain_.clear();
    open_ = true;
  }
  if (!leaf_.empty()) row["parentUuid"] = leaf_;
  row["timestamp"] = Timestamp();
  row["userType"] = "external";
  row["cwd"] = cwd_;
  row["sessionId"] = session_id_;
  row["version"] = version_;
  leaf_ = GetString(row, "uuid");
  Remember(row);
  Write(row);
}

void Transcript::Write(const Json& row) {
  std::string line = (cut_ ? "\n" : "") + Dump(row) + "\n";
  cut_ = false;
  int fd = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // A full disk loses the row, and the conversation goes on, as with the real
  // program.
  [[maybe_unused]] ssize_t n = write(fd, line.data(), line.size());
  close(fd);
}

}  // namespace understudy::session
