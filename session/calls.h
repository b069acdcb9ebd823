// What the engine is asked and what it answers: the parameters and results of
// SessionManager's calls, as plain values. Everything in them has been checked
// by the caller: ids are canonical, models and texts within their bounds.

#ifndef UNDERSTUDY_SESSION_CALLS_H_
#define UNDERSTUDY_SESSION_CALLS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/store/store.h"

namespace understudy::session {

template <typename T>
using Reply = absl::AnyInvocable<void(absl::StatusOr<T>) &&>;

// Whose call this is.
struct Caller {
  std::string tenant;
  std::string request_id;   // "": the call is not to be remembered
  std::string fingerprint;  // of the request without its request_id
};

enum class SessionState { kDormant, kIdle, kRunning, kTransitioning };
enum class TurnPolicy { kAfterTurn, kInterrupt, kFail };

struct SessionInfo {
  SessionRecord record;
  SessionState state = SessionState::kDormant;
  uint64_t epoch = 0;
  uint64_t oldest_sequence = 1;
  uint64_t newest_sequence = 0;
  std::string running_turn_id;
  int queued_messages = 0;
  std::vector<std::string> pending_permission_ids;
};

using Labels = std::map<std::string, std::string>;
// Of one session.
inline constexpr size_t kMaxLabels = 64;

struct CreateParams {
  std::string session_id;  // "": made here
  std::string agent;       // a profile's name
  std::string model;
  std::string working_directory;
  Labels labels;
};

struct UpdateParams {
  std::string session_id;
  bool replace = false;  // labels that are not named go
  // What each is to be; nothing: it goes.
  std::map<std::string, std::optional<std::string>> labels;
};

struct ListParams {
  std::string agent;  // "": any
  std::optional<SessionState> state;
  Labels labels;
  int page_size = 50;
  std::string page_token;
};
struct SessionPage {
  std::vector<SessionInfo> sessions;
  std::string next_page_token;
};

// What a client says to the agent.
struct MessageBody {
  std::string text;  // of content: what its parts of text say
  // The parts; null: it is `text`.
  std::shared_ptr<const v1::Content> content;
};

struct SendParams {
  std::string session_id;
  std::string text;                            // as of MessageBody
  std::shared_ptr<const v1::Content> content;  // as of MessageBody
  std::optional<std::string> model;            // switch to it first
  bool wait_completed = false;
};
struct SendResult {
  std::string turn_id;
  uint64_t sequence = 0;  // of message_accepted
  // With wait_completed only.
  std::optional<v1::TurnCompleted> completed;
};

struct MoveParams {
  enum class Kind { kSwitchModel, kClear, kResume };
  Kind kind = Kind::kSwitchModel;
  std::string session_id;
  std::optional<std::string> model;  // SwitchModel ("": default), Resume
  std::string conversation;          // Resume; Clear: "" or what to load
  TurnPolicy policy = TurnPolicy::kAfterTurn;
};
struct MoveResult {
  std::string agent;
  bool changed = false;
  std::string previous_model;
  std::string model;
  std::string previous_agent_session_id;
  std::string agent_session_id;
  v1::Route route = v1::ROUTE_NONE;
  bool verified = false;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;  // of the last event that announced it
};

struct InterruptResult {
  bool interrupted = false;
  std::string turn_id;
};

struct ModeParams {
  std::string session_id;
  std::string permission_mode;  // "": the profile's
};

struct PermissionParams {
  std::string session_id;
  std::string permission_id;
  PermissionAnswer answer;
};

struct AgentInfo {
  std::string name;
  std::string kind;
  std::string version;
  std::string default_model;
  Capabilities capabilities;
  bool known = false;  // a handshake has told version and capabilities
};

struct ModelRow {
  std::string model;
  std::string name;
  bool is_current = false;
  bool is_default = false;
  bool known = false;  // the agent itself has listed it
};

struct ConversationRow {
  std::string agent_session_id;
  absl::Time update_time;
  std::string first_prompt;
};

// Names a call that may still be withdrawn. 0: none.
using CallId = uint64_t;

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_CALLS_H_
