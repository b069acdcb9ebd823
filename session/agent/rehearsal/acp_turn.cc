#include "session/agent/rehearsal/acp_turn.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/acp_frames.h"
#include "session/agent/rehearsal/api_error.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {
namespace {

constexpr int64_t kMaxWholeText = 1 << 20;

}  // namespace

AcpTurn::AcpTurn(Conversation& conversation, RpcPeer& client, Prompt prompt)
    : c_(conversation),
      client_(client),
      prompt_(std::move(prompt)),
      actions_(conversation.loop) {
  Then([this] { Begin(); });
  if (prompt_.delay.count() > 0) actions_.WaitFor(prompt_.delay);
}

AcpTurn::~AcpTurn() {
  if (!tool_) return;
  if (tool_->pid > 0) KillTree(tool_->pid);
  if (tool_->permission_id) client_.Forget(*tool_->permission_id);
}

Misbehaviour::Effects AcpTurn::Reach(Fault::Point point) {
  Misbehaviour::Effects effects = c_.faults.Reach(point);
  if (effects.delay.count() > 0) actions_.WaitFor(effects.delay);
  return effects;
}

void AcpTurn::Update(const Json& update) {
  client_.Update(c_.session_id(), update);
}

void AcpTurn::Begin() {
  state_ = State::kRunning;
  Misbehaviour::Effects effects = Reach(Fault::Point::kTurnStart);
  Then([this, effects] {
    if (effects.lie_model) {
      Json lie = ConfigUpdate(c_, *effects.lie_model);
      if (!lie.is_null()) Update(lie);
    }
    Note();
  });
  Then([this] { RunSteps(); });
}

// Puts the prompt into the conversation.
void AcpTurn::Note() {
  if (std::exchange(noted_, true)) return;
  const bool stamped = IsUuid(prompt_.uuid);
  c_.transcript.AppendPrompt(stamped ? prompt_.uuid : NewUuid(),
                             prompt_.content);
}

void AcpTurn::RunSteps() {
  if (c_.options.deltas > 0) {
    Play(StreamDeltas{c_.options.deltas, c_.options.delta_bytes});
  }
  for (ScriptStep& step : ParseScript(prompt_.text, Protocol::kAcp)) {
    Play(std::move(step));
  }
  Then([this] { BeginRequest(); });
  Then([this] {
    std::string text =
        FinalText(request_model_, c_.transcript.prompts(), prompt_.text);
    if (text.size() < fill_up_) text.append(fill_up_ - text.size(), '.');
    StreamText(std::move(text), false);
  });
  Then([this] {
    EndRequest();
    Finish("end_turn");
  });
}

// The conversation is on disk; what is left is to say so.
void AcpTurn::Finish(std::string stop_reason) {
  state_ = State::kFinishing;
  stop_reason_ = std::move(stop_reason);
  actions_.Clear();
  Reach(Fault::Point::kBeforeResult);
  Then([this] { Respond(); });
  Then([this] { state_ = State::kDone; });
}

void AcpTurn::Respond() {
  if (std::exchange(responded_, true)) return;
  c_.log.Write({{"event", "turn"},
                {"text", prompt_.text},
                {"uuids", prompt_.uuids()},
                {"model", c_.model},
                {"outcome", error_                        ? "api_error"
                            : stop_reason_ == "cancelled" ? "cancelled"
                                                          : "ok"},
                {"result", error_ ? error_->message : result_}});
  if (error_) {
    client_.Error(prompt_.id, *error_);
  } else {
    const bool has_usage = used_ > 0 && c_.options.acp.usage;
    if (has_usage) Update(UsageUpdate(used_, TotalCost(c_)));
    Json result = {{"stopReason", stop_reason_}};
    if (has_usage) result["usage"] = TurnUsage(usage_);
    result["_meta"] = Json::object();
    client_.Result(prompt_.id, result);
  }
  Reach(Fault::Point::kAfterResult);
}

void AcpTurn::RespondAtOnce() {
  Cancel();
  Respond();
  state_ = State::kDone;
}

void AcpTurn::Cancel() {
  if (state_ == State::kFinishing || done()) return;
  actions_.GoOn();
  actions_.Clear();
  Note();
  const bool used_tool = tool_.has_value();
  if (used_tool) {
    FailTool("Tool execution aborted", /*interrupted=*/true);
  } else {
    NotePartialText();
  }
  c_.transcript.AppendUser(
      {{"role", "user"},
       {"content", Json::array({TextContent(
                       used_tool ? "[Request interrupted by user for tool use]"
                                 : "[Request interrupted by user]")})}});
  Finish("cancelled");
}

void AcpTurn::NotePartialText() {
  if (partial_text_.empty()) return;
  c_.transcript.AppendAssistant(AssistantMessage(
      message_id_, request_model_, Json::array({TextContent(partial_text_)}),
      input_tokens_));
}

void AcpTurn::OnInputEnd() {
  input_ended_ = true;
  if (!tool_ || !tool_->permission_id) return;
  actions_.GoOn();
  FailTool("Nobody is left to give permission.");
}

void AcpTurn::Play(ScriptStep step) {
  struct Player {
    AcpTurn& turn;

    void Request() {
      turn.Then([t = &turn] { t->BeginRequest(); });
    }
    void operator()(Think& think) {
      Request();
      turn.Then([t = &turn, text = think.text] { t->StreamText(text, true); });
    }
    void operator()(Say& say) {
      Request();
      turn.Then([t = &turn, text = say.text] { t->StreamText(text, false); });
    }
    void operator()(FillUp& fill) { turn.fill_up_ = fill.bytes; }
    void operator()(StreamDeltas& deltas) {
      Request();
      turn.Then([t = &turn, deltas] { t->StreamQuickly(deltas); });
    }
    void operator()(UseTool& tool) {
      Request();
      Json input = ParseJson(tool.input);
      if (tool.name == "TodoWrite") {
        return turn.Then([t = &turn, input] { t->ShowPlan(input); });
      }
      turn.Then([t = &turn, name = tool.name, input] {
        t->CallTool(name, input, [t] { t->DecidePermission(); });
      });
    }
    void operator()(RunCommand& run) {
      Request();
      turn.Then([t = &turn, run] {
        Json input = {{"command", "sleep " + run.seconds},
                      {"description", "Wait"}};
        if (run.in_background) input["run_in_background"] = true;
        t->CallTool("Bash", input, [t, run] {
          t->StartCommand(run.seconds, run.in_background);
        });
      });
    }
    void operator()(ApiFailure& failure) {
      Request();
      turn.Then([t = &turn, failure] { t->FailRequest(failure.status); });
    }
    void operator()(WriteLine& write) {
      turn.Then([t = &turn, write] { t->client_.WriteLine(write.line); });
    }
    void operator()(WriteNovelty&) {
      turn.Then([t = &turn] {
        t->Update({{"sessionUpdate", "rehearsal_novelty"}, {"answer", 42}});
        t->client_.Notify("rehearsal/novelty", {{"answer", 42}});
      });
    }
    void operator()(ArmFault& arm) {
      turn.Then([t = &turn, arm] { t->c_.faults.Arm(arm.fault); });
    }
  };
  std::visit(Player{*this}, step);
}

void AcpTurn::BeginRequest() {
  if (in_request_) return;
  in_request_ = true;
  ++c_.requests;
  request_model_ = c_.model;
  message_id_ = "msg_" + NewUuid();
  input_tokens_ = 12200 + static_cast<int64_t>(c_.transcript.bytes()) / 4;
  output_bytes_ = 0;
  if (c_.models.Find(request_model_) == nullptr) {
    return Fail(
        InternalError("The model " + request_model_ + " does not exist"));
  }
  std::string blind = BlindModelError(c_, request_model_);
  if (!blind.empty()) Fail(InternalError(blind));
}

void AcpTurn::EndRequest() {
  const Model* model = c_.models.Find(request_model_);
  int64_t output = static_cast<int64_t>(output_bytes_) / 4 + 8;
  double cost = model->dollars_per_input_token * input_tokens_ +
                model->dollars_per_output_token * output;
  for (TokenUsage* usage : {&usage_, &c_.usage[request_model_]}) {
    usage->input += input_tokens_;
    usage->output += output;
    usage->cost += cost;
  }
  used_ = input_tokens_ + output;
  in_request_ = false;
}

void AcpTurn::StreamText(std::string text, bool thinking) {
  partial_text_.clear();
  // A few chunks for a short text, blocks of 16 KiB for a long one.
  size_t size = std::clamp<size_t>((text.size() + 2) / 3, 8, 1 << 14);
  for (std::string_view piece : SplitText(text, size)) {
    Then([this, piece = std::string(piece), thinking] {
      Update(Chunk(thinking ? "agent_thought_chunk" : "agent_message_chunk",
                   message_id_, TextContent(piece)));
      if (!thinking) partial_text_ += piece;
      ReachMidTurn();
    });
  }
  Then([this, text, thinking] {
    if (thinking) {
      return EndBlock({{"type", "thinking"},
                       {"thinking", text},
                       {"signature", "rehearsal"}});
    }
    result_ = text;
    EndBlock(TextContent(text));
  });
}

void AcpTurn::EndBlock(const Json& content) {
  c_.transcript.AppendAssistant(AssistantMessage(
      message_id_, request_model_, Json::array({content}), input_tokens_));
  output_bytes_ += Dump(content).size();
  partial_text_.clear();
  ReachMidTurn();
}

void AcpTurn::ReachMidTurn() {
  if (std::exchange(reached_mid_turn_, true)) return;
  Reach(Fault::Point::kMidTurn);
}

void AcpTurn::StreamQuickly(const StreamDeltas& deltas) {
  Json frame = RpcPeer::UpdateFrame(
      c_.session_id(), Chunk("agent_message_chunk", message_id_,
                             TextContent(DeltaStream::Text(0, deltas.bytes))));
  auto stream =
      std::make_shared<DeltaStream>(Dump(frame), deltas.count, deltas.bytes);
  Then([this, stream, deltas] { ContinueDeltas(stream, deltas); });
  Then([this, deltas] {
    int64_t bytes = deltas.count * deltas.bytes;
    std::string text;
    if (bytes > kMaxWholeText) {
      text = absl::StrCat("[", deltas.count, " deltas, ", bytes, " bytes]");
    } else {
      for (int64_t i = 0; i < deltas.count; ++i) {
        text += DeltaStream::Text(i, deltas.bytes);
      }
    }
    EndBlock(TextContent(text));
  });
}

void AcpTurn::ContinueDeltas(std::shared_ptr<DeltaStream> stream,
                             const StreamDeltas& deltas) {
  if (stream->done()) return;
  bool paced = deltas.pause.count() > 0;
  if (c_.options.write_in_blocks && !paced) {
    stream->WriteBlock(c_.loop.output());
  } else {
    stream->WriteLine(c_.loop.output());
  }
  // What a cancellation leaves of the text, while it is of a size that a
  // message would have.
  if (stream->written() * deltas.bytes <= kMaxWholeText) {
    while (static_cast<int64_t>(partial_text_.size()) <
           stream->written() * deltas.bytes) {
      partial_text_ += DeltaStream::Text(
          static_cast<int64_t>(partial_text_.size()) / deltas.bytes,
          deltas.bytes);
    }
  }
  ReachMidTurn();
  if (paced && !actions_.waiting()) actions_.WaitFor(deltas.pause);
  Then([this, stream, deltas] { ContinueDeltas(stream, deltas); });
}

void AcpTurn::FailRequest(int status) {
  const int retries = RetriesAfter(status);
  // The protocol does not show them; the real delays are half a second and
  // more.
  if (retries > 0) actions_.WaitFor(Loop::Milliseconds(5 * retries));
  Then([this, status] {
    RpcError error = InternalError(ScriptedError(status));
    error.data = {{"errorName", "APIError"}, {"status", status}};
    if (status == 401) {
      error.code = RpcError::kAuthRequired;
      error.message = "Authentication required";
    }
    Fail(std::move(error));
  });
}

void AcpTurn::Fail(RpcError error) {
  c_.transcript.AppendApiError(
      SyntheticMessage(error.message, "stop_sequence"));
  error_ = std::move(error);
  Finish("");
}

}  // namespace understudy::session
