#include "session/agent/rehearsal/turn.h"

#include <cstdlib>
#include <utility>

#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {
namespace {

bool EmitsSessionState() {
  const char* value = getenv("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace

Turn::Turn(Conversation& conversation, Host& host,
           std::vector<UserMessage> messages)
    : c_(conversation),
      host_(host),
      messages_(std::move(messages)),
      actions_(conversation.loop) {
  for (const UserMessage& message : messages_) {
    if (message.stamped) uuids_.push_back(message.uuid);
    if (&message != &messages_.front()) text_.push_back('\n');
    text_ += message.text;
  }
  Then([this] { Begin(); });
}

Turn::Turn(Conversation& conversation, Host& host, Json origin,
           std::string text)
    : c_(conversation),
      host_(host),
      origin_(std::move(origin)),
      text_(std::move(text)),
      actions_(conversation.loop) {
  Then([this] { Begin(); });
}

Turn::~Turn() {
  if (tool_ && tool_->pid > 0) KillTree(tool_->pid);
}

bool Turn::Step() { return actions_.Step() && !done(); }

Misbehaviour::Effects Turn::Reach(Fault::Point point) {
  Misbehaviour::Effects effects = c_.faults.Reach(point);
  if (effects.delay.count() > 0) actions_.WaitFor(effects.delay);
  return effects;
}

void Turn::Begin() {
  state_ = State::kRunning;
  start_ = Loop::Clock::now();
  if (EmitsSessionState()) {
    c_.Write(SystemFrame(c_, "session_state_changed", {{"state", "running"}}));
  }
  if (c_.options.replay_user_messages && messages_.size() > 1) {
    for (size_t i = 0; i + 1 < messages_.size(); ++i) {
      Json frame = ReplayFrame(c_, messages_[i].content, messages_[i].uuid);
      frame.erase("timestamp");
      c_.Write(frame);
    }
  }
  Lifecycle("started");
  Misbehaviour::Effects effects = Reach(Fault::Point::kTurnStart);
  std::string shown = effects.lie_model.value_or(c_.model);
  std::string command =
      messages_.size() == 1 ? CommandOf(messages_.front(), c_.options) : "";
  if (!command.empty()) {
    state_ = State::kFinishing;
    Then([this, command] { RunLocalCommand(command); });
    return;
  }
  Then([this, shown] {
    Open(shown);
    Note();
  });
  if (!messages_.empty() && !messages_.front().query) {
    Then([this] {
      Replay();
      TurnResult result;
      result.num_turns = 0;
      result.stop_reason.clear();
      result.local_command = "";
      Finish(std::move(result));
    });
  } else {
    Then([this] { RunSteps(); });
  }
}

void Turn::Open(std::string_view model) {
  opened_ = true;
  c_.Write(InitFrame(c_, model, uuids_));
}

// Puts the messages into the conversation.
void Turn::Note() {
  if (messages_.empty()) {
    c_.transcript.AppendUser({{"role", "user"}, {"content", text_}});
    return;
  }
  Json content = messages_.front().content;
  if (messages_.size() > 1) content = text_;
  c_.transcript.AppendPrompt(messages_.back().uuid, content);
}

void Turn::RunSteps() {
  if (c_.options.deltas > 0) {
    Play(StreamDeltas{c_.options.deltas, c_.options.delta_bytes});
  }
  if (!messages_.empty()) {
    for (ScriptStep& step : ParseScript(text_, c_.options.protocol))
      Play(std::move(step));
  }
  Then([this] { BeginRequest(); });
  Then([this] {
    std::string text =
        FinalText(request_model_, c_.transcript.prompts(), text_);
    if (text.size() < fill_up_) text.append(fill_up_ - text.size(), '.');
    StreamText(std::move(text), false);
  });
  Then([this] {
    EndRequest("end_turn");
    result_.num_turns = num_requests_;
    Finish(std::move(result_));
  });
}

void Turn::Lifecycle(std::string_view state) {
  if (c_.options.legacy) return;
  for (const std::string& uuid : uuids_) {
    c_.Write(LifecycleFrame(c_, uuid, state));
  }
}

void Turn::Replay() {
  if (replayed_ || !c_.options.replay_user_messages || messages_.empty()) {
    return;
  }
  replayed_ = true;
  const UserMessage& last = messages_.back();
  c_.Write(ReplayFrame(c_, messages_.size() > 1 ? Json(text_) : last.content,
                       last.uuid));
}

void Turn::FoldWaitingMessages() {
  if (c_.options.legacy) return;
  for (UserMessage& message : host_.TakeMessagesToFold()) {
    c_.transcript.AppendPrompt(message.uuid, message.content);
    if (c_.options.replay_user_messages) {
      c_.Write(ReplayFrame(c_, message.content, message.uuid));
    }
    text_ += "\n" + message.text;
    if (!message.stamped) continue;
    uuids_.push_back(message.uuid);
    c_.Write(LifecycleFrame(c_, message.uuid, "started"));
  }
}

// The conversation is on disk; what is left is to say so.
void Turn::Finish(TurnResult result) {
  state_ = State::kFinishing;
  result.origin = origin_;
  result_ = std::move(result);
  actions_.Clear();
  Reach(Fault::Point::kBeforeResult);
  Then([this] { WriteResult(); });
  Then([this] {
    bool aborted = result_.terminal_reason.rfind("aborted", 0) == 0;
    Lifecycle(aborted ? "cancelled" : "completed");
    if (EmitsSessionState()) {
      c_.Write(SystemFrame(c_, "session_state_changed", {{"state", "idle"}}));
    }
    state_ = State::kDone;
  });
}

void Turn::WriteResult() {
  result_.duration_ms = std::chrono::duration_cast<Loop::Milliseconds>(
                            Loop::Clock::now() - start_)
                            .count();
  c_.log.Write({{"event", "turn"},
                {"text", text_},
                {"uuids", uuids_},
                {"model", c_.model},
                {"outcome", result_.is_error ? result_.terminal_reason : "ok"},
                {"result", result_.text}});
  c_.Write(ResultFrame(c_, result_, uuids_));
  c_.failed = result_.is_error;
  ++c_.results;
  Reach(Fault::Point::kAfterResult);
}

void Turn::WithdrawPermission() {
  if (!tool_ || tool_->permission_id.empty()) return;
  c_.Write({{"type", "control_cancel_request"},
            {"request_id", tool_->permission_id}});
}

void Turn::Abort() {
  if (state_ == State::kFinishing || done()) return;
  actions_.GoOn();
  actions_.Clear();
  if (!started()) Begin();
  actions_.Clear();
  if (!opened_) {
    Open(c_.model);
    Note();
  }
  result_.is_error = true;
  result_.subtype = "error_during_execution";
  result_.num_turns = 2;
  if (tool_) {
    result_.terminal_reason = "aborted_tools";
    result_.stop_reason = "tool_use";
    AbortTool(tool_->pid > 0);
  } else {
    result_.terminal_reason = "aborted_streaming";
    result_.stop_reason.clear();
    Replay();
    if (!partial_text_.empty()) {
      Json block = {{"type", "text"}, {"text", partial_text_}};
      Json message = AssistantMessage(message_id_, request_model_,
                                      Json::array({block}), input_tokens_);
      c_.Write(AssistantFrame(c_, message, {{"aborted", true}}, uuids_));
      c_.transcript.AppendAssistant(message);
    }
  }
  Json text = Json::array(
      {{{"type", "text"},
        {"text", tool_ ? "[Request interrupted by user for tool use]"
                       : "[Request interrupted by user]"}}});
  c_.transcript.AppendUser({{"role", "user"}, {"content", text}});
  c_.Write(UserFrame(c_, text, Json::object()));
  result_.errors = {
      "[ede_diagnostic] result_type=user last_content_type=n/a stop_reason=" +
      (result_.stop_reason.empty() ? "null" : result_.stop_reason)};
  tool_.reset();
  Finish(std::move(result_));
}

}  // namespace understudy::session
