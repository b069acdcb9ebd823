#include "session/agent/rehearsal/stream_json.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/message_text.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {
namespace {

// The `type` of a line that is not JSON, as far as it can be guessed.
std::string GuessType(std::string_view line) {
  constexpr std::string_view kKey = "\"type\":\"";
  size_t at = line.find(kKey);
  if (at == std::string_view::npos) return "unknown";
  at += kKey.size();
  return std::string(line.substr(at, line.find('"', at) - at));
}

}  // namespace

void StreamJson::OnLine(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) {
    line.remove_suffix(1);
  }
  if (line.empty()) return;
  Json json = ParseJson(line);
  if (json.is_discarded() || json.is_null()) {
    return Die(absl::StrCat(
        "Error parsing streaming input line (type=", GuessType(line), ", ",
        line.size(), " chars): SyntaxError"));
  }
  std::string type = GetString(json, "type");
  if (type == "user") return OnUser(json);
  if (type == "control_request") return OnControlRequest(json);
  if (type == "control_response") {
    if (turn_) turn_->OnPermissionAnswer(Get(json, "response"));
  } else if (type == "assistant" && Get(json, "message").is_object()) {
    c_.transcript.AppendAssistant(json["message"]);
  }
}

void StreamJson::OnUser(const Json& line) {
  c_.loop.Pause(c_.faults.Reach(Fault::Point::kUser).delay);
  const Json& message = Get(line, "message");
  std::string role = GetString(message, "role");
  if (role != "user") {
    return Die(absl::StrCat("Error: Expected message role 'user', got '",
                            role.empty() ? "undefined" : role, "'"));
  }
  UserMessage user;
  user.content = Get(message, "content");
  if (!user.content.is_array() &&
      (!user.content.is_string() || user.content == "")) {
    user.content = "(no content)";
  }
  user.text = TextOf(user.content);
  user.uuid = GetString(line, "uuid");
  user.stamped = IsUuid(user.uuid);
  if (!user.stamped) user.uuid = NewUuid();
  user.plain = GetBool(line, "client_composed", false);
  user.query = GetBool(line, "shouldQuery", true);
  c_.log.Write({{"event", "user"},
                {"uuid", user.stamped ? Json(user.uuid) : Json(nullptr)},
                {"text", user.text}});
  if (user.stamped && !seen_.insert(user.uuid).second) {
    return OnDuplicate(user);
  }
  if (user.stamped && c_.transcript.HasMessage(user.uuid)) {
    return OnDuplicate(user);
  }
  if (user.stamped && !c_.options.legacy) {
    c_.Write(LifecycleFrame(c_, user.uuid, "queued"));
  }
  bool now = GetString(line, "priority") == "now";
  if (now) {
    queue_.push_front(std::move(user));
  } else {
    queue_.push_back(std::move(user));
  }
  if (!running()) {
    StartNextTurn();
  } else if (now) {
    turn_->Abort();
  }
}

void StreamJson::OnDuplicate(const UserMessage& message) {
  if (!c_.options.replay_user_messages) return;
  Json frame = ReplayFrame(c_, message.content, message.uuid);
  frame.erase("timestamp");
  c_.Write(frame);
}

// Takes from the queue what makes a turn: one slash command, or all plain
// messages up to the next one.
void StreamJson::StartNextTurn() {
  Turn::Host& host = *this;
  if (queue_.empty()) {
    if (notifications_.empty()) return;
    Json origin = std::move(notifications_.front());
    notifications_.pop_front();
    std::string text = absl::StrCat("<task-notification>", Dump(origin));
    turn_ = std::make_unique<Turn>(c_, host, std::move(origin), text);
    return;
  }
  std::vector<UserMessage> messages;
  auto alone = [&](const UserMessage& message) {
    return !message.query || !CommandOf(message, c_.options).empty();
  };
  do {
    messages.push_back(std::move(queue_.front()));
    queue_.pop_front();
  } while (!c_.options.legacy && !alone(messages.front()) && !queue_.empty() &&
           !alone(queue_.front()));
  turn_ = std::make_unique<Turn>(c_, host, std::move(messages));
}

std::vector<UserMessage> StreamJson::TakeMessagesToFold() {
  std::vector<UserMessage> messages;
  while (!queue_.empty() && queue_.front().query &&
         CommandOf(queue_.front(), c_.options).empty()) {
    messages.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return messages;
}

bool StreamJson::Step() {
  if (turn_ && turn_->done()) {
    turn_.reset();
    first_turn_ = false;
  }
  if (!turn_) StartNextTurn();
  if (turn_) return turn_->Step() || turn_->done();
  if (input_ended_ && c_.tasks.empty()) Leave(c_.failed ? 1 : 0);
  return false;
}

void StreamJson::OnInputEnd() {
  input_ended_ = true;
  if (turn_) turn_->OnInputEnd();
}

void StreamJson::OnSignal(int signal) {
  if (signal == SIGINT) {
    if (turn_) {
      turn_->Abort();
      while (turn_->Step()) continue;
    }
    return Leave(0);
  }
  c_.loop.DropOutput();
  Leave(128 + signal);
}

void StreamJson::OnChildExit(pid_t pid, int exit_code) {
  if (turn_) turn_->OnChildExit(pid, exit_code);
  auto task = std::find_if(c_.tasks.begin(), c_.tasks.end(),
                           [&](const auto& t) { return t.pid == pid; });
  if (task == c_.tasks.end()) return;
  BackgroundTask ended = *task;
  c_.tasks.erase(task);
  std::string status = ended.stopped    ? "stopped"
                       : exit_code == 0 ? "completed"
                                        : "failed";
  c_.Write(SystemFrame(c_, "task_updated",
                       {{"task_id", ended.task_id},
                        {"run_id", ended.run_id},
                        {"patch", {{"status", status}}}}));
  c_.Write(SystemFrame(
      c_, "task_notification",
      {{"task_id", ended.task_id},
       {"run_id", ended.run_id},
       {"tool_use_id", ended.tool_use_id},
       {"status", status},
       {"summary",
        absl::StrCat("Background command \"", ended.description, "\" ", status,
                     " (exit code ", exit_code, ")")}}));
  c_.Write(BackgroundTasksFrame(c_));
  if (ended.stopped) return;
  notifications_.push_back({{"kind", "task-notification"},
                            {"producer", "session-task"},
                            {"runId", ended.run_id}});
}

// Ends the process as the real one ends: with its tools, and the conversation
// closed.
void StreamJson::Leave(int exit_code) {
  Misbehaviour::Effects effects = c_.faults.Reach(Fault::Point::kExit);
  turn_.reset();
  for (const BackgroundTask& task : c_.tasks) KillTree(task.pid);
  c_.tasks.clear();
  c_.transcript.Close(CostState(c_));
  c_.log.Write({{"event", "exit"}, {"code", exit_code}});
  c_.loop.Pause(effects.delay);
  c_.loop.Exit(exit_code);
}

void StreamJson::Die(const std::string& why) {
  fprintf(stderr, "%s\n", why.c_str());
  Leave(1);
}

}  // namespace understudy::session
