#include "session/agent/claude_turns.h"

#include <algorithm>

#include "session/base/check.h"

namespace understudy::session {
namespace {

bool Names(const std::vector<std::string>& messages, std::string_view id) {
  return !id.empty() &&
         std::find(messages.begin(), messages.end(), id) != messages.end();
}

}  // namespace

void ClaudeTurns::Send(std::string_view id, uint64_t queued_before) {
  UNDERSTUDY_CHECK(!own_, "one message is outstanding at a time");
  own_.emplace();
  own_->id = id;
  own_->queued_before = queued_before;
}

ClaudeTurns::Begun ClaudeTurns::OnInit(const ClaudeInit& init,
                                       bool task_ended) {
  echoes_ = echoes_ || init.echoes;
  if (Names(init.messages, command_) || (!echoes_ && has_command())) {
    return Begun::kNothing;
  }
  const bool ours = own_ && (echoes_ ? Names(init.messages, own_->id) : true);
  if (ours) {
    if (echoes_ || !task_ended) own_->acknowledged = true;
    if (own_->started) return Begun::kNothing;
    own_->started = true;
    return Begun::kOwn;
  }
  if (unsolicited_) return Begun::kNothing;
  unsolicited_ = true;
  return Begun::kUnsolicited;
}

ClaudeTurns::Step ClaudeTurns::OnLifecycle(std::string_view uuid,
                                           std::string_view state) {
  echoes_ = true;
  Step step;
  if (has_command() && uuid == command_ && state == "cancelled") {
    step.ended.command = true;
  }
  if (own_ && uuid == own_->id) {
    own_->acknowledged = true;
    if (state == "started" && !own_->started) {
      own_->started = true;
      step.begun = Begun::kOwn;
    } else if (state == "cancelled" && !own_->started) {
      step.ended.own = true;
    } else if (state == "completed" || state == "cancelled") {
      own_->over = true;
    }
  }
  Close(step.ended);
  return step;
}

ClaudeTurns::Ended ClaudeTurns::Match(const ClaudeResult& result) const {
  Ended ended;
  if (!result.messages.empty()) {
    ended.command = Names(result.messages, command_);
    ended.own = own_ && Names(result.messages, own_->id);
    ended.unsolicited =
        unsolicited_ && !ended.command && !Names(result.messages, last_);
    return ended;
  }
  if (result.foreign || unsolicited_) {
    ended.unsolicited = unsolicited_;
    // Taken into the other turn, or (old versions) begun within it.
    ended.own =
        own_ && own_->started && (echoes_ ? own_->over : !result.foreign);
    return ended;
  }
  ended.command = has_command() && !echoes_;
  ended.own = own_ && !ended.command && (own_->started || !echoes_);
  return ended;
}

ClaudeTurns::Ended ClaudeTurns::OnResult(const ClaudeResult& result) {
  const Ended ended = Match(result);
  Close(ended);
  return ended;
}

ClaudeTurns::Ended ClaudeTurns::GiveUp() {
  const Ended ended{.own = own_.has_value()};
  Close(ended);
  return ended;
}

void ClaudeTurns::Close(const Ended& ended) {
  if (ended.own) {
    last_ = own_->id;
    own_.reset();
  }
  if (ended.unsolicited) unsolicited_ = false;
  if (ended.command) command_.clear();
}

}  // namespace understudy::session
