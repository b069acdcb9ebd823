// The agent kind `claude`, and how a ClaudeAgent starts and changes.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/error.h"
#include "session/agent/agent.h"
#include "session/agent/claude_agent.h"
#include "session/agent/claude_command.h"
#include "session/agent/claude_events.h"
#include "session/agent/claude_grants.h"
#include "session/agent/claude_transcripts.h"
#include "session/base/concat.h"
#include "session/base/id.h"
#include "session/base/redact.h"
#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

constexpr Capabilities kMost = {
    .switch_model = true,
    .new_conversation = true,
    .load_conversation = false,
    .interrupt = true,
    .permissions = true,
    .shared_conversation = true,
    .images = true,
};

// `get_usage` may ask a service elsewhere for what we do not need of it.
constexpr absl::Duration kCostBound = absl::Seconds(1);

}  // namespace

ClaudeAgent::ClaudeAgent(EventLoop& loop, const Profile& profile,
                         Agent::Observer* observer)
    : LineAgent(loop, profile.name.empty() ? "claude" : profile.name,
                {profile.start_timeout, profile.switch_timeout}, observer),
      interrupt_timeout_(profile.interrupt_timeout) {
  capabilities_ = kMost;
  capabilities_.switch_model = profile.native_switch;
  capabilities_.new_conversation = profile.native_clear;
  capabilities_.interrupt = profile.interrupt;
  capabilities_.permissions = profile.permissions;
}

absl::Status ClaudeAgent::Open(Launcher& launcher, const Profile& profile,
                               const Opening& opening) {
  const std::string fresh = NewUuid();
  UNDERSTUDY_ASSIGN_OR_RETURN(const Command command,
                              ClaudeCommand(profile, opening, fresh));
  resumed_ = opening.conversation;
  wanted_model_ = opening.model.empty() ? profile.default_model : opening.model;
  current_.model = wanted_model_;
  current_.conversation = resumed_.empty() ? fresh : resumed_;
  grants_ = ClaudeGrantSettings(opening.grants);
  return Launch(launcher, command);
}

// --- The handshake ----------------------------------------------------------

void ClaudeAgent::Handshake() {
  const std::string id = NextId();
  Ask(id, ClaudeInitialize(id),
      [this](JsonValue answer) { OnInitialized(answer); });
}

void ClaudeAgent::OnInitialized(JsonValue answer) {
  if (!answer["subtype"].Is("success")) {
    const absl::Status why = MakeError(
        Reason::kAgentStartFailed,
        Concat({"start ", name(), ": ", Redact(answer["error"].String())}));
    End(why);
    return Finish(why);
  }
  const JsonValue facts = answer["response"];
  version_ = facts["claude_code_version"].String();
  models_ = ReadClaudeModels(facts["models"]);
  permission_mode_ = facts["current_permission_mode"].String();
  if (!grants_.empty()) {
    // A version that refuses asks again for what was granted. The next answer
    // comes after this one.
    const std::string id = NextId();
    Ask(id, ClaudeApplySettings(id, grants_), [](JsonValue) {});
  }
  AskForCost();
}

// A process that resumes may count on from what another one has spent.
void ClaudeAgent::AskForCost() {
  if (resumed_.empty()) return AskForModel();
  current_.total_cost_usd.reset();
  cost_timer_ = loop().RunAfter(kCostBound, [this] {
    cost_timer_.reset();
    AskForModel();
  });
  const std::string id = NextId();
  Ask(id, ClaudeGetUsage(id), [this](JsonValue answer) {
    if (!cost_timer_) return;  // too late
    cost_timer_.reset();
    current_.total_cost_usd =
        answer["response"]["session"]["total_cost_usd"].Double();
    AskForModel();
  });
}

// The last step of the handshake, and of a change of the model in a version
// that does not answer with its name.
void ClaudeAgent::AskForModel() {
  const std::string id = NextId();
  Ask(id, ClaudeGetSettings(id), [this](JsonValue answer) {
    const JsonValue model = answer["response"]["applied"]["model"];
    if (model.IsString()) {
      // A version that does not answer a change with the model takes any name
      // for one and repeats it: it has looked at it where it lists it, or says
      // another name.
      const std::string named = model.String();
      current_.verified =
          !setting_model_ || named != wanted_model_ || Lists(named);
      current_.model = named;
    }
    setting_model_ = false;
    if (clear_follows_) return BeginClear();
    Finish(absl::OkStatus());
  });
}

bool ClaudeAgent::Lists(std::string_view model) const {
  return std::any_of(models_.begin(), models_.end(),
                     [model](const ModelInfo& info) {
                       return info.model == model || info.resolved == model;
                     });
}

absl::Status ClaudeAgent::ExplainStart(const ExitStatus& exit) const {
  if (resumed_.empty()) return LineAgent::ExplainStart(exit);
  // On stderr, and in a result, which is the only line of such a process.
  for (const std::string_view said :
       {std::string_view(start_failure_), std::string_view(exit.stderr_tail)}) {
    const size_t begin = said.find("No conversation found");
    if (begin == std::string_view::npos) continue;
    const std::string_view words = said.substr(begin);
    return MakeError(
        Reason::kConversationNotFound,
        Concat({"resume ", resumed_, ": ", words.substr(0, words.find('\n'))}),
        ExitMetadata(exit));
  }
  return LineAgent::ExplainStart(exit);
}

// --- Changes ----------------------------------------------------------------

void ClaudeAgent::Make(const Change& change) {
  const bool clears = change.conversation.has_value();
  const bool sets_model = change.model.has_value() &&
                          (!clears || (*change.model != wanted_model_ &&
                                       *change.model != current_.model));
  if ((clears && !change.conversation->empty()) ||
      (clears && !capabilities_.new_conversation) ||
      (sets_model && !capabilities_.switch_model)) {
    return Finish(MakeError(
        Reason::kCapabilityMissing,
        Concat({"change of ", name(), ": a running process cannot do this"})));
  }
  if (!sets_model) return clears ? BeginClear() : Finish(absl::OkStatus());
  clear_follows_ = clears;
  // Before the conversation: a model that is refused leaves all as it was.
  setting_model_ = true;
  const std::string id = NextId();
  Ask(id, ClaudeSetModel(id, *change.model),
      [this, model = *change.model](JsonValue answer) {
        if (answer["subtype"].Is("success")) {
          wanted_model_ = model;
          current_.model = model;
          current_.verified = false;
          return OnModelSet(answer);
        }
        setting_model_ = false;
        Finish(ClaudeModelError(ClaudeModelName(model), answer));
      });
}

void ClaudeAgent::OnModelSet(JsonValue answer) {
  const JsonValue model = answer["response"]["model"];
  if (!model.IsString()) return AskForModel();
  current_.model = model.String();
  current_.verified = true;
  setting_model_ = false;
  if (clear_follows_) return BeginClear();
  Finish(absl::OkStatus());
}

// It answers at once, whatever it does, with the mode in its own word (2.1.329
// knows some by two), and says it once more in a `system/status` that follows.
void ClaudeAgent::MakeMode(const std::string& mode) {
  const std::string id = NextId();
  const std::string word(ClaudeModeName(mode));
  // An old version takes any word, and would then not start again.
  if (!ClaudeKnowsComposed(version_) && !ClaudeModeIsOld(word)) {
    return FinishMode(FieldInvalid("permission_mode",
                                   Concat({"the agent has no mode ", word})));
  }
  Ask(id, ClaudeSetMode(id, word), [this, word](JsonValue answer) {
    if (!answer["subtype"].Is("success")) {
      return FinishMode(ClaudeModeError(word, answer));
    }
    const Witness witness(*this);
    NoteMode(answer["response"]["mode"].String(), /*asked=*/true);
    if (!witness.gone()) FinishMode(absl::OkStatus());
  });
}

void ClaudeAgent::BeginClear() {
  clear_follows_ = false;
  cleared_ = current_.conversation;
  const std::string uuid = NewUuid();
  turns_.SendCommand(uuid);
  Write(ClaudeClear(uuid));
}

void ClaudeAgent::EndClear(const TurnEnd& end) {
  if (!busy()) return;  // too late: the owner was told so
  if (end.outcome == v1::TURN_OUTCOME_SUCCEEDED &&
      current_.conversation != cleared_) {
    return Finish(absl::OkStatus());
  }
  Finish(MakeError(Reason::kAgentProtocol,
                   Concat({"clear ", name(), ": no new conversation: ",
                           std::string(end.error.message())})));
}

// current() is what the process said last; an id that cannot be one is nothing
// that it said.
void ClaudeAgent::Track(std::string_view conversation, std::string_view model) {
  bool changed = false;
  if (IsUuid(conversation) && conversation != current_.conversation) {
    current_.conversation = conversation;
    changed = true;
  }
  // What it said before it got to our request is not what it will be.
  const bool setting = busy() && setting_model_;
  if (!model.empty() && !setting &&
      (model != current_.model || !current_.verified)) {
    current_.model = model;
    current_.verified = true;
    changed = true;
  }
  if (changed && !busy()) observer().OnStateChanged();
}

// --- The kind ---------------------------------------------------------------

namespace {

absl::StatusOr<std::unique_ptr<Agent>> MakeClaude(EventLoop& loop,
                                                  Launcher& launcher,
                                                  const Profile& profile,
                                                  const Opening& opening,
                                                  Agent::Observer* observer) {
  auto agent = std::make_unique<ClaudeAgent>(loop, profile, observer);
  UNDERSTUDY_RETURN_IF_ERROR(agent->Open(launcher, profile, opening));
  return agent;
}

}  // namespace

extern const AgentKind kAgentKind_claude;
const AgentKind kAgentKind_claude = {
    .name = "claude",
    .capabilities = kMost,
    .valid_conversation = IsUuid,
    .local_conversations = ClaudeConversations,
    .is_elsewhere = ClaudeConversationIsElsewhere,
    .make = MakeClaude,
};

}  // namespace understudy::session
