// ClaudeTurns: which turns a Claude Code process is in, worked out from what it
// says. Pure bookkeeping.
//
// At most three things are under way: a turn of ours, from Send until its
// result; a turn that the agent began by itself (a background task had ended);
// and a command of ours. New versions echo the uuids of our messages on every
// line that counts. Old ones echo nothing: there the order tells, since the
// process does one thing at a time and we hand it one message at a time.
//
// A message that reaches the agent during a turn of its own may be taken into
// that turn: then one result ends both. A result that belongs to neither is
// one that comes late, and ends nothing.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_TURNS_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_TURNS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "session/agent/claude_events.h"

namespace understudy::session {

// A turn of ours.
struct ClaudeTurn {
  std::string id;
  uint64_t queued_before = 0;  // bytes, when its line was queued
  bool acknowledged = false;   // the process has spoken of it
  bool started = false;
  bool over = false;  // the process is done with it; its result is to come
};

class ClaudeTurns {
 public:
  enum class Begun { kNothing, kOwn, kUnsolicited };
  struct Ended {
    bool own = false;
    bool unsolicited = false;
    bool command = false;
    bool any() const { return own || unsolicited || command; }
  };

  void Send(std::string_view id, uint64_t queued_before);
  void SendCommand(std::string_view uuid) { command_ = uuid; }

  // `task_ended`: since the turn before, so that without an echo this one may
  // be the agent's own.
  Begun OnInit(const ClaudeInit& init, bool task_ended);
  // `command_lifecycle`.
  struct Step {
    Begun begun = Begun::kNothing;
    Ended ended;  // taken from the queue before it began: without a result
  };
  Step OnLifecycle(std::string_view uuid, std::string_view state);
  Ended OnResult(const ClaudeResult& result);
  // Our turn is over and no result will come.
  Ended GiveUp();

  const std::optional<ClaudeTurn>& own() const { return own_; }
  bool unsolicited() const { return unsolicited_; }
  bool has_command() const { return !command_.empty(); }
  // Something that an interrupt would reach runs now.
  bool running() const { return unsolicited_ || (own_ && own_->started); }

 private:
  Ended Match(const ClaudeResult& result) const;
  void Close(const Ended& ended);

  std::optional<ClaudeTurn> own_;
  bool unsolicited_ = false;
  std::string command_;
  std::string last_;  // our turn before
  bool echoes_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_TURNS_H_
