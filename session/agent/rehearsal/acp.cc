#include "session/agent/rehearsal/acp.h"

#include <signal.h>

#include <utility>

#include "session/agent/rehearsal/acp_frames.h"

namespace understudy::session {

using Point = Fault::Point;

void Acp::OnLine(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
    line.remove_suffix(1);
  }
  if (line.empty()) return;
  Json message = ParseJson(line);
  if (message.is_discarded()) {
    return p_.client.Error(
        nullptr, {.code = RpcError::kParseError, .message = "Parse error"});
  }
  const Json& id = Get(message, "id");
  const std::string method = GetString(message, "method");
  const bool has_id = message.is_object() && message.contains("id");
  const bool answers =
      has_id && (message.contains("result") || message.contains("error"));
  if (method.empty() && answers) return p_.client.OnResponse(message);
  if (method.empty()) {
    return p_.client.Error(
        id, {.code = RpcError::kInvalidRequest, .message = "Invalid request"});
  }
  const Json& params = Get(message, "params");
  if (has_id) return OnRequest(id, method, params);
  OnNotification(method, params);
}

void Acp::OnRequest(const Json& id, const std::string& method,
                    const Json& params) {
  if (!Knows(method)) {
    return Respond(id, Refuse(MethodNotFound(method)));
  }
  const bool names_session = method.rfind("session/", 0) == 0 &&
                             method != "session/new" &&
                             method != "session/list";
  if (names_session && !Get(params, "sessionId").is_string()) {
    return Respond(id, Refuse(InvalidParams("sessionId is required")));
  }
  if (method == "session/prompt") return Prompt(id, params);
  if (method == "initialize") {
    return RespondAt(Point::kInitialize, id, params, [this](const Effects&) {
      return Reply{.result = InitializeResult(p_.options)};
    });
  }
  if (method == "session/new") {
    return RespondAt(Point::kNew, id, params, [this, params](const Effects& e) {
      return New(params, e);
    });
  }
  if (method == "session/load" || method == "session/resume") {
    const bool replay = method == "session/load";
    return RespondAt(Point::kLoad, id, params,
                     [this, params, replay](const Effects& e) {
                       return Load(params, replay, e);
                     });
  }
  if (method == "session/close") {
    return RespondAt(Point::kClose, id, params,
                     [this, params](const Effects&) { return Close(params); });
  }
  if (method == "session/set_model") {
    return RespondAt(
        Point::kSetModel, id, params,
        [this, params](const Effects& e) { return SetModel(params, e); });
  }
  if (method == "session/set_mode") {
    return RespondAt(
        Point::kSetMode, id, params,
        [this, params](const Effects&) { return SetMode(params); });
  }
  if (method == "session/set_config_option") {
    const bool mode = GetString(params, "configId") == "mode";
    return RespondAt(mode ? Point::kSetMode : Point::kSetModel, id, params,
                     [this, params](const Effects& e) {
                       return SetConfigOption(params, e);
                     });
  }
  if (method == "session/list") return Respond(id, List(params));
  Respond(id, {});  // authenticate
}

void Acp::OnNotification(const std::string& method, const Json& params) {
  if (method == "session/cancel") Cancel(params);
}

void Acp::RespondAt(Point point, const Json& id, const Json& params,
                    std::function<Reply(const Effects&)> reply) {
  AcpSession* session = Find(params);
  Misbehaviour& faults =
      session != nullptr ? session->conversation().faults : p_.faults;
  Effects effects = faults.Reach(point);
  if (point == Point::kNew && std::exchange(had_session_, true)) {
    Effects cleared = faults.Reach(Point::kClear);
    effects.delay += cleared.delay;
    if (cleared.refuse) effects.refuse = cleared.refuse;
  }
  auto answer = [this, id, reply = std::move(reply), effects] {
    Respond(id, effects.refuse ? Refuse(InternalError(*effects.refuse))
                               : reply(effects));
  };
  if (effects.delay.count() == 0) return answer();
  p_.loop.RunAfter(effects.delay, answer);
}

void Acp::Respond(const Json& id, const Reply& reply) {
  if (reply.error) return p_.client.Error(id, *reply.error);
  for (const Json& update : reply.before) {
    p_.client.Update(reply.session_id, update);
  }
  p_.client.Result(id, reply.result);
  for (const Json& update : reply.after) {
    p_.client.Update(reply.session_id, update);
  }
}

AcpSession* Acp::Find(const Json& params) {
  auto session = sessions_.find(GetString(params, "sessionId"));
  return session == sessions_.end() ? nullptr : session->second.get();
}

// One piece of work of every conversation, so that none waits for another.
bool Acp::Step() {
  bool busy = false;
  bool idle = true;
  for (auto& [id, session] : sessions_) {
    busy = session->Step() || busy;
    idle = idle && session->idle();
    if (p_.loop.exiting()) return false;
  }
  if (!busy && idle && input_ended_) Leave(0);
  return busy;
}

void Acp::OnInputEnd() {
  input_ended_ = true;
  for (auto& [id, session] : sessions_) session->OnInputEnd();
}

void Acp::OnSignal(int signal) {
  if (signal == SIGINT) {
    for (auto& [id, session] : sessions_) session->Close();
    return Leave(0);
  }
  p_.loop.DropOutput();
  Leave(128 + signal);
}

void Acp::OnChildExit(pid_t pid, int exit_code) {
  for (auto& [id, session] : sessions_) session->OnChildExit(pid, exit_code);
}

// Ends the process, with its tools, and the conversations closed.
void Acp::Leave(int exit_code) {
  Effects effects = p_.faults.Reach(Point::kExit);
  for (auto& [id, session] : sessions_) session->End();
  sessions_.clear();
  p_.log.Write({{"event", "exit"}, {"code", exit_code}});
  p_.loop.Pause(effects.delay);
  p_.loop.Exit(exit_code);
}

}  // namespace understudy::session
