// The agent kind `acp`, and how an AcpAgent starts and changes.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/agent/acp_agent.h"
#include "session/agent/acp_events.h"
#include "session/agent/acp_quirks.h"
#include "session/agent/agent.h"
#include "session/base/concat.h"
#include "session/base/id.h"
#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

constexpr Capabilities kMost = {
    .switch_model = true,
    .new_conversation = true,
    .load_conversation = true,
    .interrupt = true,
    .permissions = true,
    .shared_conversation = true,
    .images = true,
    .resume_conversation = true,
    .edits_input = false,
    .acknowledges = true,
};

constexpr std::string_view kInitialize =
    R"({"protocolVersion":1,"clientCapabilities":{"fs":{)"
    R"("readTextFile":false,"writeTextFile":false},"terminal":false},)"
    R"("clientInfo":{"name":"understudy","version":"1"}})";

// Names beginning with an underscore are left to implementations.
constexpr std::string_view kPing = "_understudy/ping";

// How long a conversation that was left stays open, to be gone back to.
constexpr absl::Duration kLeftOpen = absl::Seconds(15);

// What agents look at that are known to speak ACP, and others do not; a profile
// may say otherwise.
std::map<std::string, std::string> AcpEnvironment() {
  return {
      // Gemini CLI 0.61 starts itself once more without it.
      {"GEMINI_CLI_NO_RELAUNCH", "1"},
      // codex-acp 2.6 and Gemini CLI: nobody is there to log in.
      {"NO_BROWSER", "1"},
      // `opencode acp` 1.18 also listens on a port of loopback, where without
      // it everybody on the machine may use it.
      {"OPENCODE_SERVER_PASSWORD", NewUuid()},
  };
}

std::string ConversationParams(std::string_view conversation) {
  return Concat({R"({"sessionId":)", JsonString(conversation), "}"});
}

}  // namespace

AcpAgent::AcpAgent(EventLoop& loop, const Profile& profile,
                   Agent::Observer* observer)
    : LineAgent(loop, profile.name.empty() ? "acp" : profile.name,
                {profile.start_timeout, profile.switch_timeout}, observer),
      profile_(profile),
      tag_(NewUuid().substr(0, 8)) {
  capabilities_ = kMost;
  capabilities_.switch_model = profile.native_switch;
  capabilities_.new_conversation = profile.native_clear;
  capabilities_.load_conversation = profile.native_resume;
  capabilities_.interrupt = profile.interrupt;
  capabilities_.permissions = profile.permissions;
}

// The process may go on without it.
AcpAgent::~AcpAgent() {
  if (shares_process()) Leave();
}

absl::Status AcpAgent::Open(Launcher& launcher, const Opening& opening) {
  Command command;
  command.argv.push_back(profile_.command);
  command.argv.insert(command.argv.end(), profile_.args.begin(),
                      profile_.args.end());
  command.env = profile_.env;
  for (const auto& [name, value] : AcpEnvironment()) {
    command.env.try_emplace(name, value);
  }
  command.cwd = opening.working_directory;
  command.max_line_bytes = profile_.max_line_bytes;
  command.max_memory_bytes = profile_.max_memory_bytes;
  command.write_timeout = profile_.write_timeout;
  directory_ = opening.working_directory;
  wanted_model_ =
      opening.model.empty() ? profile_.default_model : opening.model;
  wanted_mode_ = opening.permission_mode.empty() ? profile_.permission_mode
                                                 : opening.permission_mode;
  current_.model = wanted_model_;
  course_ = Course{};
  course_->open = opening.conversation;
  return Launch(launcher, command);
}

// --- Requests ---------------------------------------------------------------

std::string AcpAgent::NewId() {
  return Concat({tag_, "-", absl::StrCat(next_++)});
}

void AcpAgent::Call(std::string_view method, std::string_view params,
                    Answer answer) {
  const std::string id = NewId();
  Ask(id, JsonRpcRequest(id, method, params),
      [answer = std::move(answer)](JsonValue line) mutable {
        std::move(answer)(ReadJsonRpc(line));
      });
}

std::string AcpAgent::Tell(std::string_view method, std::string_view params) {
  std::string id = NewId();
  Write(JsonRpcRequest(id, method, params));
  return id;
}

std::string AcpAgent::Ping() { return Tell(kPing, "{}"); }

// --- The handshake ----------------------------------------------------------

void AcpAgent::Handshake() {
  Call("initialize", kInitialize,
       [this](const JsonRpcMessage& answer) { OnInitialized(answer); });
}

void AcpAgent::OnInitialized(const JsonRpcMessage& answer) {
  const JsonValue version = answer.result["protocolVersion"];
  if (!answer.ok() || version.Int() != 1) {
    const absl::Status why = MakeError(
        Reason::kAgentStartFailed,
        answer.ok()
            ? Concat({"start ", name(), ": it speaks version ",
                      version.exists() ? version.raw() : "none",
                      " of the Agent Client Protocol, not 1"})
            : Concat({"start ", name(),
                      ": initialize: ", ReadJsonRpcFault(answer.error).text}));
    return Refuse(why);
  }
  const JsonValue info = answer.result["agentInfo"];
  agent_name_ = info["name"].String();
  version_ = info["version"].String();
  const JsonValue can = answer.result["agentCapabilities"];
  const JsonValue sessions = can["sessionCapabilities"];
  can_.load = can["loadSession"].Bool();
  can_.resume = sessions["resume"].IsObject();
  can_.close = sessions["close"].IsObject();
  can_.list = sessions["list"].IsObject();
  const AcpQuirks quirks = FindAcpQuirks(agent_name_);
  if (quirks.load_is_broken) can_.load = false;
  if (!profile_.native_resume) can_.load = can_.resume = false;
  capabilities_.shared_conversation = !quirks.one_writer;
  if (quirks.one_writer) process().HoldsOn();
  capabilities_.images = can["promptCapabilities"]["image"].Bool();
  capabilities_.resume_conversation = CanLoad();
  capabilities_.load_conversation = CanLoad();
  capabilities_.acknowledges = false;
  for (const JsonValue way : answer.result["authMethods"]) {
    if (!logins_.empty()) logins_.append(", ");
    logins_.append(way["id"].String());
  }
  probe_ = Ping();
  if (profile_.auth_method.empty()) return OpenConversation();
  Authenticate();
}

void AcpAgent::Authenticate() {
  Call("authenticate",
       Concat({R"({"methodId":)", JsonString(profile_.auth_method), "}"}),
       [this](const JsonRpcMessage& answer) {
         if (answer.ok()) return OpenConversation();
         Refuse(MakeError(Reason::kAgentStartFailed,
                          Concat({"start ", name(), ": authenticate by ",
                                  profile_.auth_method, ": ",
                                  ReadJsonRpcFault(answer.error).text})));
       });
}

// --- A conversation ---------------------------------------------------------

void AcpAgent::OpenConversation() {
  const std::string& wanted = *course_->open;
  const std::string where =
      Concat({R"("cwd":)", JsonString(directory_), R"(,"mcpServers":[]})"});
  if (wanted.empty()) {
    Call("session/new", Concat({"{", where}),
         [this](const JsonRpcMessage& answer) { OnOpened(answer); });
    return;
  }
  if (left_.contains(wanted)) {
    // It has never been away.
    process().Subscribe(wanted);
    course_->conversation = wanted;
    course_->opened = true;
    course_->loaded = true;
    course_->settings = settings_;
    return ChooseModel();
  }
  if (!CanLoad()) {
    return Refuse(MakeError(Reason::kCapabilityMissing,
                            Concat({"resume ", wanted, ": ", agent_name_, " ",
                                    version_, " cannot load a conversation"}),
                            {{"capability", "resume"}}));
  }
  for (const auto& [unused, conversation] : closing_) {
    if (conversation != wanted) continue;
    course_->waits = true;
    return;
  }
  course_->waits = false;
  course_->conversation = wanted;
  course_->loaded = true;
  process().Subscribe(wanted);
  // What a load says of the past is heard of nobody.
  Call(can_.resume ? "session/resume" : "session/load",
       Concat({R"({"sessionId":)", JsonString(wanted), ",", where}),
       [this](const JsonRpcMessage& answer) { OnOpened(answer); });
}

absl::Status AcpAgent::OpeningError(const JsonRpcMessage& answer) const {
  const JsonRpcFault fault = ReadJsonRpcFault(answer.error);
  const std::string& wanted = *course_->open;
  if (fault.code == kAcpAuthRequired) {
    return MakeError(Reason::kAgentStartFailed,
                     Concat({"log in ", name(), ": ", fault.text,
                             "; it knows these ways (auth_method): ",
                             logins_.empty() ? "none" : logins_}));
  }
  if (wanted.empty()) {
    return MakeError(
        Reason::kAgentStartFailed,
        Concat({"begin a conversation of ", name(), ": ", fault.text}));
  }
  const std::string text = Concat({"resume ", wanted, ": ", fault.text});
  if (fault.code == kJsonRpcMethodNotFound) {
    return MakeError(Reason::kCapabilityMissing, text,
                     {{"capability", "resume"}});
  }
  // codex-acp 2.6: another process has it, and will until that ends.
  if (fault.reason == "thread_active_writer" ||
      absl::StrContains(fault.text, "active writer")) {
    return MakeError(Reason::kConversationInUse, text);
  }
  // There is no code for it: each agent has its own, some that of every error.
  ErrorMetadata metadata;
  if (fault.code == kJsonRpcInternalError) metadata["certain"] = "false";
  return MakeError(Reason::kConversationNotFound, text, metadata);
}

void AcpAgent::OnOpened(const JsonRpcMessage& answer) {
  if (!answer.ok()) return Refuse(OpeningError(answer));
  Course& course = *course_;
  if (course.open->empty()) {
    course.conversation = answer.result["sessionId"].String();
    if (!IsAcpConversation(course.conversation)) {
      return Refuse(MakeError(
          Reason::kAgentProtocol,
          Concat(
              {"begin a conversation of ", name(),
               ": its sessionId is not 1 to 128 letters, digits and ._:-"})));
    }
    process().Subscribe(course.conversation);
  }
  course.opened = true;
  course.settings.Read(answer.result);
  if (!course.loaded) {
    default_model_ = course.settings.model.current;
    default_mode_ = course.settings.mode.current;
  }
  ChooseModel();
}

// --- Changes ----------------------------------------------------------------

void AcpAgent::Make(const Change& change) {
  course_ = Course{};
  course_->model = change.model;
  course_->conversation = current_.conversation;
  course_->settings = settings_;
  const bool opens = change.conversation.has_value() &&
                     (change.conversation->empty() ||
                      *change.conversation != current_.conversation);
  const bool sets_model =
      change.model.has_value() && (!opens || (*change.model != wanted_model_ &&
                                              *change.model != current_.model));
  const bool missing =
      (sets_model && !capabilities_.switch_model) ||
      (opens && change.conversation->empty() &&
       !capabilities_.new_conversation) ||
      (opens && !change.conversation->empty() &&
       !capabilities_.load_conversation && !Holds(*change.conversation));
  if (missing) {
    return Refuse(MakeError(
        Reason::kCapabilityMissing,
        Concat({"change of ", name(), ": a running process cannot do this"})));
  }
  if (!opens) return ChooseModel();
  course_->open = *change.conversation;
  OpenConversation();
}

bool AcpAgent::Holds(std::string_view conversation) const {
  return left_.contains(conversation);
}

bool AcpAgent::Keeps(std::string_view conversation) const {
  return left_.contains(conversation) ||
         (!capabilities_.shared_conversation && closed_.contains(conversation));
}

bool AcpAgent::Forget(std::string_view conversation) {
  if (!capabilities_.shared_conversation) return !Keeps(conversation);
  const auto it = left_.find(conversation);
  if (it == left_.end()) return true;
  const std::string id = *it;
  left_.erase(it);
  // In a shared process it may be a neighbour's already, once this is read.
  if (process().shared()) {
    closed_.insert(id);
  } else {
    Close(id);
  }
  return true;
}

// All that was wanted holds.
void AcpAgent::Arrive() {
  Course course = *std::exchange(course_, std::nullopt);
  if (course.opened) {
    left_.erase(course.conversation);
    closed_.erase(course.conversation);
    // Of those that can be closed, one stays open.
    if (can_.close) CloseLeft();
    if (!current_.conversation.empty()) left_.insert(current_.conversation);
    current_.conversation = course.conversation;
    current_.total_cost_usd.reset();
    if (!course.loaded) current_.total_cost_usd = 0;
    cost_.reset();
    commands_.reset();
    if (can_.close && !left_.empty()) {
      close_timer_ = loop().RunAfter(kLeftOpen, [this] { CloseLeft(); });
    }
  }
  if (course.model.has_value()) wanted_model_ = *course.model;
  settings_ = std::move(course.settings);
  current_.model = settings_.model.current;
  current_.verified = course.verified && !current_.model.empty();
  TakeModels(settings_.model);
  capabilities_.switch_model =
      profile_.native_switch && settings_.model.exists();
  Finish(absl::OkStatus());
}

// It cannot be had: what was, is.
void AcpAgent::Refuse(absl::Status why) {
  const Course course = *std::exchange(course_, std::nullopt);
  if (course.opened && !left_.contains(course.conversation) &&
      (ready() || process().shared())) {
    Close(course.conversation);
  }
  if (!ready()) End(why);
  Finish(std::move(why));
}

void AcpAgent::TakeModels(const AcpSetting& setting) {
  models_.clear();
  for (const AcpSetting::Choice& choice : setting.choices) {
    models_.push_back({.model = choice.value,
                       .resolved = {},
                       .name = choice.name,
                       .is_default = choice.value == default_model_});
  }
}

void AcpAgent::Close(const std::string& conversation) {
  if (conversation.empty()) return;
  closed_.insert(conversation);
  if (!can_.close) return;
  closing_[Tell("session/close", ConversationParams(conversation))] =
      conversation;
}

// claude-agent-acp 0.100 has a process of 160 MiB for each open one.
void AcpAgent::CloseLeft() {
  for (const std::string& conversation : std::exchange(left_, {})) {
    if (course_.has_value() && conversation == course_->conversation) {
      left_.insert(conversation);  // it is being gone back to
    } else {
      Close(conversation);
    }
  }
  if (!left_.empty()) {
    close_timer_ = loop().RunAfter(kLeftOpen, [this] { CloseLeft(); });
  }
}

// Others go on in the process.
void AcpAgent::Leave() {
  if (prompt_.has_value()) {
    SendCancel();
    CancelPermissions();
  }
  if (course_.has_value() && course_->opened) Close(course_->conversation);
  CloseLeft();
  Close(current_.conversation);
}

// --- The kind ---------------------------------------------------------------

namespace {

absl::StatusOr<std::unique_ptr<Agent>> MakeAcp(EventLoop& loop,
                                               Launcher& launcher,
                                               const Profile& profile,
                                               const Opening& opening,
                                               Agent::Observer* observer) {
  auto agent = std::make_unique<AcpAgent>(loop, profile, observer);
  UNDERSTUDY_RETURN_IF_ERROR(agent->Open(launcher, opening));
  return agent;
}

// What an agent keeps is known to it alone: a running one is asked.
std::vector<LocalConversation> NoConversations(const Profile&,
                                               const std::string&, size_t) {
  return {};
}

bool IsNowhereElse(const Profile&, const std::string&, std::string_view) {
  return false;
}

}  // namespace

extern const AgentKind kAgentKind_acp;
const AgentKind kAgentKind_acp = {
    .name = "acp",
    .capabilities = kMost,
    .valid_conversation = IsAcpConversation,
    .local_conversations = NoConversations,
    .is_elsewhere = IsNowhereElse,
    .make = MakeAcp,
    .many_conversations = true,
};

}  // namespace understudy::session
