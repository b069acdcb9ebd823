#include "session/agent/claude_command.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "proto/error.h"
#include "session/base/concat.h"
#include "session/base/id.h"
#include "session/base/json.h"

namespace understudy::session {
namespace {

constexpr std::string_view kDefaultModel = "default";
constexpr std::string_view kDefaultMode = "default";

std::string ControlRequest(std::string_view id, std::string_view request) {
  return Concat({R"({"type":"control_request","request_id":)", JsonString(id),
                 R"(,"request":)", request, "}"});
}

std::string ControlResponse(std::string_view id, std::string_view response) {
  return Concat(
      {R"({"type":"control_response","response":{"subtype":"success",)"
       R"("request_id":)",
       JsonString(id), R"(,"response":)", response, "}}"});
}

constexpr std::string_view kComposed = R"(,"client_composed":true)";

std::string UserLine() {
  return R"({"type":"user","message":{"role":"user","content":)";
}

void EndUserLine(std::string_view uuid, std::string_view members,
                 std::string& line) {
  line.append(R"(},"parent_tool_use_id":null,"uuid":)");
  AppendJsonString(uuid, line);
  line.append(members).append("}");
}

// `text` as one that is not looked at for a command.
void AppendText(std::string_view text, bool knows_composed, std::string& line) {
  if (!knows_composed && !text.empty() && text.front() == '/') {
    AppendJsonString(Concat({" ", text}), line);
  } else {
    AppendJsonString(text, line);
  }
}

void AppendImage(const v1::Image& image, std::string& line) {
  line.append(R"({"type":"image","source":{"type":"base64","media_type":)");
  AppendJsonString(image.mime_type(), line);
  line.append(R"(,"data":")");
  std::string data;
  absl::Base64Escape(image.data(), &data);
  line.append(data).append(R"("}})");
}

size_t SizeOf(const v1::Content& content) {
  size_t size = 256;
  for (const v1::Part& part : content.parts()) {
    size += part.text().size() + part.image().data().size() / 3 * 4 + 128;
  }
  return size;
}

}  // namespace

std::string_view ClaudeModelName(std::string_view model) {
  return model.empty() ? kDefaultModel : model;
}

bool IsClaudeMode(std::string_view mode) {
  for (const char c : mode) {
    if (!absl::ascii_isalpha(c)) return false;
  }
  return !mode.empty() && mode.size() <= 64;
}

std::string_view ClaudeModeName(std::string_view mode) {
  return mode.empty() ? kDefaultMode : mode;
}

bool ClaudeModeIsOld(std::string_view mode) {
  // As its --help lists them.
  static constexpr std::array<std::string_view, 6> kModes = {
      "acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"};
  return std::find(kModes.begin(), kModes.end(), mode) != kModes.end();
}

absl::StatusOr<Command> ClaudeCommand(const Profile& profile,
                                      const Opening& opening,
                                      std::string_view new_conversation) {
  const std::string& wanted =
      opening.model.empty() ? profile.default_model : opening.model;
  const std::string_view model = ClaudeModelName(wanted);
  if (!IsModelName(model)) {
    return FieldInvalid("model", "is not the name of a model");
  }
  const std::string_view conversation =
      opening.conversation.empty() ? new_conversation : opening.conversation;
  if (!IsUuid(conversation)) {
    return FieldInvalid("agent_session_id", "is not a UUID");
  }
  const std::string& mode = opening.permission_mode.empty()
                                ? profile.permission_mode
                                : opening.permission_mode;
  if (!mode.empty() && !IsId(mode)) {
    return FieldInvalid("permission_mode", "is not a word");
  }

  Command command;
  command.argv.push_back(profile.command);
  command.argv.insert(command.argv.end(), profile.args.begin(),
                      profile.args.end());
  // What varies is written with "=": a value that begins with a dash would be
  // taken for an option otherwise.
  for (std::string_view argument :
       {"--output-format", "stream-json", "--input-format", "stream-json",
        "--verbose", "--include-partial-messages", "--permission-prompt-tool",
        "stdio"}) {
    command.argv.emplace_back(argument);
  }
  command.argv.push_back(Concat({"--model=", model}));
  command.argv.push_back(
      Concat({opening.conversation.empty() ? "--session-id=" : "--resume=",
              conversation}));
  if (!mode.empty()) {
    command.argv.push_back(Concat({"--permission-mode=", mode}));
  }

  // A profile's own values win.
  command.env = profile.env;
  // A message is on disk before its answer begins, so that it survives a kill.
  command.env.try_emplace("CLAUDE_CODE_EAGER_FLUSH", "1");
  command.env.try_emplace("CLAUDE_CODE_ENTRYPOINT", "sdk-understudy");
  command.env.try_emplace("DISABLE_AUTOUPDATER", "1");
  command.cwd = opening.working_directory;
  command.max_line_bytes = profile.max_line_bytes;
  command.max_memory_bytes = profile.max_memory_bytes;
  command.write_timeout = profile.write_timeout;
  return command;
}

std::string ClaudeInitialize(std::string_view request_id) {
  return ControlRequest(request_id, R"({"subtype":"initialize","hooks":null})");
}

std::string ClaudeGetSettings(std::string_view request_id) {
  return ControlRequest(request_id, R"({"subtype":"get_settings"})");
}

std::string ClaudeGetUsage(std::string_view request_id) {
  return ControlRequest(
      request_id,
      R"({"subtype":"get_usage","skip_behaviors":true,"detached":true})");
}

std::string ClaudeApplySettings(std::string_view request_id,
                                std::string_view settings) {
  return ControlRequest(request_id,
                        Concat({R"({"subtype":"apply_flag_settings",)"
                                R"("settings":)",
                                settings, "}"}));
}

std::string ClaudeSetModel(std::string_view request_id,
                           std::string_view model) {
  return ControlRequest(request_id,
                        Concat({R"({"subtype":"set_model","model":)",
                                JsonString(ClaudeModelName(model)), "}"}));
}

std::string ClaudeSetMode(std::string_view request_id, std::string_view mode) {
  return ControlRequest(request_id,
                        Concat({R"({"subtype":"set_permission_mode","mode":)",
                                JsonString(mode), "}"}));
}

std::string ClaudeInterrupt(std::string_view request_id) {
  return ControlRequest(request_id, R"({"subtype":"interrupt"})");
}

std::string ClaudeMessage(std::string_view uuid, std::string_view text,
                          bool knows_composed) {
  std::string line = UserLine();
  AppendText(text, knows_composed, line);
  EndUserLine(uuid, kComposed, line);
  return line;
}

std::string ClaudeMessage(std::string_view uuid, const v1::Content& content,
                          bool knows_composed) {
  std::string line = UserLine();
  line.reserve(SizeOf(content));
  char before = '[';
  for (const v1::Part& part : content.parts()) {
    line.push_back(std::exchange(before, ','));
    if (part.has_image()) {
      AppendImage(part.image(), line);
    } else {
      line.append(R"({"type":"text","text":)");
      AppendText(part.text(), knows_composed, line);
      line.push_back('}');
    }
  }
  line.push_back(']');
  EndUserLine(uuid, kComposed, line);
  return line;
}

std::string ClaudeClear(std::string_view uuid) {
  std::string line = UserLine();
  line.append(R"("/clear")");
  EndUserLine(uuid, "", line);
  return line;
}

std::string ClaudeAllow(std::string_view request_id, std::string_view input,
                        std::string_view permissions) {
  return ControlResponse(
      request_id,
      Concat({R"({"behavior":"allow","updatedInput":)", input,
              permissions.empty() ? "" : R"(,"updatedPermissions":)",
              permissions, "}"}));
}

std::string ClaudeDeny(std::string_view request_id, std::string_view message) {
  return ControlResponse(request_id, Concat({R"({"behavior":"deny","message":)",
                                             JsonString(message), "}"}));
}

std::string ClaudeRefusal(std::string_view request_id, std::string_view why) {
  return Concat({R"({"type":"control_response","response":{"subtype":"error",)"
                 R"("request_id":)",
                 JsonString(request_id), R"(,"error":)", JsonString(why),
                 "}}"});
}

}  // namespace understudy::session
