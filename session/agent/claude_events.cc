#include "session/agent/claude_events.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "proto/error.h"
#include "session/agent/unreadable.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

using Events = std::vector<v1::Event>;

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool SaysModel(std::string_view text) {
  return Contains(text, "model") || Contains(text, "Model");
}

// It names something, and says no more than that: whatever is taken over from
// an answer of the API may be a sentence, with words of a prompt in it.
bool IsWord(std::string_view text) {
  constexpr size_t kMaxWord = 63;
  return !text.empty() && text.size() <= kMaxWord &&
         absl::ascii_isalpha(text[0]) && absl::ascii_isalnum(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
         });
}

std::string UpperSnake(std::string_view word) {
  std::string reason(word);
  for (char& c : reason) {
    c = absl::ascii_isalnum(c) ? absl::ascii_toupper(c) : '_';
  }
  return reason;
}

// Strings of an array, one after the other.
std::string Joined(JsonValue strings, std::string_view between) {
  std::string text;
  for (const JsonValue string : strings) {
    if (!text.empty()) text.append(between);
    text.append(string.String());
  }
  return text;
}

std::vector<std::string> Strings(JsonValue strings) {
  std::vector<std::string> result;
  for (const JsonValue string : strings) result.push_back(string.String());
  return result;
}

v1::Event Notice(v1::NoticeKind kind, std::string message) {
  v1::Event event;
  event.mutable_notice()->set_kind(kind);
  event.mutable_notice()->set_message(std::move(message));
  return event;
}

v1::Event Message(std::string text) {
  v1::Event event;
  event.mutable_message()->set_text(std::move(text));
  event.mutable_message()->set_part(1);
  event.mutable_message()->set_last_part(true);
  return event;
}

v1::Event Thought(std::string text) {
  v1::Event event;
  event.mutable_thought()->set_text(std::move(text));
  event.mutable_thought()->set_part(1);
  event.mutable_thought()->set_last_part(true);
  return event;
}

v1::Event ToolCall(JsonValue block) {
  v1::Event event;
  v1::ToolCall& call = *event.mutable_tool_call();
  call.set_tool_call_id(block["id"].String());
  call.set_name(block["name"].String());
  call.set_input_json(std::string(block["input"].raw()));
  call.set_status(v1::TOOL_STATUS_PENDING);
  return event;
}

// What a tool gave, as text: a string, or blocks of which some are text.
std::string ToolOutput(JsonValue content) {
  if (content.IsString()) return content.String();
  if (!content.IsArray()) return std::string(content.raw());
  std::string text;
  for (const JsonValue block : content) {
    if (!text.empty()) text.push_back('\n');
    if (block["type"].Is("text")) {
      text.append(block["text"].String());
    } else {
      text.append(Concat({"[", block["type"].String(), "]"}));
    }
  }
  return text;
}

v1::Event ToolResult(JsonValue block) {
  v1::Event event;
  v1::ToolResult& result = *event.mutable_tool_result();
  result.set_tool_call_id(block["tool_use_id"].String());
  result.set_output(ToolOutput(block["content"]));
  result.set_is_error(block["is_error"].Bool());
  result.set_part(1);
  result.set_last_part(true);
  return event;
}

v1::Event Unknown(std::string type) {
  v1::Event event;
  event.mutable_unknown()->set_type(std::move(type));
  return event;
}

v1::Event BlockEvent(JsonValue block) {
  const std::string type = block["type"].String();
  if (type == "text") return Message(block["text"].String());
  if (type == "thinking") return Thought(block["thinking"].String());
  if (type == "redacted_thinking") return Thought("");
  if (type == "tool_use" || type == "server_tool_use") return ToolCall(block);
  if (block["tool_use_id"].exists()) return ToolResult(block);
  return Unknown(Concat({"assistant/", type}));
}

Events AssistantEvents(JsonValue line) {
  Events events;
  const JsonValue content = line["message"]["content"];
  const bool is_api_error =
      line["is_api_error_message"].Bool() || line["error"].IsString();
  for (const JsonValue block : content) {
    // Words of the program and not of a model: why the turn is about to fail.
    events.push_back(
        is_api_error && block["type"].Is("text")
            ? Notice(v1::NOTICE_KIND_WARNING, block["text"].String())
            : BlockEvent(block));
  }
  return events;
}

Events UserEvents(JsonValue line) {
  Events events;
  if (line["isReplay"].Bool()) return events;
  const JsonValue content = line["message"]["content"];
  if (!content.IsArray()) return events;
  for (const JsonValue block : content) {
    if (block["type"].Is("tool_result")) events.push_back(ToolResult(block));
  }
  return events;
}

v1::Event RetryNotice(JsonValue line) {
  return Notice(
      v1::NOTICE_KIND_RETRYING,
      Concat({"attempt ", line["attempt"].raw(), " of ",
              line["max_retries"].raw(), " in ", line["retry_delay_ms"].raw(),
              " ms: ", line["error"].String(),
              line["error_status"].Int().has_value() ? " " : "",
              line["error_status"].Int().has_value()
                  ? line["error_status"].raw()
                  : std::string_view()}));
}

Events RateLimitEvents(JsonValue info) {
  const std::string status = info["status"].String();
  if (status == "allowed") return {};
  std::string message = status;
  if (const auto resets_at = info["resetsAt"].Int()) {
    message.append(", until ")
        .append(absl::FormatTime(absl::FromUnixSeconds(*resets_at),
                                 absl::UTCTimeZone()));
  }
  return {Notice(v1::NOTICE_KIND_RATE_LIMITED, std::move(message))};
}

v1::Event CompactNotice(JsonValue metadata) {
  std::string message = metadata["trigger"].String();
  if (metadata["pre_tokens"].exists()) {
    message.append(", from ").append(metadata["pre_tokens"].raw());
    if (metadata["post_tokens"].exists()) {
      message.append(" to ").append(metadata["post_tokens"].raw());
    }
    message.append(" tokens");
  }
  return Notice(v1::NOTICE_KIND_COMPACTED, std::move(message));
}

std::optional<Events> SystemEvents(JsonValue line) {
  // What only the protocol needs, or says again what another line said.
  static constexpr std::array<std::string_view, 6> kSilent = {
      "init",          "background_tasks_changed", "session_state_changed",
      "ui_invalidate", "control_request_progress", "thinking_tokens"};
  const std::string subtype = line["subtype"].String();
  if (std::find(kSilent.begin(), kSilent.end(), subtype) != kSilent.end()) {
    return Events();
  }
  if (subtype == "status") {
    const std::string status = line["status"].String();
    if (status.empty() || status == "requesting") return Events();
    return Events{Notice(v1::NOTICE_KIND_STATUS, status)};
  }
  if (subtype == "api_retry") return Events{RetryNotice(line)};
  if (subtype == "compact_boundary") {
    return Events{CompactNotice(line["compact_metadata"])};
  }
  if (subtype == "permission_denied") {
    return Events{Notice(v1::NOTICE_KIND_WARNING, line["message"].String())};
  }
  return std::nullopt;
}

std::optional<Events> StreamEvents(JsonValue event) {
  static constexpr std::array<std::string_view, 6> kSilent = {
      "message_start", "content_block_start", "content_block_stop",
      "message_delta", "message_stop",        "ping"};
  static constexpr std::array<std::string_view, 3> kSilentDeltas = {
      "input_json_delta", "signature_delta", "citations_delta"};
  const std::string type = event["type"].String();
  const std::string delta = event["delta"]["type"].String();
  const bool silent =
      std::find(kSilent.begin(), kSilent.end(), type) != kSilent.end() ||
      (type == "content_block_delta" &&
       std::find(kSilentDeltas.begin(), kSilentDeltas.end(), delta) !=
           kSilentDeltas.end());
  return silent ? std::optional<Events>(Events()) : std::nullopt;
}

v1::Usage ReadUsage(JsonValue usage) {
  v1::Usage result;
  const auto tokens = [&usage](std::string_view name) {
    return usage[name].Int().value_or(0);
  };
  result.set_input_tokens(tokens("input_tokens"));
  result.set_output_tokens(tokens("output_tokens"));
  result.set_cache_read_tokens(tokens("cache_read_input_tokens"));
  result.set_cache_write_tokens(tokens("cache_creation_input_tokens"));
  return result;
}

// The agent's own word for what went wrong.
std::string FailureWord(JsonValue line) {
  const std::string type = line["api_error_type"].String();
  if (IsWord(type)) return type;
  if (line["api_error_status"].Int().has_value()) return "api_error";
  const std::string subtype = line["subtype"].String();
  if (IsWord(subtype) && subtype != "success") return subtype;
  const std::string terminal = line["terminal_reason"].String();
  return IsWord(terminal) && terminal != "completed" ? terminal : "error";
}

void ReadFailure(JsonValue line, std::string_view model, TurnEnd& end) {
  std::string text = line["result"].String();
  if (text.empty()) text = Joined(line["errors"], "; ");
  if (line["terminal_reason"].String().rfind("aborted", 0) == 0) {
    end.outcome = v1::TURN_OUTCOME_INTERRUPTED;
    return;
  }
  end.outcome = v1::TURN_OUTCOME_FAILED;
  const bool names_model =
      SaysModel(text) || (!model.empty() && Contains(text, model));
  std::optional<Reason> reason;
  if (line["api_error_status"].Int() == 404 && names_model) {
    reason = Reason::kModelRejected;
  } else if (line["api_error_status"].Int() == 400 && SaysUnreadable(text)) {
    reason = Reason::kConversationUnreadable;
  }
  if (reason.has_value()) {
    end.error = MakeError(*reason, text);
    end.error_reason = std::string(ReasonName(*reason));
    return;
  }
  end.error = absl::UnknownError(text);
  end.error_reason = UpperSnake(FailureWord(line));
}

}  // namespace

ClaudeInit ReadClaudeInit(JsonValue line) {
  ClaudeInit init;
  init.conversation = line["session_id"].String();
  init.model = line["model"].String();
  init.permission_mode = line["permissionMode"].String();
  init.version = line["claude_code_version"].String();
  init.commands = Joined(line["slash_commands"], ", ");
  init.messages = Strings(line["user_message_uuids"]);
  init.echoes = !init.messages.empty();
  for (const JsonValue capability : line["capabilities"]) {
    init.echoes = init.echoes || capability.Is("msg_lifecycle_v1");
  }
  return init;
}

ClaudeResult ReadClaudeResult(JsonValue line, std::string_view model) {
  ClaudeResult result;
  result.conversation = line["session_id"].String();
  result.messages = Strings(line["user_message_uuids"]);
  if (line["user_message_uuid"].IsString()) {
    result.messages.push_back(line["user_message_uuid"].String());
  }
  const JsonValue origin = line["origin"]["kind"];
  result.foreign = origin.IsString() && !origin.Is("human");

  TurnEnd& end = result.end;
  end.stop_reason = line["stop_reason"].String();
  if (end.stop_reason.empty()) {
    end.stop_reason = line["terminal_reason"].String();
  }
  end.usage = ReadUsage(line["usage"]);
  end.total_cost_usd = line["total_cost_usd"].Double();
  if (line["is_error"].Bool()) {
    ReadFailure(line, model, end);
  } else {
    end.text = line["result"].String();
  }
  return result;
}

std::optional<std::vector<v1::Event>> ReadClaudeEvents(JsonValue line) {
  const std::string type = line["type"].String();
  if (type == "assistant") {
    if (!line["message"]["content"].IsArray()) return std::nullopt;
    return AssistantEvents(line);
  }
  if (type == "user") return UserEvents(line);
  if (type == "system") return SystemEvents(line);
  if (type == "stream_event") return StreamEvents(line["event"]);
  if (type == "rate_limit_event")
    return RateLimitEvents(line["rate_limit_info"]);
  if (type == "keep_alive" || type == "conversation_reset" ||
      type == "transcript_mirror") {
    return Events();
  }
  return std::nullopt;
}

std::string ClaudeLineType(JsonValue line) {
  std::string type = line["type"].String();
  for (const JsonValue detail : {line["subtype"], line["event"]["type"]}) {
    if (detail.IsString()) return Concat({type, "/", detail.String()});
  }
  return type;
}

std::vector<ModelInfo> ReadClaudeModels(JsonValue models) {
  std::vector<ModelInfo> result;
  for (const JsonValue model : models) {
    ModelInfo info;
    info.model = model["value"].String();
    if (info.model.empty()) continue;
    info.resolved = model["resolvedModel"].String();
    info.name = model["displayName"].String();
    info.is_default = info.model == "default";
    result.push_back(std::move(info));
  }
  return result;
}

absl::Status ClaudeModelError(std::string_view model, JsonValue answer) {
  // The model is the reason; it stays as it was.
  static constexpr std::array<std::string_view, 4> kRejected = {
      "not_found", "catalog_unknown", "check_rejected", "invalid_request"};
  const std::string code = answer["error_code"].String();
  const std::string error = answer["error"].String();
  const std::string text = Concat({"switch to model ", model, ": ", error});
  if (std::find(kRejected.begin(), kRejected.end(), code) != kRejected.end() ||
      (code.empty() && Contains(error, "not found"))) {
    return MakeError(Reason::kModelRejected, text);
  }
  if (code == "unsupported_request" || Contains(error, "Unsupported control")) {
    return MakeError(Reason::kCapabilityMissing, text);
  }
  // It could not find out whether there is such a model.
  return MakeError(Reason::kAgentUnresponsive, text);
}

absl::Status ClaudeModeError(std::string_view mode, JsonValue answer) {
  const std::string error = answer["error"].String();
  if (answer["error_code"].Is("unsupported_request") ||
      Contains(error, "Unsupported control")) {
    return MakeError(Reason::kCapabilityMissing,
                     Concat({"set permission mode ", mode, ": ", error}));
  }
  return FieldInvalid("permission_mode",
                      error.empty() ? "the agent refuses it" : error);
}

bool ClaudeKnowsComposed(std::string_view version) {
  constexpr std::array<int, 3> kFirst = {2, 1, 329};
  std::array<int, 3> parts = {};
  const char* at = version.data();
  const char* const end = version.data() + version.size();
  for (int& part : parts) {
    const auto result = std::from_chars(at, end, part);
    if (result.ec != std::errc()) return false;
    at = result.ptr;
    if (at != end && *at == '.') ++at;
  }
  return parts >= kFirst;
}

}  // namespace understudy::session
