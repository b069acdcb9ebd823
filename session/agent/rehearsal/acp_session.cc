#include "session/agent/rehearsal/acp_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/acp_frames.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {

AcpSession::AcpSession(AcpProcess& process, Transcript transcript,
                       std::string cwd, std::string model)
    : log_(process.options.log),
      faults_(process.loop, log_, Protocol::kAcp, {}, &process.faults),
      client_(process.client),
      c_{.options = process.options,
         .loop = process.loop,
         .faults = faults_,
         .log = log_,
         .models = process.models,
         .transcript = std::move(transcript),
         .cwd = std::move(cwd),
         .model = std::move(model),
         .permission_mode = process.options.permission_mode} {
  log_.set_session_id(c_.session_id());
  RestoreCost(c_);
}

void AcpSession::Add(Prompt prompt) {
  log_.Write({{"event", "user"},
              {"uuid", prompt.uuid.empty() ? Json(nullptr) : Json(prompt.uuid)},
              {"text", prompt.text}});
  queue_.push_back(std::move(prompt));
}

void AcpSession::Cancel() {
  if (turn_) turn_->Cancel();
  for (const Prompt& prompt : queue_) {
    log_.Write({{"event", "turn"},
                {"text", prompt.text},
                {"uuids", prompt.uuids()},
                {"model", c_.model},
                {"outcome", "cancelled"},
                {"result", ""}});
    client_.Result(prompt.id, {{"stopReason", "cancelled"}});
  }
  queue_.clear();
}

void AcpSession::Close() {
  Cancel();
  if (turn_) turn_->RespondAtOnce();
  End();
}

void AcpSession::End() {
  turn_.reset();
  for (const BackgroundTask& task : c_.tasks) KillTree(task.pid);
  c_.tasks.clear();
  c_.transcript.Close(CostState(c_));
}

void AcpSession::Reload(Transcript transcript) {
  c_.transcript = std::move(transcript);
}

bool AcpSession::Step() {
  if (turn_ && turn_->done()) turn_.reset();
  if (!turn_ && !queue_.empty()) {
    turn_ = std::make_unique<AcpTurn>(c_, client_, std::move(queue_.front()));
    queue_.pop_front();
    if (input_ended_) turn_->OnInputEnd();
  }
  return turn_ && (turn_->Step() || turn_->done());
}

void AcpSession::OnInputEnd() {
  input_ended_ = true;
  if (turn_) turn_->OnInputEnd();
}

void AcpSession::OnChildExit(pid_t pid, int exit_code) {
  if (turn_) turn_->OnChildExit(pid, exit_code);
  auto task = std::find_if(c_.tasks.begin(), c_.tasks.end(),
                           [&](const auto& t) { return t.pid == pid; });
  if (task == c_.tasks.end()) return;
  const std::string text = absl::StrCat(
      "Background command \"", task->description, "\" ",
      exit_code == 0 ? "completed" : "failed", " (exit code ", exit_code, ")");
  c_.tasks.erase(task);
  client_.Update(c_.session_id(), Chunk("agent_message_chunk",
                                        "msg_" + NewUuid(), TextContent(text)));
}

}  // namespace understudy::session
