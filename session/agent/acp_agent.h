// AcpAgent: one conversation of an agent that speaks the Agent Client Protocol,
// version 1. Which agent that is, is a matter of the profile.
//
// The handshake is `initialize`, `authenticate` where the profile says how, and
// a conversation: session/new, or session/resume or session/load for one that
// exists. A change is the same once more in the running process: clearing opens
// a new conversation beside the old one, which is closed a while after, so that
// going back needs nothing. Agents begin a conversation with their default
// model, whatever the one before had, and some load one with another model than
// it had: what is wanted is said again each time.
//
// A version 2 of the protocol is negotiable with some agents (claude-agent-acp
// 0.100, codex-acp 2.6) and is another protocol: it is never asked for.
//
// Nothing in ACP says that a message has been taken up. If a turn stays silent
// for some seconds, a request of no known method does: lines are read in order,
// so whatever is answered to it comes after the prompt was read. An agent that
// does not answer such a one in the handshake is not asked again.
//
// Defined in acp.cc (start and changes), acp_choices.cc (model and mode) and
// acp_turns.cc (turns, and what each line does).
//
// Threads: everything on the loop.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_AGENT_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_AGENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/agent/acp_permissions.h"
#include "session/agent/acp_settings.h"
#include "session/agent/acp_text.h"
#include "session/agent/acp_tools.h"
#include "session/agent/agent.h"
#include "session/agent/json_rpc.h"
#include "session/agent/line_agent.h"
#include "session/base/json.h"

namespace understudy::session {

class AcpAgent final : public LineAgent {
 public:
  AcpAgent(EventLoop& loop, const Profile& profile, Agent::Observer* observer);
  ~AcpAgent() override;

  // Launches the process. Once, before anything else.
  absl::Status Open(Launcher& launcher, const Opening& opening);

  void Send(const TurnInput& input) override;
  v1::Delivered delivered() const override;
  void Interrupt() override;
  std::vector<std::string> AnswerPermission(
      std::string_view permission_id, const PermissionAnswer& answer) override;
  bool has_background_tasks() const override { return false; }
  bool Holds(std::string_view conversation) const override;
  bool Keeps(std::string_view conversation) const override;
  bool Forget(std::string_view conversation) override;
  void ListConversations(Listed listed) override;

 private:
  // What the agent can do, as its `initialize` says.
  struct Abilities {
    bool load = false;
    bool resume = false;
    bool close = false;
    bool list = false;
  };

  // Where the handshake, or a change, is on its way to. Until it arrives, all
  // is as it was.
  struct Course {
    std::optional<std::string> open;   // a conversation; "": a new one
    std::optional<std::string> model;  // "": the agent's own default
    std::string conversation;          // that it is in
    bool waits = false;                // for that to be closed first
    bool opened = false;               // by this
    bool loaded = false;               // and had been spoken in
    AcpSettings settings;
    bool verified = false;
  };

  struct Prompt {
    std::string id;    // of the request
    std::string ping;  // of the one behind it
    std::string turn_id;
    uint64_t queued_before = 0;  // bytes, when its line was queued
    bool acknowledged = false;
    bool failed = false;  // the agent has said so beside its answer
  };

  // A list of conversations on its way: who waits, and the pages so far.
  struct Listing {
    Listed listed;
    std::vector<LocalConversation> conversations;
    int pages = 0;
  };

  // LineAgent.
  void HandleLine(JsonValue line, std::string_view raw) override;
  void Handshake() override;
  void Make(const Change& change) override;
  void MakeMode(const std::string& mode) override;
  void Leave() override;

  // The handshake and changes (acp.cc).
  void OnInitialized(const JsonRpcMessage& answer);
  void Authenticate();
  void OpenConversation();
  void OnOpened(const JsonRpcMessage& answer);
  void ChooseModel();
  void LearnDefaults(absl::AnyInvocable<void() &&> then);
  void SetModel(const std::string& model);
  void OnModelSet(const std::string& model, const std::string& before,
                  const JsonRpcMessage& answer);
  void ChooseMode();
  void Arrive();
  void Refuse(absl::Status why);
  absl::Status OpeningError(const JsonRpcMessage& answer) const;
  bool CanLoad() const { return can_.load || can_.resume; }
  void TakeModels(const AcpSetting& setting);
  void Close(const std::string& conversation);
  void CloseLeft();

  using Answer = absl::AnyInvocable<void(const JsonRpcMessage&) &&>;
  void Call(std::string_view method, std::string_view params, Answer answer);
  // The same, for what nobody waits for.
  std::string Tell(std::string_view method, std::string_view params);
  std::string Ping();
  std::string NewId();

  // Turns, and what each line does (acp_turns.cc).
  bool Acknowledge(std::string_view raw);
  void SendCancel();
  void EndTurn(const JsonRpcMessage& answer, std::string_view raw);
  void CancelPermissions();
  bool WithdrawPermissions();
  void AskPermission(const JsonRpcMessage& request, std::string_view raw);
  void HandleResponse(const JsonRpcMessage& message, JsonValue line,
                      std::string_view raw);
  void HandleRequest(const JsonRpcMessage& message, std::string_view raw);
  void HandleNotification(const JsonRpcMessage& message, std::string_view raw);
  void HandleUpdate(const JsonRpcMessage& message, std::string_view raw);
  bool IsElsewhere(std::string_view conversation, JsonValue update);
  void HandleChunk(DeltaKind kind, JsonValue update, std::string_view raw);
  bool EndText();
  void HandleTool(JsonValue update, std::string_view raw);
  void HandleCommands(JsonValue update, std::string_view raw);
  void HandleSettings(JsonValue update, std::string_view raw);
  void AskForListing(Listing listing, std::string_view cursor);
  bool HandleListing(std::string_view id, const JsonRpcMessage& page);

  const Profile& profile_;
  const std::string tag_;  // begins our ids: unique among those who share it
  uint64_t next_ = 1;
  std::string directory_;

  Abilities can_;
  std::string agent_name_;
  std::string logins_;  // the ids of the ways to log in that it offers
  std::string probe_;   // the request that shows whether such are answered
  std::optional<Course> course_;
  AcpSettings settings_;
  std::string wanted_model_;  // "": the agent's own default
  std::string wanted_mode_;   // "": the agent's own default
  std::optional<std::string> default_model_;
  std::optional<std::string> default_mode_;
  // Conversations that have been left, and are open in the process; and those
  // that it was told to close.
  std::set<std::string, std::less<>> left_;
  std::set<std::string, std::less<>> closed_;
  // Of those, what has not been answered yet: by request.
  std::map<std::string, std::string, std::less<>> closing_;
  std::unique_ptr<EventLoop::Handle> close_timer_;

  std::optional<Prompt> prompt_;
  std::unique_ptr<EventLoop::Handle> interrupt_timer_;
  std::unique_ptr<EventLoop::Handle> cancel_timer_;
  std::unique_ptr<EventLoop::Handle> ping_timer_;
  AcpText text_;
  AcpTools tools_;
  AcpPermissions permissions_;
  std::vector<std::string> void_;  // permissions whose end is yet to be told
  std::optional<double> cost_;     // of the conversation
  std::optional<std::string> commands_;

  std::map<std::string, Listing, std::less<>> listings_;  // by request
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_AGENT_H_
