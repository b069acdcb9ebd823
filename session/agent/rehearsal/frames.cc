#include "session/agent/rehearsal/frames.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

namespace understudy::session {
namespace {

constexpr char kInitialize[] = R"({
  "commands": [
    {"name": "compact", "description": "Free up context by summarizing",
     "argumentHint": "<optional instructions>", "builtin": true},
    {"name": "context", "description": "Show current context usage",
     "argumentHint": "", "builtin": true}],
  "agents": [
    {"name": "general-purpose", "description": "General-purpose agent."}],
  "output_style": "default",
  "available_output_styles": ["default", "Proactive", "Concise"],
  "models": [],
  "account": {"tokenSource": "none", "apiKeySource": "ANTHROPIC_API_KEY",
              "apiProvider": "firstParty"},
  "pid": 0})";

constexpr char kInit[] = R"({
  "type": "system", "subtype": "init", "cwd": "", "session_id": "",
  "tools": ["Task", "Bash", "Edit", "Read", "Write"], "mcp_servers": [],
  "model": "", "permissionMode": "",
  "slash_commands": ["clear", "compact", "context", "model"],
  "apiKeySource": "ANTHROPIC_API_KEY", "claude_code_version": "",
  "output_style": "default", "agents": ["general-purpose"], "skills": [],
  "plugins": []})";

constexpr char kCapabilities[] = R"(["interrupt_receipt_v1",
  "interrupt_cancel_queued_v1", "interrupt_send_now_v1", "msg_lifecycle_v1",
  "ui_surface_v1"])";

constexpr char kUsage[] = R"({
  "input_tokens": 0, "cache_creation_input_tokens": 0,
  "cache_read_input_tokens": 0, "output_tokens": 0,
  "output_tokens_details": {"thinking_tokens": 0},
  "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
  "service_tier": "standard",
  "cache_creation": {"ephemeral_1h_input_tokens": 0,
                     "ephemeral_5m_input_tokens": 0},
  "inference_geo": "", "iterations": [], "speed": "standard",
  "fallback_credit": null})";

Json ModelUsage(const Conversation& c) {
  Json all = Json::object();
  for (const auto& [model, usage] : c.usage) {
    all[model] = {{"inputTokens", usage.input}, {"outputTokens", usage.output},
                  {"cacheReadInputTokens", 0},  {"cacheCreationInputTokens", 0},
                  {"webSearchRequests", 0},     {"costUSD", usage.cost},
                  {"contextWindow", 1000000},   {"maxOutputTokens", 128000},
                  {"canonicalModel", model},    {"provider", "firstParty"}};
  }
  return all;
}

Json Usage(const TokenUsage& tokens) {
  Json usage = Json::parse(kUsage);
  usage["input_tokens"] = tokens.input;
  usage["output_tokens"] = tokens.output;
  return usage;
}

Json OrNull(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

void AddUuids(Json& frame, const Conversation& c, const HostUuids& uuids) {
  if (uuids.empty() || c.options.legacy) return;
  frame["user_message_uuid"] = uuids.back();
  frame["user_message_uuids"] = uuids;
}

void Finish(Json& frame, const Conversation& c) {
  frame["uuid"] = NewUuid();
  frame["session_id"] = c.session_id();
}

}  // namespace

double TotalCost(const Conversation& c) {
  double cost = 0;
  for (const auto& [model, usage] : c.usage) cost += usage.cost;
  return cost;
}

Json ModelList(const Conversation& c) {
  Json list = Json::array();
  auto add = [&](const std::string& value, const Model& model,
                 const std::string& name, const std::string& description) {
    list.push_back({{"value", value},
                    {"resolvedModel", model.id},
                    {"displayName", name},
                    {"description", description},
                    {"supportsEffort", true}});
    if (c.options.legacy) list.back().erase("resolvedModel");
  };
  const Model& standard = c.models.all().front();
  add("default", standard, "Default (recommended)",
      "Use the default model (currently " + standard.name + ")");
  for (const Model& model : c.models.all()) {
    if (c.models.Find(model.id) == nullptr) continue;
    add(model.alias.empty() ? model.id : model.alias, model, model.name,
        model.description);
  }
  return list;
}

Json InitializeResponse(const Conversation& c, bool running) {
  Json response = Json::parse(kInitialize);
  response["models"] = ModelList(c);
  response["pid"] = getpid();
  if (c.options.legacy) return response;
  response["claude_code_version"] = c.options.version();
  response["current_permission_mode"] = c.permission_mode;
  response["session_state"] = running ? "running" : "idle";
  response["capabilities"] = Json::parse(kCapabilities);
  return response;
}

Json InitFrame(const Conversation& c, std::string_view model,
               const HostUuids& uuids) {
  Json frame = Json::parse(kInit);
  frame["cwd"] = c.cwd;
  frame["session_id"] = c.session_id();
  frame["model"] = model;
  frame["permissionMode"] = c.permission_mode;
  frame["claude_code_version"] = c.options.version();
  if (!c.options.legacy) {
    frame["capabilities"] = Json::parse(kCapabilities);
    frame["original_cwd"] = c.cwd;
    if (!uuids.empty()) frame["user_message_uuids"] = uuids;
  }
  frame["uuid"] = NewUuid();
  return frame;
}

Json SystemFrame(const Conversation& c, std::string_view subtype,
                 const Json& members) {
  Json frame = {{"type", "system"}, {"subtype", subtype}};
  frame.update(members);
  Finish(frame, c);
  return frame;
}

Json LifecycleFrame(const Conversation& c, std::string_view command_uuid,
                    std::string_view state) {
  Json frame = {{"type", "command_lifecycle"},
                {"command_uuid", command_uuid},
                {"state", state}};
  Finish(frame, c);
  return frame;
}

Json StreamEvent(const Conversation& c, const Json& event,
                 std::string_view message_id) {
  return {{"type", "stream_event"},
          {"event", event},
          {"session_id", c.session_id()},
          {"parent_tool_use_id", nullptr},
          {"uuid", NewUuid()},
          {"api_message_id", message_id}};
}

Json AssistantMessage(std::string_view message_id, std::string_view model,
                      const Json& content, int64_t input_tokens) {
  return {{"id", message_id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model},
          {"content", content},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage",
           {{"input_tokens", input_tokens},
            {"output_tokens", 1},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", 0}}}};
}

Json SyntheticMessage(std::string_view text, std::string_view stop_reason) {
  return {{"diagnostics", nullptr},
          {"id", NewUuid()},
          {"container", nullptr},
          {"model", "<synthetic>"},
          {"role", "assistant"},
          {"stop_reason", stop_reason},
          {"stop_sequence", nullptr},
          {"type", "message"},
          {"usage", Usage({})},
          {"content", {{{"type", "text"}, {"text", text}}}},
          {"context_management", nullptr}};
}

Json AssistantFrame(const Conversation& c, const Json& message,
                    const Json& members, const HostUuids& uuids) {
  Json frame = {{"type", "assistant"},
                {"message", message},
                {"parent_tool_use_id", nullptr},
                {"session_id", c.session_id()},
                {"uuid", NewUuid()},
                {"timestamp", Timestamp()}};
  frame.update(members);
  AddUuids(frame, c, uuids);
  return frame;
}

Json UserFrame(const Conversation& c, const Json& content,
               const Json& members) {
  Json frame = {{"type", "user"},
                {"message", {{"role", "user"}, {"content", content}}},
                {"parent_tool_use_id", nullptr},
                {"session_id", c.session_id()},
                {"uuid", NewUuid()},
                {"timestamp", Timestamp()}};
  frame.update(members);
  return frame;
}

Json ReplayFrame(const Conversation& c, const Json& content,
                 std::string_view uuid) {
  return {{"type", "user"},
          {"message", {{"role", "user"}, {"content", content}}},
          {"session_id", c.session_id()},
          {"parent_tool_use_id", nullptr},
          {"uuid", uuid},
          {"timestamp", Timestamp()},
          {"isReplay", true}};
}

Json ResultFrame(const Conversation& c, const TurnResult& r,
                 const HostUuids& uuids) {
  bool local = r.local_command.has_value();
  Json frame;
  if (local) {
    frame["is_error"] = r.is_error;
    frame["duration_api_ms"] = 0;
    frame["num_turns"] = r.num_turns;
  } else {
    frame["duration_api_ms"] = r.duration_ms;
  }
  frame["stop_reason"] = OrNull(r.stop_reason);
  frame["session_id"] = c.session_id();
  frame["total_cost_usd"] = TotalCost(c);
  frame["usage"] = Usage(r.usage);
  frame["modelUsage"] = ModelUsage(c);
  frame["permission_denials"] = r.permission_denials;
  if (!local) {
    frame["terminal_reason"] = r.terminal_reason;
    if (!r.origin.is_null()) frame["origin"] = r.origin;
    frame["is_error"] = r.is_error;
    frame["num_turns"] = r.num_turns;
  }
  frame["subtype"] = r.subtype;
  if (r.subtype == "success") {
    if (!local) {
      frame["api_error_status"] =
          r.api_error_status == 0 ? Json(nullptr) : Json(r.api_error_status);
    }
    if (!r.api_error_type.empty()) frame["api_error_type"] = r.api_error_type;
    frame["result"] = r.text;
  }
  if (!r.errors.empty()) frame["errors"] = r.errors;
  AddUuids(frame, c, uuids);
  if (local && !r.local_command->empty()) {
    frame["local_command"] = *r.local_command;
  }
  frame["type"] = "result";
  frame["duration_ms"] = r.duration_ms;
  frame["uuid"] = NewUuid();
  frame["result_index"] = c.results;
  return frame;
}

Json NoConversationFrame(std::string_view session_id, std::string_view error) {
  return {{"type", "result"},
          {"subtype", "error_during_execution"},
          {"duration_ms", 0},
          {"duration_api_ms", 0},
          {"is_error", true},
          {"num_turns", 0},
          {"stop_reason", nullptr},
          {"session_id", session_id},
          {"total_cost_usd", 0},
          {"usage", Usage({})},
          {"modelUsage", Json::object()},
          {"permission_denials", Json::array()},
          {"uuid", NewUuid()},
          {"errors", {error}},
          {"result_index", 0}};
}

Json BackgroundTasksFrame(const Conversation& c) {
  Json tasks = Json::array();
  for (const BackgroundTask& task : c.tasks) {
    tasks.push_back({{"task_id", task.task_id},
                     {"run_id", task.run_id},
                     {"task_type", "local_bash"},
                     {"description", task.description}});
  }
  return SystemFrame(c, "background_tasks_changed", {{"tasks", tasks}});
}

Json CostState(const Conversation& c) {
  return {{"type", "cost-state"},
          {"sessionId", c.session_id()},
          {"totalCostUSD", TotalCost(c)},
          {"modelUsage", ModelUsage(c)}};
}

void RestoreCost(Conversation& c) {
  // Old versions start at nothing.
  if (c.options.legacy) return;
  for (const auto& [model, used] :
       Get(c.transcript.cost_state(), "modelUsage").items()) {
    const Json& cost = Get(used, "costUSD");
    if (!cost.is_number()) continue;
    c.usage[model] = {.input = GetInteger(used, "inputTokens"),
                      .output = GetInteger(used, "outputTokens"),
                      .cost = cost.get<double>()};
  }
}

}  // namespace understudy::session
