// The methods of the protocol, as far as they concern a conversation.

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/acp.h"
#include "session/agent/rehearsal/acp_frames.h"
#include "session/agent/rehearsal/acp_history.h"
#include "session/agent/rehearsal/message_text.h"

namespace understudy::session {
namespace {

// What is wrong with the parameters that open a conversation; "" if nothing is.
std::string CheckOpening(const Json& params) {
  const std::string cwd = GetString(params, "cwd");
  if (cwd.empty()) return "cwd is required";
  if (cwd[0] != '/') return "cwd must be an absolute path";
  if (!Get(params, "mcpServers").is_array()) return "mcpServers is required";
  return "";
}

// The content of a prompt as a transcript has it; null if the agent cannot
// take it.
Json ToTranscript(const Json& prompt) {
  if (!prompt.is_array() || prompt.empty()) return nullptr;
  Json content = Json::array();
  for (const Json& block : prompt) {
    const std::string type = GetString(block, "type");
    if (type == "text" && Get(block, "text").is_string()) {
      content.push_back(TextContent(GetString(block, "text")));
    } else if (type == "resource_link") {
      content.push_back(TextContent("@" + GetString(block, "uri")));
    } else if (type == "image") {
      content.push_back({{"type", "image"},
                         {"source",
                          {{"type", "base64"},
                           {"media_type", GetString(block, "mimeType")},
                           {"data", GetString(block, "data")}}}});
    } else {
      return nullptr;
    }
  }
  return content;
}

}  // namespace

bool Acp::Knows(const std::string& method) const {
  const AcpOptions& acp = p_.options.acp;
  const std::map<std::string_view, bool> methods = {
      {"initialize", true},
      {"authenticate", true},
      {"session/new", true},
      {"session/prompt", true},
      {"session/load", acp.load},
      {"session/resume", acp.resume},
      {"session/close", acp.close},
      {"session/list", acp.list},
      {"session/set_model", acp.legacy_models()},
      {"session/set_mode", acp.modes()},
      {"session/set_config_option", acp.config_models() || acp.config_modes()}};
  auto known = methods.find(method);
  return known != methods.end() && known->second;
}

void Acp::Prompt(const Json& id, const Json& params) {
  AcpSession* session = Find(params);
  if (session == nullptr) {
    return Respond(id, Refuse(NoSuchSession(GetString(params, "sessionId"))));
  }
  Effects effects = session->conversation().faults.Reach(Fault::Point::kUser);
  Json content = ToTranscript(Get(params, "prompt"));
  if (content.is_null()) {
    return Respond(id, Refuse(InvalidParams(
                           "prompt is no list of text, resource_link, image")));
  }
  std::string text = TextOf(content);
  session->Add({.id = id,
                .content = std::move(content),
                .uuid = GetString(params, "messageId"),
                .text = std::move(text),
                .delay = effects.delay});
}

void Acp::Cancel(const Json& params) {
  AcpSession* session = Find(params);
  if (session == nullptr) return;
  Effects effects =
      session->conversation().faults.Reach(Fault::Point::kInterrupt);
  if (effects.refuse) return;
  if (effects.delay.count() == 0) return session->Cancel();
  p_.loop.RunAfter(effects.delay, [this, params] {
    if (AcpSession* late = Find(params)) late->Cancel();
  });
}

Acp::Reply Acp::New(const Json& params, const Effects& effects) {
  std::string wrong = CheckOpening(params);
  if (!wrong.empty()) return Refuse(InvalidParams(wrong));
  const std::string id = NewUuid();
  const std::string cwd = GetString(params, "cwd");
  auto session = std::make_unique<AcpSession>(
      p_, Transcript::New(cwd, id, p_.options.version()), cwd,
      p_.default_model);
  Conversation& c = session->conversation();
  c.log.Write({{"event", "new"}});
  if (p_.options.acp.exclusive) locks_.Take(id);
  Json result = {{"sessionId", id}};
  result.update(SessionState(c, effects.lie_model.value_or(c.model)));
  sessions_[id] = std::move(session);
  return {.result = std::move(result),
          .session_id = id,
          .after = {AvailableCommands()}};
}

Acp::Reply Acp::Load(const Json& params, bool replay, const Effects& effects) {
  std::string wrong = CheckOpening(params);
  if (!wrong.empty()) return Refuse(InvalidParams(wrong));
  const std::string id = GetString(params, "sessionId");
  const std::string cwd = GetString(params, "cwd");
  AcpSession* session = Find(params);
  absl::StatusOr<Transcript> transcript = absl::NotFoundError("no id");
  if (IsUuid(id)) {
    transcript = Transcript::Resume(cwd, id, p_.options.version(), true);
  }
  if (session == nullptr && !transcript.ok()) return Refuse(NoSuchSession(id));
  if (p_.options.acp.exclusive && !locks_.Take(id)) {
    return Refuse(ActiveWriter(id));
  }
  Reply reply{.session_id = id, .after = {AvailableCommands()}};
  if (replay && transcript.ok()) {
    reply.before = HistoryUpdates(transcript->history());
  }
  if (session == nullptr) {
    std::string model = transcript->last_model();
    if (model.empty() || p_.options.acp.forgets_model) model = p_.default_model;
    auto loaded = std::make_unique<AcpSession>(p_, *std::move(transcript), cwd,
                                               std::move(model));
    session = loaded.get();
    sessions_[id] = std::move(loaded);
  } else if (transcript.ok() && !session->in_turn()) {
    session->Reload(*std::move(transcript));
  }
  Conversation& c = session->conversation();
  if (p_.options.acp.forgets_model) c.model = p_.default_model;
  c.log.Write({{"event", "load"},
               {"method", replay ? "session/load" : "session/resume"}});
  reply.result = SessionState(c, effects.lie_model.value_or(c.model));
  return reply;
}

Acp::Reply Acp::Close(const Json& params) {
  AcpSession* session = Find(params);
  const std::string id = GetString(params, "sessionId");
  if (session == nullptr) return Refuse(NoSuchSession(id));
  session->Close();
  session->conversation().log.Write({{"event", "close"}});
  sessions_.erase(id);
  return {};
}

Acp::Reply Acp::List(const Json& params) {
  Json sessions = Json::array();
  for (const auto& listing : Transcript::List(GetString(params, "cwd"))) {
    sessions.push_back({{"sessionId", listing.session_id},
                        {"cwd", listing.cwd},
                        {"title", listing.title},
                        {"updatedAt", listing.updated_at}});
  }
  return {.result = {{"sessions", sessions}}};
}

Acp::Reply Acp::SetConfigOption(const Json& params, const Effects& effects) {
  AcpSession* session = Find(params);
  const std::string id = GetString(params, "sessionId");
  if (session == nullptr) return Refuse(NoSuchSession(id));
  Conversation& c = session->conversation();
  const std::string option = GetString(params, "configId");
  const bool of_models = option == "model" && p_.options.acp.config_models();
  const bool of_modes = option == "mode" && p_.options.acp.config_modes();
  if (!of_models && !of_modes) {
    return Refuse(InvalidParams("Unknown config option: " + option));
  }
  if (effects.lie_model && of_models) {
    return {
        .result = {{"configOptions", ConfigOptions(c, *effects.lie_model)}}};
  }
  std::optional<RpcError> error =
      of_models ? SwitchModel(c, Get(params, "value"))
                : SwitchMode(c, GetString(params, "value"));
  if (error) return Refuse(*std::move(error));
  return {.result = {{"configOptions", ConfigOptions(c, c.model)}},
          .session_id = id,
          .before = {ConfigUpdate(c, c.model)}};
}

Acp::Reply Acp::SetModel(const Json& params, const Effects& effects) {
  AcpSession* session = Find(params);
  const std::string id = GetString(params, "sessionId");
  if (session == nullptr) return Refuse(NoSuchSession(id));
  // The answer names no model: this is a switch that does not happen.
  if (effects.lie_model) return {};
  Conversation& c = session->conversation();
  std::optional<RpcError> error = SwitchModel(c, Get(params, "modelId"));
  if (error) return Refuse(*std::move(error));
  Reply reply{.session_id = id};
  if (p_.options.acp.config_models()) {
    reply.before.push_back(ConfigUpdate(c, c.model));
  }
  return reply;
}

std::optional<RpcError> Acp::SwitchModel(Conversation& c, const Json& name) {
  if (!name.is_string() || name == "") return InvalidParams("no model");
  const std::string requested = name.get<std::string>();
  const std::string id = c.models.Resolve(requested);
  if (c.models.Find(id) == nullptr && !p_.options.acp.any_model) {
    return InvalidParams("model not found: " + requested);
  }
  c.model = id;
  c.log.Write(
      {{"event", "set_model"}, {"requested", requested}, {"model", id}});
  return std::nullopt;
}

Acp::Reply Acp::SetMode(const Json& params) {
  AcpSession* session = Find(params);
  const std::string id = GetString(params, "sessionId");
  if (session == nullptr) return Refuse(NoSuchSession(id));
  const std::string mode = GetString(params, "modeId");
  Conversation& c = session->conversation();
  if (auto error = SwitchMode(c, mode)) return Refuse(*std::move(error));
  Reply reply{.session_id = id,
              .before = {{{"sessionUpdate", "current_mode_update"},
                          {"currentModeId", mode}}}};
  if (p_.options.acp.config_modes()) {
    reply.before.push_back(ConfigUpdate(c, c.model));
  }
  return reply;
}

std::optional<RpcError> Acp::SwitchMode(Conversation& c,
                                        const std::string& mode) {
  if (!IsMode(c, mode)) return InvalidParams("mode not found: " + mode);
  c.permission_mode = mode;
  return std::nullopt;
}

}  // namespace understudy::session
