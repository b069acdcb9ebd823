#include "session/agent/acp_events.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "proto/error.h"
#include "session/agent/unreadable.h"
#include "session/base/concat.h"
#include "session/base/redact.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

constexpr size_t kMaxIdBytes = 128;
constexpr size_t kMaxReasonBytes = 63;
constexpr size_t kMaxErrorBytes = 4096;
constexpr size_t kMaxTitleBytes = 200;

constexpr int64_t kNotFound = -32002;
constexpr int64_t kCancelled = -32800;

v1::Event ReadPlan(JsonValue update) {
  v1::Event event;
  v1::Plan& plan = *event.mutable_plan();
  for (const JsonValue entry : update["entries"]) {
    v1::PlanEntry& step = *plan.add_entries();
    step.set_content(entry["content"].String());
    step.set_priority(entry["priority"].String());
    step.set_status(entry["status"].String());
  }
  return event;
}

v1::Event Notice(v1::NoticeKind kind, std::string message) {
  v1::Event event;
  event.mutable_notice()->set_kind(kind);
  event.mutable_notice()->set_message(std::move(message));
  return event;
}

// `end_turn` -> `END_TURN`; what is no such word, is none.
std::string Upper(std::string_view word) {
  std::string upper;
  for (const char c : word.substr(0, kMaxReasonBytes)) {
    upper.push_back(absl::ascii_isalnum(c) ? absl::ascii_toupper(c) : '_');
  }
  return upper;
}

void ReadUsage(JsonValue result, v1::Usage& usage) {
  const JsonValue told = result["usage"];
  const auto take = [&](std::string_view name, std::string_view other,
                        auto set) {
    std::optional<int64_t> count = told[name].Int();
    // Gemini CLI 0.61.
    if (!count) count = result["_meta"]["quota"]["token_count"][other].Int();
    if (count && *count > 0) set(*count);
  };
  take("inputTokens", "input_tokens",
       [&](int64_t n) { usage.set_input_tokens(n); });
  take("outputTokens", "output_tokens",
       [&](int64_t n) { usage.set_output_tokens(n); });
  take("cachedReadTokens", "cached_tokens",
       [&](int64_t n) { usage.set_cache_read_tokens(n); });
  take("cachedWriteTokens", "cache_write_tokens",
       [&](int64_t n) { usage.set_cache_write_tokens(n); });
}

void ReadFailure(const JsonRpcFault& fault, TurnEnd& end) {
  if (fault.code == kCancelled) {
    end.outcome = v1::TURN_OUTCOME_INTERRUPTED;
    end.stop_reason = "cancelled";
    return;
  }
  end.outcome = v1::TURN_OUTCOME_FAILED;
  if (SaysUnreadable(fault.text)) {
    end.error = MakeError(Reason::kConversationUnreadable, fault.text);
    end.error_reason = "CONVERSATION_UNREADABLE";
    return;
  }
  if (IsAboutModel(fault.text)) {
    end.error = MakeError(Reason::kModelRejected, fault.text);
    end.error_reason = "MODEL_REJECTED";
    return;
  }
  end.error = absl::UnknownError(fault.text);
  if (fault.code == kAcpAuthRequired) {
    end.error_reason = "AUTH_REQUIRED";
  } else if (!fault.reason.empty()) {
    end.error_reason = Upper(fault.reason);
  } else {
    end.error_reason = "AGENT_ERROR";
  }
}

}  // namespace

// By the texts of OpenCode
// 1.18.33 ("The model x does not exist"), Gemini CLI 0.61.0 ("models/x is not
// found"), codex-acp and claude-agent-acp ("model: x", "issue with the selected
// model (x). It may not exist", "The model `x` does not exist").
bool IsAboutModel(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower({text.data(), text.size()});
  if (absl::StartsWith(lower, "model: ")) return true;
  if (!absl::StrContains(lower, "model")) return false;
  for (const char* const words :
       {"not found", "not exist", "not_found", "unknown model", "not supported",
        "unsupported model", "invalid model", "no such model", "not configured",
        "not have access", "no access to"}) {
    if (absl::StrContains(lower, words)) return true;
  }
  return false;
}

std::optional<v1::Event> ReadAcpUpdate(std::string_view type,
                                       JsonValue update) {
  if (type == "plan") return ReadPlan(update);
  if (type == "notice") {
    const JsonValue text = update["message"].IsString()
                               ? update["message"]
                               : update["content"]["text"];
    return Notice(update["level"].Is("info") || update["severity"].Is("info")
                      ? v1::NOTICE_KIND_STATUS
                      : v1::NOTICE_KIND_WARNING,
                  text.String());
  }
  if (type == "compaction_update") {
    return Notice(v1::NOTICE_KIND_COMPACTED, update["status"].String());
  }
  return std::nullopt;
}

std::string ReadAcpCommands(JsonValue update) {
  std::string names;
  for (const JsonValue command : update["availableCommands"]) {
    const std::string name = command["name"].String();
    if (name.empty()) continue;
    if (!names.empty()) names.append(", ");
    names.append(name);
  }
  return names;
}

std::optional<double> ReadAcpCost(JsonValue update) {
  const JsonValue cost = update["cost"];
  if (!cost["currency"].Is("USD")) return std::nullopt;
  return cost["amount"].Double();
}

bool SaysAcpFailure(std::string_view type, JsonValue update) {
  return type == "session_info_update" &&
         update["_meta"]["codex"]["threadStatus"]["type"].Is("systemError");
}

void FailAcpTurn(TurnEnd& end) {
  if (end.outcome != v1::TURN_OUTCOME_SUCCEEDED) return;
  JsonRpcFault fault;
  fault.text = Redact(Utf8Prefix(end.text, kMaxErrorBytes));
  if (fault.text.empty()) fault.text = "the agent does not say why";
  ReadFailure(fault, end);
}

TurnEnd ReadAcpTurnEnd(const JsonRpcMessage& answer) {
  TurnEnd end;
  if (!answer.ok()) {
    ReadFailure(ReadJsonRpcFault(answer.error), end);
    return end;
  }
  end.stop_reason = answer.result["stopReason"].String();
  ReadUsage(answer.result, end.usage);
  if (end.stop_reason == "cancelled") {
    end.outcome = v1::TURN_OUTCOME_INTERRUPTED;
  } else if (end.stop_reason == "refusal" ||
             end.stop_reason == "max_turn_requests") {
    end.outcome = v1::TURN_OUTCOME_FAILED;
    end.error =
        absl::UnknownError(Concat({"the agent stopped: ", end.stop_reason}));
    end.error_reason = Upper(end.stop_reason);
  }
  return end;
}

// claude-agent-acp 0.100 and codex-acp 2.6 have a code for it, OpenCode 1.18
// and Gemini CLI 0.61 a text.
bool SaysLost(const JsonRpcMessage& answer) {
  if (answer.ok()) return false;
  const JsonRpcFault fault = ReadJsonRpcFault(answer.error);
  return fault.code == kNotFound ||
         (fault.code == kJsonRpcInvalidParams &&
          absl::StrContains(absl::AsciiStrToLower(fault.text),
                            "session not found"));
}

void ReadAcpConversations(JsonValue page, const std::string& directory,
                          std::vector<LocalConversation>& conversations) {
  for (const JsonValue one : page["sessions"]) {
    const JsonValue cwd = one["cwd"];
    LocalConversation conversation;
    conversation.agent_session_id = one["sessionId"].String();
    if ((cwd.IsString() && !cwd.Is(directory)) ||
        !IsAcpConversation(conversation.agent_session_id)) {
      continue;
    }
    const std::string title = one["title"].String();
    conversation.first_prompt = Utf8Prefix(title, kMaxTitleBytes);
    absl::ParseTime(absl::RFC3339_full, one["updatedAt"].String(),
                    &conversation.update_time, nullptr);
    conversations.push_back(std::move(conversation));
  }
}

bool IsAcpConversation(std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes || !absl::ascii_isalnum(id[0])) {
    return false;
  }
  return std::all_of(id.begin(), id.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == ':' ||
           c == '-';
  });
}

}  // namespace understudy::session
