// The turns of a ClaudeAgent, and what each line of its process does.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "proto/error.h"
#include "session/agent/claude_agent.h"
#include "session/agent/claude_command.h"
#include "session/agent/claude_delta.h"
#include "session/agent/claude_events.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

// A turn that the process has cancelled gets its result within a moment, or
// none.
constexpr absl::Duration kResultGrace = absl::Seconds(1);

}  // namespace

// --- Turns ------------------------------------------------------------------

void ClaudeAgent::Send(const TurnInput& input) {
  turns_.Send(input.turn_id, process().queued_bytes());
  const bool knows_composed = ClaudeKnowsComposed(version_);
  Write(input.content != nullptr
            ? ClaudeMessage(input.turn_id, *input.content, knows_composed)
            : ClaudeMessage(input.turn_id, input.text, knows_composed));
}

v1::Delivered ClaudeAgent::delivered() const {
  const std::optional<ClaudeTurn>& own = turns_.own();
  if (!own.has_value()) return v1::DELIVERED_NO;
  if (own->acknowledged) return v1::DELIVERED_YES;
  return process().written_bytes() > own->queued_before ? v1::DELIVERED_MAYBE
                                                        : v1::DELIVERED_NO;
}

void ClaudeAgent::Interrupt() {
  if (!turns_.own() && !turns_.unsolicited()) return;
  if (interrupt_timer_) return;
  interrupts_own_ = turns_.own().has_value();
  interrupt_timer_ = loop().RunAfter(interrupt_timeout_, [this] {
    End(MakeError(Reason::kAgentUnresponsive,
                  Concat({"interrupt ", name(), ": not done within ",
                          absl::FormatDuration(interrupt_timeout_)})));
  });
  if (turns_.running()) SendInterrupt();
}

void ClaudeAgent::SendInterrupt() { Write(ClaudeInterrupt(NextId())); }

bool ClaudeAgent::EndTurns(const ClaudeTurns::Ended& ended, TurnEnd end,
                           std::string_view raw) {
  if (ended.own) result_timer_.reset();
  if (ended.own || (ended.unsolicited && !interrupts_own_)) {
    interrupt_timer_.reset();
  }
  const Witness witness(*this);
  if (end.outcome == v1::TURN_OUTCOME_INTERRUPTED) {
    for (const std::string& id : permissions_.ids()) {
      Withdraw(id);
      if (witness.gone()) return false;
    }
  }
  if (ended.unsolicited) {
    TurnEnd other = end;
    other.turn_id.clear();
    if (ended.own) {
      // One result for both: what was used is told once.
      other.usage.Clear();
      other.total_cost_usd.reset();
    }
    observer().OnTurnEnded(std::move(other), ended.own ? "" : raw);
    if (witness.gone()) return false;
  }
  if (ended.own) observer().OnTurnEnded(std::move(end), raw);
  return !witness.gone();
}

// --- Permissions ------------------------------------------------------------

std::vector<std::string> ClaudeAgent::AnswerPermission(
    std::string_view permission_id, const PermissionAnswer& answer) {
  // None if it has become void meanwhile.
  auto answered = permissions_.Answer(permission_id, answer);
  if (!answered.has_value()) return {};
  Write(answered->line);
  return std::move(answered->grants);
}

void ClaudeAgent::Withdraw(const std::string& permission_id) {
  if (!permissions_.Withdraw(permission_id)) return;
  observer().OnPermissionWithdrawn(permission_id);
}

void ClaudeAgent::HandleRequest(JsonValue line, std::string_view raw) {
  const std::string id = line["request_id"].String();
  const JsonValue request = line["request"];
  if (!request["subtype"].Is("can_use_tool") || id.empty()) {
    Write(ClaudeRefusal(id, "this host does not know such a request"));
    return;
  }
  observer().OnEvent(permissions_.Open(id, request), raw);
}

// --- Lines ------------------------------------------------------------------

bool ClaudeAgent::HandleRaw(std::string_view line) {
  static thread_local std::string scratch;
  const std::optional<ClaudeDelta> delta = ReadClaudeDelta(line, scratch);
  if (!delta.has_value()) return false;
  observer().OnDelta(delta->kind, {}, delta->text, line);
  return true;
}

void ClaudeAgent::HandleLine(JsonValue line, std::string_view raw) {
  std::string scratch;
  const std::string_view type = line["type"].Text(scratch);
  const bool of_sub_agent = line["parent_tool_use_id"].IsString();
  if (of_sub_agent && type == "stream_event") return;  // a line follows
  if (type == "stream_event") {
    const JsonValue delta = line["event"]["delta"];
    if (line["event"]["type"].Is("content_block_delta") &&
        (delta["type"].Is("text_delta") ||
         delta["type"].Is("thinking_delta"))) {
      return HandleDelta(delta, raw);
    }
  }
  // What a sub-agent is in and on says nothing about the session.
  if (of_sub_agent &&
      (type == "result" || (type == "system" && line["subtype"].Is("init")))) {
    return EmitEvents(line, raw);
  }
  // Its tools are the session's; what it says is not the session's answer.
  if (of_sub_agent && type == "assistant" && !line["error"].IsString()) {
    std::optional<std::vector<v1::Event>> events = ReadClaudeEvents(line);
    const bool says =
        !events.has_value() ||
        std::any_of(events->begin(), events->end(), [](const v1::Event& event) {
          return event.has_message() || event.has_thought();
        });
    if (says) return EmitUnknown("assistant/sub_agent", raw);
    return Emit(*std::move(events), raw);
  }
  if (type == "system") return HandleSystem(line, raw);
  if (type == "command_lifecycle") return HandleLifecycle(line, raw);
  if (type == "result") return HandleResult(line, raw);
  if (type == "control_request") return HandleRequest(line, raw);
  if (type == "control_response") {
    const JsonValue answer = line["response"];
    HandleAnswer(answer["request_id"].String(), answer);
    return;
  }
  if (type == "control_cancel_request") {
    return Withdraw(line["request_id"].String());
  }
  // Old versions answer /clear with words of their own.
  if (type == "assistant" && turns_.has_command() &&
      line["message"]["model"].Is("<synthetic>")) {
    return;
  }
  EmitEvents(line, raw);
}

void ClaudeAgent::HandleDelta(JsonValue delta, std::string_view raw) {
  const bool is_text = delta["type"].Is("text_delta");
  std::string scratch;
  observer().OnDelta(is_text ? DeltaKind::kText : DeltaKind::kThought, {},
                     delta[is_text ? "text" : "thinking"].Text(scratch), raw);
}

void ClaudeAgent::EmitEvents(JsonValue line, std::string_view raw) {
  std::optional<std::vector<v1::Event>> events = ReadClaudeEvents(line);
  if (!events.has_value()) return EmitUnknown(ClaudeLineType(line), raw);
  Emit(*std::move(events), raw);
}

void ClaudeAgent::Emit(std::vector<v1::Event> events, std::string_view raw) {
  const Witness witness(*this);
  bool first = true;
  for (v1::Event& event : events) {
    const bool with_line = std::exchange(first, false) || event.has_unknown();
    observer().OnEvent(std::move(event), with_line ? raw : std::string_view());
    if (witness.gone()) return;
  }
}

void ClaudeAgent::HandleSystem(JsonValue line, std::string_view raw) {
  const JsonValue subtype = line["subtype"];
  if (subtype.Is("init")) return HandleInit(line, raw);
  NoteTasks(line);
  const Witness witness(*this);
  if (subtype.Is("status")) NoteMode(line["permissionMode"].String());
  if (witness.gone()) return;
  EmitEvents(line, raw);
}

// New versions list their tasks whenever that changes; old ones only tell of
// each one's beginning and end.
void ClaudeAgent::NoteTasks(JsonValue line) {
  const JsonValue subtype = line["subtype"];
  if (subtype.Is("background_tasks_changed")) {
    lists_tasks_ = true;
    tasks_.clear();
    for (const JsonValue task : line["tasks"]) {
      tasks_.insert(task["task_id"].String());
    }
  } else if (subtype.Is("task_started")) {
    const bool in_foreground = line["is_backgrounded"].raw() == "false";
    if (!lists_tasks_ && !in_foreground) {
      tasks_.insert(line["task_id"].String());
    }
  } else if (subtype.Is("task_notification")) {
    tasks_.erase(line["task_id"].String());
    task_ended_ = true;
  }
}

void ClaudeAgent::NoteMode(std::string_view mode, bool asked) {
  // The next process is started with it: what cannot be one is not taken.
  if (!IsClaudeMode(mode) || mode == permission_mode_) return;
  const bool known = asked || !permission_mode_.empty();
  permission_mode_ = mode;
  if (!known) return;
  v1::Event event;
  event.mutable_notice()->set_kind(v1::NOTICE_KIND_MODE);
  event.mutable_notice()->set_message(permission_mode_);
  observer().OnEvent(std::move(event), {});
}

void ClaudeAgent::HandleInit(JsonValue line, std::string_view raw) {
  ClaudeInit init = ReadClaudeInit(line);
  if (!init.version.empty()) version_ = init.version;
  const Witness witness(*this);
  Track(init.conversation, init.model);
  if (witness.gone()) return;

  const ClaudeTurns::Begun begun =
      turns_.OnInit(init, std::exchange(task_ended_, false));
  if (begun != ClaudeTurns::Begun::kNothing) {
    observer().OnTurnStarted(
        begun == ClaudeTurns::Begun::kOwn ? turns_.own()->id : "", raw);
    if (witness.gone()) return;
  }
  // Also when it was sent already: the process may have begun the turn and not
  // yet have been ready to hear it.
  if (interrupt_timer_ && interrupts_own_ && turns_.own() &&
      turns_.own()->started) {
    SendInterrupt();
  }
  NoteMode(init.permission_mode);
  if (witness.gone()) return;
  if (init.commands != commands_) {
    const bool known = !commands_.empty();
    commands_ = std::move(init.commands);
    if (!known) return;
    v1::Event event;
    event.mutable_notice()->set_kind(v1::NOTICE_KIND_COMMANDS);
    event.mutable_notice()->set_message(commands_);
    observer().OnEvent(std::move(event), {});
  }
}

void ClaudeAgent::HandleLifecycle(JsonValue line, std::string_view raw) {
  const std::string state = line["state"].String();
  const ClaudeTurns::Step step =
      turns_.OnLifecycle(line["command_uuid"].String(), state);
  if (step.begun == ClaudeTurns::Begun::kOwn) {
    if (interrupt_timer_ && interrupts_own_) SendInterrupt();
    observer().OnTurnStarted(turns_.own()->id, raw);
    return;
  }
  TurnEnd end;
  end.turn_id = line["command_uuid"].String();
  end.outcome = v1::TURN_OUTCOME_INTERRUPTED;
  end.stop_reason = state;
  if (step.ended.command) return EndClear(end);
  if (step.ended.own) {
    EndTurns(step.ended, std::move(end), raw);
    return;
  }
  if (state == "cancelled" && turns_.own() && turns_.own()->over) {
    result_timer_ = loop().RunAfter(kResultGrace, [this, end] {
      if (EndTurns(turns_.GiveUp(), end, {})) observer().OnQuiet();
    });
  }
}

void ClaudeAgent::HandleResult(JsonValue line, std::string_view raw) {
  ClaudeResult result = ReadClaudeResult(line, current_.model);
  if (!ready()) {
    start_failure_ = std::string(result.end.error.message());
    return;
  }
  if (turns_.own()) result.end.turn_id = turns_.own()->id;
  const ClaudeTurns::Ended ended = turns_.OnResult(result);
  if (!ended.any()) return;  // of a turn that is over
  const Witness witness(*this);
  Track(result.conversation, {});
  if (witness.gone()) return;
  if (ended.own || ended.unsolicited) {
    v1::Event event;
    *event.mutable_usage() = result.end.usage;
    observer().OnEvent(std::move(event), {});
    if (witness.gone() || !EndTurns(ended, result.end, raw)) return;
  }
  if (ended.command) {
    current_.total_cost_usd = result.end.total_cost_usd;
    EndClear(result.end);
  }
}

}  // namespace understudy::session
