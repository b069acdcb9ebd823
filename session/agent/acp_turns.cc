// The turns of an AcpAgent, and what each line of its process does.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/error.h"
#include "session/agent/acp_agent.h"
#include "session/agent/acp_events.h"
#include "session/agent/acp_prompt.h"
#include "session/agent/acp_quirks.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

// A cancel that is read before the prompt has been taken up is lost: it is said
// again until the turn has ended. To an agent at rest it means nothing.
constexpr absl::Duration kCancelAgain = absl::Seconds(1);

// Most turns say something before that; some agents write about each request
// that they do not know to their stderr.
constexpr absl::Duration kPingAfter = absl::Seconds(5);

// Conversations in a listing, and its pages.
constexpr size_t kMaxListed = 1000;
constexpr int kMaxPages = 50;

// Listings that wait for an agent which does not answer.
constexpr size_t kMaxListings = 8;

}  // namespace

// --- Turns ------------------------------------------------------------------

void AcpAgent::Send(const TurnInput& input) {
  prompt_ = Prompt{};
  Prompt& prompt = *prompt_;
  prompt.turn_id = input.turn_id;
  prompt.queued_before = process().queued_bytes();
  prompt.id =
      Tell("session/prompt", AcpPromptParams(current_.conversation, input));
  if (capabilities_.acknowledges) {
    ping_timer_ = loop().RunAfter(kPingAfter, [this] {
      if (prompt_.has_value() && !prompt_->acknowledged) {
        prompt_->ping = Ping();
      }
    });
  }
  text_.BeginTurn();
  tools_.BeginTurn();
}

v1::Delivered AcpAgent::delivered() const {
  if (!prompt_.has_value()) return v1::DELIVERED_NO;
  if (prompt_->acknowledged) return v1::DELIVERED_YES;
  return process().written_bytes() > prompt_->queued_before
             ? v1::DELIVERED_MAYBE
             : v1::DELIVERED_NO;
}

// The agent is at the turn. False: it is gone.
bool AcpAgent::Acknowledge(std::string_view raw) {
  if (std::exchange(prompt_->acknowledged, true)) return true;
  const Witness witness(*this);
  const std::string turn_id = prompt_->turn_id;
  observer().OnTurnStarted(turn_id, raw);
  return !witness.gone();
}

void AcpAgent::Interrupt() {
  if (!prompt_.has_value() || interrupt_timer_ != nullptr) return;
  interrupt_timer_ = loop().RunAfter(profile_.interrupt_timeout, [this] {
    End(MakeError(Reason::kAgentUnresponsive,
                  Concat({"interrupt ", name(), ": not done within ",
                          absl::FormatDuration(profile_.interrupt_timeout)})));
  });
  SendCancel();
  CancelPermissions();
}

void AcpAgent::SendCancel() {
  Write(JsonRpcNotification(
      "session/cancel",
      Concat({R"({"sessionId":)", JsonString(current_.conversation), "}"})));
  cancel_timer_ = loop().RunAfter(kCancelAgain, [this] { SendCancel(); });
}

void AcpAgent::EndTurn(const JsonRpcMessage& answer, std::string_view raw) {
  TurnEnd end = ReadAcpTurnEnd(answer);
  end.turn_id = prompt_->turn_id;
  const bool failed = prompt_->failed;
  const bool lost = SaysLost(answer);
  if (!Acknowledge({}) || !EndText() || !WithdrawPermissions()) return;
  interrupt_timer_.reset();
  cancel_timer_.reset();
  ping_timer_.reset();
  prompt_.reset();
  end.text = text_.answer();
  if (failed) FailAcpTurn(end);
  end.total_cost_usd = cost_;
  const Witness witness(*this);
  observer().OnTurnEnded(std::move(end), raw);
  if (!lost || witness.gone()) return;
  // Another process may know its conversation.
  End(MakeError(Reason::kAgentProtocol,
                Concat({name(), " has lost its conversation"})));
}

// --- Permissions ------------------------------------------------------------

std::vector<std::string> AcpAgent::AnswerPermission(
    std::string_view permission_id, const PermissionAnswer& answer) {
  // None if it has become void meanwhile. What is allowed for longer the agent
  // remembers by itself, as long as it lives.
  if (const auto line = permissions_.Answer(permission_id, answer)) {
    Write(*line);
  }
  return {};
}

// The protocol asks for their end; that they are void is told with the turn.
void AcpAgent::CancelPermissions() {
  for (std::string& id : permissions_.ids()) {
    Write(*permissions_.Cancel(id));
    void_.push_back(std::move(id));
  }
}

// All of them. False: the agent is gone.
bool AcpAgent::WithdrawPermissions() {
  CancelPermissions();
  const Witness witness(*this);
  for (const std::string& id : std::exchange(void_, {})) {
    observer().OnPermissionWithdrawn(id);
    if (witness.gone()) return false;
  }
  return true;
}

void AcpAgent::AskPermission(const JsonRpcMessage& request,
                             std::string_view raw) {
  if (!Acknowledge(raw) || !EndText()) return;
  const Witness witness(*this);
  // What it is about may not have been told yet.
  const JsonValue tool = request.params["toolCall"];
  const std::string tool_id = tool["toolCallId"].String();
  if (!tool_id.empty() && tools_.Find(tool_id) == nullptr) {
    HandleTool(tool, {});
    if (witness.gone()) return;
  }
  v1::Event event =
      permissions_.Open(request.id, request.params, tools_.Find(tool_id));
  if (profile_.permissions) return observer().OnEvent(std::move(event), raw);
  // Nobody is to be asked: it is denied.
  Write(*permissions_.Answer(event.permission_requested().permission_id(),
                             PermissionAnswer()));
  EmitUnknown(request.method, raw);
}

// --- Lines ------------------------------------------------------------------

void AcpAgent::HandleLine(JsonValue line, std::string_view raw) {
  using Kind = JsonRpcMessage::Kind;
  const JsonRpcMessage message = ReadJsonRpc(line);
  switch (message.kind) {
    case Kind::kNone:
      return EmitUnknown("", raw);
    case Kind::kResponse:
      return HandleResponse(message, line, raw);
    case Kind::kRequest:
      return HandleRequest(message, raw);
    case Kind::kNotification:
      return HandleNotification(message, raw);
  }
}

void AcpAgent::HandleResponse(const JsonRpcMessage& message, JsonValue line,
                              std::string_view raw) {
  const std::string id = line["id"].String();
  if (id.empty()) return;  // none of ours
  if (prompt_.has_value() && id == prompt_->id) {
    EndTurn(message, raw);
  } else if (prompt_.has_value() && id == prompt_->ping) {
    Acknowledge({});
  } else if (id == probe_) {
    capabilities_.acknowledges = true;
  } else if (closing_.erase(id) > 0) {
    if (course_.has_value() && course_->waits) OpenConversation();
  } else if (!HandleListing(id, message)) {
    HandleAnswer(id, line);
  }
}

void AcpAgent::HandleRequest(const JsonRpcMessage& message,
                             std::string_view raw) {
  if (message.method == "session/request_permission") {
    if (prompt_.has_value() && interrupt_timer_ == nullptr &&
        message.params["sessionId"].Is(current_.conversation)) {
      return AskPermission(message, raw);
    }
    // Of nobody's turn, or of one that is being ended.
    Write(AcpPermissions::Cancelled(message.id));
  } else {
    // fs/* and terminal/* have not been offered, nor has anything else.
    Write(
        JsonRpcError(message.id, kJsonRpcMethodNotFound,
                     Concat({"this client does not offer ", message.method})));
  }
  EmitUnknown(message.method, raw);
}

void AcpAgent::HandleNotification(const JsonRpcMessage& message,
                                  std::string_view raw) {
  if (message.method == "session/update") return HandleUpdate(message, raw);
  if (message.method == "$/cancel_request") {
    const std::string id = permissions_.Find(message.params["requestId"].raw());
    if (!id.empty()) {
      Write(*permissions_.Cancel(id));
      return observer().OnPermissionWithdrawn(id);
    }
    if (process().shared()) return;  // a neighbour's, then
  }
  EmitUnknown(message.method, raw);
}

// Settings of a conversation that is on its way, and what a load says of the
// past, are nobody's to hear; nor what comes late of one that was left.
bool AcpAgent::IsElsewhere(std::string_view conversation, JsonValue update) {
  if (course_.has_value() && conversation == course_->conversation) {
    course_->settings.Read(update);
  }
  if (conversation == current_.conversation) return false;
  return busy() || left_.contains(conversation) ||
         closed_.contains(conversation);
}

void AcpAgent::HandleUpdate(const JsonRpcMessage& message,
                            std::string_view raw) {
  const JsonValue update = message.params["update"];
  const std::string conversation = message.params["sessionId"].String();
  const std::string type = update["sessionUpdate"].String();
  if (IsElsewhere(conversation, update)) return;
  // A subagent's, for instance.
  if (conversation != current_.conversation) return EmitUnknown(type, raw);

  if (type == "agent_message_chunk") {
    return HandleChunk(DeltaKind::kText, update, raw);
  }
  if (type == "agent_thought_chunk") {
    return HandleChunk(DeltaKind::kThought, update, raw);
  }
  if (type == "tool_call" || type == "tool_call_update") {
    if (!prompt_.has_value() || update["toolCallId"].String().empty()) {
      return EmitUnknown(type, raw);
    }
    if (Acknowledge(raw) && EndText()) HandleTool(update, raw);
    return;
  }
  if (type == "usage_update") {
    if (const auto cost = ReadAcpCost(update)) cost_ = cost;
    return;
  }
  if (type == "available_commands_update") return HandleCommands(update, raw);
  if (type == "config_option_update" || type == "current_mode_update") {
    return HandleSettings(update, raw);
  }
  if (type == "user_message_chunk" && prompt_.has_value()) return;
  if (prompt_.has_value() && SaysAcpFailure(type, update)) {
    prompt_->failed = true;
  }
  std::optional<v1::Event> event = ReadAcpUpdate(type, update);
  if (!event.has_value()) return EmitUnknown(type, raw);
  if (EndText()) observer().OnEvent(*std::move(event), raw);
}

void AcpAgent::HandleChunk(DeltaKind kind, JsonValue update,
                           std::string_view raw) {
  const JsonValue content = update["content"];
  const std::string text = content["text"].String();
  const std::string_view warning = FindAcpQuirks(agent_name_).warning;
  if (!warning.empty() && text.starts_with(warning)) {
    v1::Event event;
    event.mutable_notice()->set_kind(v1::NOTICE_KIND_WARNING);
    event.mutable_notice()->set_message(text.substr(0, text.find('\n')));
    return observer().OnEvent(std::move(event), raw);
  }
  if (!prompt_.has_value() || !content["type"].Is("text")) {
    if (EndText()) EmitUnknown(update["sessionUpdate"].String(), raw);
    return;
  }
  if (!Acknowledge(raw)) return;
  const Witness witness(*this);
  if (auto before = text_.Add(kind, update["messageId"].String(), text)) {
    observer().OnEvent(*std::move(before), {});
    if (witness.gone()) return;
  }
  if (!text.empty()) observer().OnDelta(kind, {}, text, raw);
}

// The message that is being written ends. False: the agent is gone.
bool AcpAgent::EndText() {
  std::optional<v1::Event> event = text_.End();
  if (!event.has_value()) return true;
  const Witness witness(*this);
  observer().OnEvent(*std::move(event), {});
  return !witness.gone();
}

void AcpAgent::HandleTool(JsonValue update, std::string_view raw) {
  AcpTools::Told told = tools_.Update(update);
  const Witness witness(*this);
  const std::string id = update["toolCallId"].String();
  for (v1::Event& event : told.events) {
    if (witness.gone()) return;
    observer().OnEvent(std::move(event), std::exchange(raw, {}));
  }
  if (told.output.empty() || witness.gone()) return;
  observer().OnDelta(DeltaKind::kToolOutput, id, told.output, raw);
}

void AcpAgent::HandleCommands(JsonValue update, std::string_view raw) {
  std::string commands = ReadAcpCommands(update);
  const std::optional<std::string> before =
      std::exchange(commands_, std::move(commands));
  // What it offers from the beginning is no change.
  if (!before.has_value() || before == commands_) return;
  v1::Event event;
  event.mutable_notice()->set_kind(v1::NOTICE_KIND_COMMANDS);
  event.mutable_notice()->set_message(*commands_);
  observer().OnEvent(std::move(event), raw);
}

void AcpAgent::HandleSettings(JsonValue update, std::string_view raw) {
  const std::string mode = settings_.mode.current;
  settings_.Read(update);
  const Witness witness(*this);
  if (settings_.mode.current != mode) {
    wanted_mode_ = settings_.mode.current;
    v1::Event event;
    event.mutable_notice()->set_kind(v1::NOTICE_KIND_MODE);
    event.mutable_notice()->set_message(wanted_mode_);
    observer().OnEvent(std::move(event), raw);
    if (witness.gone()) return;
  }
  const std::string& model = settings_.model.current;
  // A change that is being made tells it by itself.
  if (course_.has_value() || model.empty() || model == current_.model) return;
  current_.model = wanted_model_ = model;
  current_.verified = true;
  observer().OnStateChanged();
}

// --- Conversations ----------------------------------------------------------

void AcpAgent::ListConversations(Listed listed) {
  if (!can_.list || !CanLoad() || listings_.size() >= kMaxListings) {
    std::move(listed)({});
    return;
  }
  AskForListing({.listed = std::move(listed), .conversations = {}}, {});
}

void AcpAgent::AskForListing(Listing listing, std::string_view cursor) {
  std::string params = Concat({R"({"cwd":)", JsonString(directory_)});
  if (!cursor.empty()) {
    params.append(Concat({R"(,"cursor":)", JsonString(cursor)}));
  }
  std::string id = Tell("session/list", Concat({params, "}"}));
  listings_.insert_or_assign(std::move(id), std::move(listing));
}

// False if it is no page of a list.
bool AcpAgent::HandleListing(std::string_view id, const JsonRpcMessage& page) {
  const auto it = listings_.find(id);
  if (it == listings_.end()) return false;
  Listing listing = std::move(it->second);
  listings_.erase(it);
  ReadAcpConversations(page.result, directory_, listing.conversations);
  const std::string next = page.result["nextCursor"].String();
  if (!next.empty() && ++listing.pages < kMaxPages &&
      listing.conversations.size() < kMaxListed) {
    AskForListing(std::move(listing), next);
  } else {
    std::move(listing.listed)(std::move(listing.conversations));
  }
  return true;
}

}  // namespace understudy::session
