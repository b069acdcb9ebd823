#include "session/agent/rehearsal/acp_frames.h"

#include <utility>

namespace understudy::session {
namespace {

constexpr int64_t kContextWindow = 1000000;

struct Mode {
  const char* id;
  const char* name;
  const char* description;
};

constexpr Mode kModes[] = {
    {"default", "Manual", "Always ask before making changes"},
    {"acceptEdits", "Accept edits", "Automatically accept all file edits"},
    {"plan", "Plan", "Create a plan before making changes"},
    {"dontAsk", "Don't ask", "Deny what is not allowed already"},
    {"auto", "Auto", "The agent handles permission decisions"},
    {"bypassPermissions", "Bypass permissions", "Accepts all permissions"}};

constexpr std::pair<std::string_view, std::string_view> kOptionKinds[] = {
    {"once", "allow_once"},
    {"always", "allow_always"},
    {"reject", "reject_once"},
    {"never", "reject_always"}};

template <typename Add>
void ForEachMode(const Conversation& c, Add add) {
  for (const Mode& mode : kModes) {
    if (std::string_view(mode.id) != "bypassPermissions" ||
        c.options.bypass_allowed) {
      add(mode);
    }
  }
}

template <typename Add>
void ForEachModel(const Conversation& c, Add add) {
  for (const Model& model : c.models.all()) {
    if (c.models.Find(model.id) != nullptr) add(model);
  }
}

Json ModelState(const Conversation& c, const std::string& current) {
  Json models = Json::array();
  ForEachModel(c, [&](const Model& model) {
    models.push_back({{"modelId", model.id},
                      {"name", model.name},
                      {"description", model.description}});
  });
  return {{"availableModels", models}, {"currentModelId", current}};
}

Json ModeState(const Conversation& c) {
  Json modes = Json::array();
  ForEachMode(c, [&](const Mode& mode) {
    modes.push_back({{"id", mode.id},
                     {"name", mode.name},
                     {"description", mode.description}});
  });
  return {{"currentModeId", c.permission_mode}, {"availableModes", modes}};
}

}  // namespace

Json InitializeResult(const Options& options) {
  const AcpOptions& acp = options.acp;
  Json session = Json::object();
  if (acp.close) session["close"] = Json::object();
  if (acp.list) session["list"] = Json::object();
  if (acp.resume) session["resume"] = Json::object();
  return {
      {"protocolVersion", 1},
      {"agentCapabilities",
       {{"loadSession", acp.load},
        {"mcpCapabilities", {{"http", false}, {"sse", false}}},
        {"promptCapabilities", {{"embeddedContext", false}, {"image", true}}},
        {"sessionCapabilities", session}}},
      {"authMethods", Json::array()},
      {"agentInfo", {{"name", acp.name}, {"version", "1.0.0"}}}};
}

Json SessionState(const Conversation& c, const std::string& model) {
  const AcpOptions& acp = c.options.acp;
  Json state = Json::object();
  Json options = ConfigOptions(c, model);
  if (!options.empty()) state["configOptions"] = std::move(options);
  if (acp.legacy_models()) state["models"] = ModelState(c, model);
  if (acp.modes()) state["modes"] = ModeState(c);
  return state;
}

Json ConfigOptions(const Conversation& c, const std::string& model) {
  Json all = Json::array();
  auto add = [&](const char* id, const char* name, const std::string& current,
                 Json values) {
    all.push_back({{"id", id},
                   {"name", name},
                   {"category", id},
                   {"type", "select"},
                   {"currentValue", current},
                   {"options", std::move(values)}});
  };
  if (c.options.acp.config_models()) {
    Json values = Json::array();
    ForEachModel(c, [&](const Model& m) {
      values.push_back(
          {{"value", m.id}, {"name", m.name}, {"description", m.description}});
    });
    add("model", "Model", model, std::move(values));
  }
  if (c.options.acp.config_modes()) {
    Json values = Json::array();
    ForEachMode(c, [&](const Mode& mode) {
      values.push_back({{"value", mode.id},
                        {"name", mode.name},
                        {"description", mode.description}});
    });
    add("mode", "Session Mode", c.permission_mode, std::move(values));
  }
  return all;
}

Json ConfigUpdate(const Conversation& c, const std::string& model) {
  Json options = ConfigOptions(c, model);
  if (options.empty()) return nullptr;
  return {{"sessionUpdate", "config_option_update"},
          {"configOptions", std::move(options)}};
}

bool IsMode(const Conversation& c, const std::string& mode) {
  bool found = false;
  ForEachMode(c, [&](const Mode& m) { found = found || m.id == mode; });
  return found;
}

Json AvailableCommands() {
  return {{"sessionUpdate", "available_commands_update"},
          {"availableCommands",
           Json::array({{{"name", "init"}, {"description", "Does nothing"}}})}};
}

Json Chunk(std::string_view kind, std::string_view message_id,
           const Json& content) {
  return {
      {"sessionUpdate", kind}, {"messageId", message_id}, {"content", content}};
}

Json TextContent(std::string_view text) {
  return {{"type", "text"}, {"text", text}};
}

Json ToolContent(std::string_view text) {
  return Json::array({{{"type", "content"}, {"content", TextContent(text)}}});
}

std::string_view ToolKind(std::string_view tool) {
  constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"Bash", "execute"},
      {"Edit", "edit"},
      {"Write", "edit"},
      {"Read", "read"},
      {"NotebookEdit", "edit"},
      {"Glob", "search"},
      {"Grep", "search"},
      {"WebFetch", "fetch"},
      {"WebSearch", "fetch"},
      {"Task", "think"},
      {"ExitPlanMode", "switch_mode"}};
  for (const auto& [name, kind] : kKinds) {
    if (name == tool) return kind;
  }
  return "other";
}

Json PermissionOptions() {
  return Json::array(
      {{{"optionId", "once"}, {"kind", "allow_once"}, {"name", "Allow once"}},
       {{"optionId", "always"},
        {"kind", "allow_always"},
        {"name", "Always allow"}},
       {{"optionId", "reject"}, {"kind", "reject_once"}, {"name", "Reject"}},
       {{"optionId", "never"},
        {"kind", "reject_always"},
        {"name", "Always reject"}}});
}

std::string_view KindOfOption(std::string_view option_id) {
  for (const auto& [id, kind] : kOptionKinds) {
    if (id == option_id) return kind;
  }
  return "";
}

Json Plan(const Json& input) {
  Json entries = Json::array();
  for (const Json& todo : Get(input, "todos")) {
    std::string priority = GetString(todo, "priority");
    std::string status = GetString(todo, "status");
    entries.push_back({{"content", GetString(todo, "content")},
                       {"priority", priority.empty() ? "medium" : priority},
                       {"status", status.empty() ? "pending" : status}});
  }
  return {{"sessionUpdate", "plan"}, {"entries", entries}};
}

Json UsageUpdate(int64_t used, double dollars) {
  return {{"sessionUpdate", "usage_update"},
          {"used", used},
          {"size", kContextWindow},
          {"cost", {{"amount", dollars}, {"currency", "USD"}}}};
}

Json TurnUsage(const TokenUsage& usage) {
  return {{"inputTokens", usage.input},
          {"outputTokens", usage.output},
          {"totalTokens", usage.input + usage.output}};
}

RpcError NoSuchSession(const std::string& session_id) {
  return {.code = RpcError::kResourceNotFound,
          .message = "Resource not found",
          .data = {{"sessionId", session_id}}};
}

RpcError InvalidParams(const std::string& why) {
  return {.code = RpcError::kInvalidParams,
          .message = "Invalid params: " + why};
}

RpcError MethodNotFound(const std::string& method) {
  return {.code = RpcError::kMethodNotFound,
          .message = "\"Method not found\": " + method,
          .data = {{"method", method}}};
}

RpcError InternalError(const std::string& details) {
  return {.code = RpcError::kInternalError,
          .message = "Internal error: " + details};
}

RpcError ActiveWriter(const std::string& session_id) {
  return {.code = RpcError::kInternalError,
          .message = "Session " + session_id + " already has an active writer",
          .data = {{"reason", "thread_active_writer"}}};
}

}  // namespace understudy::session
