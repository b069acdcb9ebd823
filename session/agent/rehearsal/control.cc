// Control requests: what a host asks the program itself.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/stream_json.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {

using Effects = Misbehaviour::Effects;
using Point = Fault::Point;

void StreamJson::OnControlRequest(const Json& line) {
  const Json& request = Get(line, "request");
  if (!request.is_object()) {
    return Die("Error: Missing request on control_request");
  }
  const Json& id = Get(line, "request_id");
  std::string subtype = GetString(request, "subtype");
  if (subtype == "initialize") {
    return RespondAt(Point::kInitialize, id, [this](const Effects&) {
      return Reply{.response = InitializeResponse(c_, running())};
    });
  }
  if (subtype == "set_model") {
    return RespondAt(Point::kSetModel, id,
                     [this, model = Get(request, "model")](const Effects& e) {
                       return SetModel(model, e);
                     });
  }
  if (subtype == "interrupt") {
    return RespondAt(Point::kInterrupt, id, [this, request](const Effects&) {
      return Interrupt(request);
    });
  }
  if (subtype == "end_session") {
    Respond(id, {});
    return EndSession();
  }
  if (subtype == "set_permission_mode") {
    return RespondAt(Point::kSetMode, id, [this, request](const Effects&) {
      return SetPermissionMode(request);
    });
  }
  Respond(id, OtherRequest(subtype, request));
}

void StreamJson::RespondAt(Point point, const Json& request_id,
                           std::function<Reply(const Effects&)> reply) {
  Effects effects = c_.faults.Reach(point);
  auto answer = [this, request_id, reply = std::move(reply), effects] {
    if (effects.refuse) {
      return Respond(request_id, {.error = *effects.refuse});
    }
    std::string mode = c_.permission_mode;
    Respond(request_id, reply(effects));
    if (mode != c_.permission_mode) {
      c_.Write(SystemFrame(
          c_, "status",
          {{"status", nullptr}, {"permissionMode", c_.permission_mode}}));
    }
    if (std::exchange(abort_, false) && turn_) turn_->Abort();
  };
  if (effects.delay.count() == 0) return answer();
  c_.loop.RunAfter(effects.delay, answer);
}

void StreamJson::Respond(const Json& request_id, Reply reply) {
  bool failed = !reply.error.empty();
  Json response = {{"subtype", failed ? "error" : "success"}};
  if (!request_id.is_null()) response["request_id"] = request_id;
  if (failed) {
    response["error"] = reply.error;
    if (!reply.error_code.empty() && !c_.options.legacy) {
      response["error_code"] = reply.error_code;
    }
    if (!c_.options.legacy) response.update(reply.extra);
  } else if (!reply.response.is_null()) {
    response["response"] = reply.response;
  }
  c_.Write({{"type", "control_response"}, {"response", response}});
}

StreamJson::Reply StreamJson::SetModel(const Json& requested,
                                       const Effects& effects) {
  auto refuse = [&](std::string error, std::string code) {
    return Reply{.error = std::move(error),
                 .error_code = std::move(code),
                 .extra = {{"model", c_.model}}};
  };
  if (effects.lie_model) {
    return {.response = {{"model", *effects.lie_model}}};
  }
  if (!requested.is_null() && !requested.is_string()) {
    return refuse("set_model: model must be a string", "invalid_request");
  }
  std::string name =
      requested.is_null() ? "default" : requested.get<std::string>();
  std::string id = c_.models.Resolve(name);
  if (!c_.options.legacy) {
    if (name.empty()) {
      return refuse(
          "Model \"(unrecognized model name)\" is not a recognized model id. "
          "Run /model to see available models.",
          "catalog_unknown");
    }
    if (c_.models.Find(id) == nullptr) {
      return refuse("Model '" + name + "' not found", "not_found");
    }
  }
  if (id != c_.model) {
    bool alias = name != id && name != "default";
    std::string shown = alias ? absl::StrCat(name, " (", id, ")") : id;
    Json frame = ReplayFrame(c_,
                             "<local-command-stdout>Set model to `" + shown +
                                 "`</local-command-stdout>",
                             NewUuid());
    c_.Write(frame);
  }
  c_.model = id;
  c_.log.Write(
      {{"event", "set_model"}, {"requested", requested}, {"model", id}});
  if (c_.options.legacy) return {};
  return {.response = {{"model", id}}};
}

StreamJson::Reply StreamJson::SetPermissionMode(const Json& request) {
  std::string mode = GetString(request, "mode");
  constexpr std::string_view kModes[] = {
      "acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"};
  // Old versions take any word.
  if (!c_.options.legacy && std::find(std::begin(kModes), std::end(kModes),
                                      mode) == std::end(kModes)) {
    return {.error =
                "Cannot set permission mode: must be one of acceptEdits, "
                "auto, bypassPermissions, default, dontAsk, plan",
            .error_code = "invalid_mode"};
  }
  if (mode == "bypassPermissions" && !c_.options.bypass_allowed) {
    return {.error =
                "Cannot set permission mode to bypassPermissions because the "
                "session was not launched with --dangerously-skip-permissions",
            .error_code = "bypass_not_launched"};
  }
  c_.permission_mode = mode;
  return {.response = {{"mode", mode}}};
}

// A turn that has not begun yet does not notice an interruption, except the
// first one of the process.
StreamJson::Reply StreamJson::Interrupt(const Json& request) {
  Json cancelled = Json::array();
  bool cancel_queued = GetBool(request, "cancel_queued", false);
  auto cancel = [&](const UserMessage& message) {
    if (!message.stamped) return;
    cancelled.push_back(message.uuid);
    if (!c_.options.legacy) {
      c_.Write(LifecycleFrame(c_, message.uuid, "cancelled"));
    }
  };
  if (cancel_queued) {
    if (turn_ && !turn_->started()) {
      for (const UserMessage& message : turn_->messages()) cancel(message);
      turn_.reset();
    }
    for (const UserMessage& message : queue_) cancel(message);
    queue_.clear();
  }
  Json still_queued = Json::array();
  for (const UserMessage& message : queue_) {
    if (message.stamped) still_queued.push_back(message.uuid);
  }
  if (turn_ && (turn_->started() || first_turn_)) {
    turn_->WithdrawPermission();
    abort_ = true;
  }
  Json response = {{"still_queued", still_queued}};
  if (cancel_queued) response["cancelled"] = cancelled;
  return {.response = c_.options.legacy ? Json(nullptr) : response};
}

StreamJson::Reply StreamJson::StopTask(const Json& request) {
  for (BackgroundTask& task : c_.tasks) {
    if (task.task_id != GetString(request, "task_id")) continue;
    task.stopped = true;
    KillTree(task.pid);
  }
  return {.response = Json::object()};
}

StreamJson::Reply StreamJson::CancelMessage(const Json& request) {
  std::string uuid = GetString(request, "message_uuid");
  auto message = std::find_if(queue_.begin(), queue_.end(),
                              [&](const auto& m) { return m.uuid == uuid; });
  bool found = message != queue_.end();
  if (found) {
    queue_.erase(message);
    c_.Write(LifecycleFrame(c_, uuid, "cancelled"));
  }
  return {.response = {{"cancelled", found}}};
}

StreamJson::Reply StreamJson::OtherRequest(const std::string& subtype,
                                           const Json& request) {
  if (subtype == "stop_task") return StopTask(request);
  if (subtype == "cancel_async_message") return CancelMessage(request);
  if (subtype == "list_models") {
    return {.response = {{"models", ModelList(c_)}}};
  }
  if (subtype == "get_settings") {
    return {.response = {{"effective", Json::object()},
                         {"sources", Json::array()},
                         {"applied", {{"model", c_.model}}}}};
  }
  if (subtype == "apply_flag_settings") {
    const Json& settings = Get(request, "settings");
    AllowRules(Get(Get(settings, "permissions"), "allow"));
    const Json& model = Get(settings, "model");
    if (!model.is_null()) {
      Reply reply = SetModel(model, {});
      if (!reply.error.empty()) return reply;
    }
    return {};
  }
  if (subtype == "get_usage") {
    return {.response = {{"session", {{"total_cost_usd", TotalCost(c_)}}}}};
  }
  if (subtype == "mcp_status") {
    return {.response = {{"mcpServers", Json::array()}}};
  }
  if (subtype == "get_binary_version") {
    return {.response = {{"version", c_.options.version()}}};
  }
  if (subtype == "background_tasks") return {.response = Json::object()};
  if (subtype == "set_max_thinking_tokens" || subtype == "rename_session" ||
      subtype == "set_has_subscribers") {
    return {};
  }
  return {.error = "Unsupported control request subtype: " + subtype,
          .error_code = "unsupported_request"};
}

// Rules of the settings, where parentheses inside a rule have a backslash.
void StreamJson::AllowRules(const Json& rules) {
  for (const Json& rule : rules) {
    if (!rule.is_string()) continue;
    std::string plain;
    const std::string text = rule.get<std::string>();
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      plain.push_back(text[i]);
    }
    c_.allowed_tools.insert(std::move(plain));
  }
}

// A running turn is aborted, and its result written.
void StreamJson::EndSession() {
  bool aborts = running();
  if (aborts) {
    turn_->Abort();
    while (turn_->Step()) continue;
  }
  Leave(aborts ? 1 : 0);
}

}  // namespace understudy::session
