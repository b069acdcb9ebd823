// One conversation on disk, in Claude Code's format and place:
//
//   ${CLAUDE_CONFIG_DIR:-$HOME/.claude}/projects/<key>/<session id>.jsonl
//
// where the key is the working directory with everything but letters and
// digits replaced by "-". Rows of users and assistants form a tree by uuid and
// parentUuid; the conversation is the path from the root to the newest leaf.
//
// A conversation exists once something was said (or it was born by /clear);
// rows are on disk when Append returns. Several processes may append to one
// file, as with the real program: nobody locks, and a later Resume follows one
// branch only, that of the last process that closed the conversation properly,
// else of the last writer.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_TRANSCRIPT_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_TRANSCRIPT_H_

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "session/agent/rehearsal/json.h"

namespace understudy::session {

// ${CLAUDE_CONFIG_DIR:-$HOME/.claude}
std::filesystem::path ConfigFolder();

class Transcript {
 public:
  struct Listing {
    std::string session_id;
    std::string cwd;
    std::string title = {};  // its first prompt
    std::string updated_at = {};
  };

  // A new conversation, in the project of `cwd`. Writes nothing yet.
  static Transcript New(std::string cwd, std::string session_id,
                        std::string version);
  // NotFound if `session_id` has no conversation: in the project of `cwd`, or
  // in any with `search_all_projects`. Rows are appended where it was found.
  static absl::StatusOr<Transcript> Resume(std::string cwd,
                                           std::string session_id,
                                           std::string version,
                                           bool search_all_projects);
  // The conversations with this working directory, or all; the latest first.
  static std::vector<Listing> List(const std::string& cwd);
  static bool Exists(std::string_view session_id);

  // A copy under another id. Writes nothing before the first Append.
  Transcript Fork(std::string session_id) const;

  // Rows. A prompt is a message of the user; the last one is taken out of the
  // conversation again by AppendApiError.
  void AppendPrompt(std::string_view uuid, const Json& content);
  void AppendUser(const Json& message);  // tool results, interruptions
  void AppendAssistant(const Json& message);
  void AppendApiError(const Json& message);
  // Makes an empty conversation one that can be resumed.
  void AppendLocalCommand(std::string_view command);
  // What a process that ends properly leaves.
  void Close(const Json& cost_state);

  const std::string& session_id() const { return session_id_; }
  // The user's messages, oldest first.
  const std::vector<std::string>& prompts() const { return prompts_; }
  // Of the last answer; "" if there is none.
  const std::string& last_model() const { return last_model_; }
  const Json& cost_state() const { return cost_state_; }
  bool HasMessage(const std::string& uuid) const { return uuids_.count(uuid); }
  size_t bytes() const { return bytes_; }
  // Rows, oldest first, of a conversation that was resumed and not continued
  // yet.
  const std::vector<Json>& history() const { return chain_; }

 private:
  Transcript() = default;

  static absl::StatusOr<Transcript> Read(std::string path,
                                         std::string session_id);
  void Load(std::string_view text);
  void Remember(const Json& row);
  void AppendRow(Json row);
  void Write(const Json& row);

  std::string path_;
  std::string cwd_;
  std::string session_id_;
  std::string version_;
  std::string leaf_;         // uuid of the row that the next one follows
  std::vector<Json> chain_;  // as resumed; of a fork: not written yet
  std::vector<std::string> prompts_;
  std::set<std::string> uuids_;
  std::string last_model_;
  Json cost_state_;
  size_t bytes_ = 0;   // of the conversation
  bool open_ = false;  // this process has written to it
  bool cut_ = false;   // the file ends within a line
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_TRANSCRIPT_H_
