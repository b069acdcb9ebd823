// What the model says in a turn: requests, their blocks, and their failure.

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/api_error.h"
#include "session/agent/rehearsal/turn.h"

namespace understudy::session {
namespace {

constexpr int64_t kMaxWholeText = 1 << 20;

const char* ErrorType(int status) {
  switch (status) {
    case 400:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 529:
      return "overloaded_error";
    default:
      return "api_error";
  }
}

const char* ErrorName(int status) {
  switch (status) {
    case 401:
    case 403:
      return "authentication_failed";
    case 404:
      return "model_not_found";
    case 429:
      return "rate_limit";
    case 529:
      return "overloaded";
    default:
      return status >= 500 ? "server_error" : "invalid_request";
  }
}

std::string NoSuchModel(const std::string& model) {
  return absl::StrCat(
      "There's an issue with the selected model (", model,
      "). It may not exist or you may not have access to it. Run --model to "
      "pick a different model.");
}

}  // namespace

void Turn::Play(ScriptStep step) {
  struct Player {
    Turn& turn;

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
      turn.Then([t = &turn, tool] {
        t->CallTool(tool.name, ParseJson(tool.input),
                    [t] { t->DecidePermission(); });
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
      turn.Then([t = &turn, write] { t->c_.WriteLine(write.line); });
    }
    void operator()(WriteNovelty&) {
      turn.Then([t = &turn] {
        t->c_.Write({{"type", "rehearsal_novelty"}, {"answer", 42}});
      });
    }
    void operator()(ArmFault& arm) {
      turn.Then([t = &turn, arm] { t->c_.faults.Arm(arm.fault); });
    }
  };
  std::visit(Player{*this}, step);
}

void Turn::BeginRequest() {
  if (in_request_) return;
  in_request_ = true;
  ++num_requests_;
  ++c_.requests;
  request_model_ = c_.model;
  message_id_ = absl::StrCat("msg_rehearsal", c_.requests);
  input_tokens_ = 12200 + static_cast<int64_t>(c_.transcript.bytes()) / 4;
  block_ = 0;
  output_bytes_ = 0;
  if (c_.options.include_partial_messages && !c_.options.legacy) {
    c_.Write(SystemFrame(c_, "status", {{"status", "requesting"}}));
  }
  if (c_.models.Find(request_model_) == nullptr) {
    fprintf(stderr,
            "[claude-code:unrecognized_model] {\"model\":\"%s\","
            "\"query_source\":\"sdk\"}\n",
            request_model_.c_str());
    return FailFinally(404, NoSuchModel(request_model_));
  }
  std::string blind = BlindModelError(c_, request_model_);
  if (!blind.empty()) return FailFinally(400, std::move(blind));
  Event({{"type", "message_start"},
         {"message", AssistantMessage(message_id_, request_model_,
                                      Json::array(), input_tokens_)}});
}

void Turn::EndRequest(std::string_view stop_reason) {
  const Model* model = c_.models.Find(request_model_);
  int64_t output = static_cast<int64_t>(output_bytes_) / 4 + 8;
  double cost = model->dollars_per_input_token * input_tokens_ +
                model->dollars_per_output_token * output;
  TokenUsage& used = c_.usage[request_model_];
  for (TokenUsage* usage : {&result_.usage, &used}) {
    usage->input += input_tokens_;
    usage->output += output;
    usage->cost += cost;
  }
  Event({{"type", "message_delta"},
         {"delta", {{"stop_reason", stop_reason}, {"stop_sequence", nullptr}}},
         {"usage", {{"output_tokens", output}}}});
  Event({{"type", "message_stop"}});
  in_request_ = false;
}

void Turn::Event(const Json& event) {
  if (!c_.options.include_partial_messages) return;
  c_.Write(StreamEvent(c_, event, message_id_));
}

void Turn::StreamText(std::string text, bool thinking) {
  Json start = thinking ? Json{{"type", "thinking"}, {"thinking", ""}}
                        : Json{{"type", "text"}, {"text", ""}};
  Event({{"type", "content_block_start"},
         {"index", block_},
         {"content_block", start}});
  partial_text_.clear();
  // A few deltas for a short text, blocks of 16 KiB for a long one.
  size_t size = std::clamp<size_t>((text.size() + 2) / 3, 8, 1 << 14);
  for (std::string_view piece : SplitText(text, size)) {
    Then([this, piece = std::string(piece), thinking] {
      StreamDelta(piece, thinking);
    });
  }
  Then([this, text, thinking] {
    if (thinking) {
      partial_text_.clear();
      EndBlock({{"type", "thinking"},
                {"thinking", text},
                {"signature", "rehearsal"}});
    } else {
      result_.text = text;
      EndBlock({{"type", "text"}, {"text", text}});
    }
  });
}

void Turn::StreamDelta(std::string piece, bool thinking) {
  Json delta = thinking ? Json{{"type", "thinking_delta"}, {"thinking", piece}}
                        : Json{{"type", "text_delta"}, {"text", piece}};
  Event({{"type", "content_block_delta"}, {"index", block_}, {"delta", delta}});
  if (!thinking) partial_text_ += piece;
  ReachMidTurn();
}

// The assistant line of a block comes before its content_block_stop.
void Turn::EndBlock(const Json& content) {
  Replay();
  Json message = AssistantMessage(message_id_, request_model_,
                                  Json::array({content}), input_tokens_);
  Json request_id = {{"request_id", absl::StrCat("req_", c_.requests)}};
  c_.Write(AssistantFrame(c_, message, request_id, uuids_));
  c_.transcript.AppendAssistant(message);
  output_bytes_ += Dump(content).size();
  Event({{"type", "content_block_stop"}, {"index", block_}});
  ++block_;
  partial_text_.clear();
  ReachMidTurn();
}

void Turn::ReachMidTurn() {
  if (std::exchange(reached_mid_turn_, true)) return;
  Reach(Fault::Point::kMidTurn);
}

void Turn::StreamQuickly(const StreamDeltas& deltas) {
  Event({{"type", "content_block_start"},
         {"index", block_},
         {"content_block", {{"type", "text"}, {"text", ""}}}});
  Json event = {
      {"type", "content_block_delta"},
      {"index", block_},
      {"delta",
       {{"type", "text_delta"}, {"text", DeltaStream::Text(0, deltas.bytes)}}}};
  auto stream = std::make_shared<DeltaStream>(
      Dump(StreamEvent(c_, event, message_id_)), deltas.count, deltas.bytes);
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
    EndBlock({{"type", "text"}, {"text", text}});
  });
}

void Turn::ContinueDeltas(std::shared_ptr<DeltaStream> stream,
                          const StreamDeltas& deltas) {
  if (stream->done()) return;
  bool paced = deltas.pause.count() > 0;
  Output& output = c_.loop.output();
  if (!c_.options.include_partial_messages) {
    stream->Skip(paced ? 1 : deltas.count);
  } else if (c_.options.write_in_blocks && !paced) {
    stream->WriteBlock(output);
  } else {
    stream->WriteLine(output);
  }
  // What an interruption leaves of the text; kept while it is of a size that
  // a message would have.
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

void Turn::FailRequest(int status) {
  const int retries = RetriesAfter(status);
  for (int attempt = 1; attempt <= retries; ++attempt) {
    Then([this, status, attempt, retries] {
      c_.Write(SystemFrame(c_, "api_retry",
                           {{"attempt", attempt},
                            {"max_retries", retries},
                            {"retry_delay_ms", 500 << (attempt - 1)},
                            {"error_status", status},
                            {"error", ErrorName(status)}}));
      // The real delays are half a second and more.
      actions_.WaitFor(Loop::Milliseconds(5));
    });
  }
  Then([this, status] {
    if (status == 404) return FailFinally(404, NoSuchModel(request_model_));
    FailFinally(status, ScriptedError(status));
  });
}

void Turn::FailFinally(int status, std::string text) {
  Json message = SyntheticMessage(text, "stop_sequence");
  Replay();
  c_.Write(AssistantFrame(c_, message,
                          {{"error", ErrorName(status)},
                           {"is_api_error_message", true},
                           {"api_error_status", status},
                           {"api_error_type", ErrorType(status)}},
                          uuids_));
  c_.transcript.AppendApiError(message);
  result_.is_error = true;
  result_.terminal_reason = "api_error";
  result_.stop_reason = "stop_sequence";
  result_.api_error_status = status;
  result_.api_error_type = ErrorType(status);
  result_.text = std::move(text);
  result_.num_turns = 1;
  Finish(std::move(result_));
}

}  // namespace understudy::session
