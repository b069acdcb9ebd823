// Slash commands: what the program does itself, without the model.

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/turn.h"

namespace understudy::session {
namespace {

constexpr std::array kClear = {"/clear", "/new", "/reset"};
constexpr std::array kUnavailable = {
    "/resume", "/continue", "/branch", "/fork",   "/rewind", "/session",
    "/export", "/exit",     "/quit",   "/config", "/login",  "/logout"};

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string ArgumentsOf(const std::string& text) {
  size_t space = text.find(' ');
  return space == std::string::npos ? "" : text.substr(space + 1);
}

}  // namespace

std::string CommandOf(const UserMessage& message, const Options& options) {
  // A space or a newline before it makes it text; old versions know nothing
  // else that does.
  if (message.text.empty() || message.text[0] != '/') return "";
  if (message.plain && !options.legacy) return "";
  std::string name = message.text.substr(0, message.text.find_first_of(" \n"));
  bool known = Contains(kClear, name) || Contains(kUnavailable, name) ||
               name == "/model" || name == "/context" || name == "/compact";
  return known ? name : "";
}

void Turn::RunLocalCommand(const std::string& command) {
  if (Contains(kClear, command)) {
    Misbehaviour::Effects effects = Reach(Fault::Point::kClear);
    return Then([this, effects] {
      if (!effects.refuse) return Clear();
      Open(c_.model);
      Answer(*effects.refuse, "clear", Json::object());
    });
  }
  Open(c_.model);
  if (command == "/model" && !c_.options.legacy) {
    return SetModelByCommand(ArgumentsOf(text_));
  }
  if (command == "/context") {
    return Answer(absl::StrCat("## Context Usage\n\n**Model:** ", c_.model),
                  "context", Json::object());
  }
  if (command == "/compact") {
    c_.Write(SystemFrame(c_, "status", {{"status", "compacting"}}));
    c_.Write(SystemFrame(c_, "compact_boundary",
                         {{"compact_metadata",
                           {{"trigger", "manual"}, {"pre_tokens", 12300}}}}));
    return Answer("", "compact", Json::object());
  }
  Answer(command + " isn't available in this environment.", "",
         {{"local_command_outcome", {{"kind", "unavailable_headless"}}}});
}

void Turn::Clear() {
  const std::string previous = c_.session_id();
  if (!c_.options.legacy) {
    const std::string id = NewUuid();
    c_.Write({{"type", "conversation_reset"},
              {"new_conversation_id", id},
              {"uuid", id},
              {"trigger", "clear"},
              {"user_message_uuid", messages_.front().uuid},
              {"timestamp", Timestamp()},
              {"session_id", previous}});
    c_.Write(BackgroundTasksFrame(c_));
  }
  c_.transcript.Close(CostState(c_));
  c_.transcript = Transcript::New(c_.cwd, NewUuid(), c_.options.version());
  c_.transcript.AppendLocalCommand("clear");
  // Old versions count on.
  if (!c_.options.legacy) c_.usage.clear();
  c_.log.set_session_id(c_.session_id());
  c_.log.Write({{"event", "clear"}, {"previous_session_id", previous}});
  c_.Write(InitFrame(c_, c_.model, uuids_));
  if (c_.options.legacy) {
    c_.Write(AssistantFrame(c_, SyntheticMessage("", "end_turn"),
                            Json::object(), uuids_));
  } else if (c_.options.replay_user_messages) {
    c_.Write(ReplayFrame(c_, "<command-name>/clear</command-name>",
                         messages_.front().uuid));
  }
  TurnResult result;
  result.num_turns = 0;
  result.stop_reason.clear();
  std::string name = text_.substr(1, text_.find_first_of(" \n") - 1);
  result.local_command = c_.options.legacy ? "" : name;
  Finish(std::move(result));
}

void Turn::SetModelByCommand(const std::string& name) {
  const Model* model = c_.models.Find(c_.models.Resolve(name));
  std::string text;
  if (name.empty()) {
    const Model* current = c_.models.Find(c_.model);
    text = absl::StrCat("Current model: `",
                        current != nullptr ? current->name : c_.model, "`");
  } else if (model == nullptr) {
    text = absl::StrCat("Model '", name, "' not found");
  } else {
    c_.model = c_.models.Resolve(name);
    text =
        absl::StrCat("Set model to `", model->name, "` for this session only");
    c_.log.Write(
        {{"event", "set_model"}, {"requested", name}, {"model", c_.model}});
  }
  Answer(text, "model",
         {{"local_command_run", {{"command", "model"}, {"args", name}}}});
}

void Turn::Answer(std::string text, std::string command, const Json& members) {
  Json all = {{"local_command_source",
               "<local-command-stdout>" + text + "</local-command-stdout>"}};
  all.update(members);
  c_.Write(AssistantFrame(c_, SyntheticMessage(text, "end_turn"), all, uuids_));
  TurnResult result;
  result.num_turns = 0;
  result.stop_reason.clear();
  result.text = std::move(text);
  result.local_command = std::move(command);
  Finish(std::move(result));
}

}  // namespace understudy::session
