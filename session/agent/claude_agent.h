// ClaudeAgent: Claude Code, spoken to in stream-json.
//
// The handshake is `initialize` (an answer means that it reads and lives), what
// was granted to processes before, and `get_settings`, which names the model in
// effect without asking anybody for it. A turn is a user line with the turn's
// own uuid. The model is changed by `set_model`, never by a command in a
// message; a new conversation is begun by the one command that there is for it,
// /clear. Another conversation cannot be loaded into a running process.
//
// An interrupt that the process reads before it has begun a turn is lost, so
// one that comes early waits for the turn to begin.
//
// Defined in claude.cc (start and changes) and claude_lines.cc (turns, and what
// each line does).
//
// Threads: everything on the loop.

#ifndef UNDERSTUDY_SESSION_AGENT_CLAUDE_AGENT_H_
#define UNDERSTUDY_SESSION_AGENT_CLAUDE_AGENT_H_

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/agent/claude_permissions.h"
#include "session/agent/claude_turns.h"
#include "session/agent/line_agent.h"
#include "session/base/json.h"

namespace understudy::session {

class ClaudeAgent final : public LineAgent {
 public:
  ClaudeAgent(EventLoop& loop, const Profile& profile,
              Agent::Observer* observer);

  // Launches the process. Once, before anything else.
  absl::Status Open(Launcher& launcher, const Profile& profile,
                    const Opening& opening);

  void Send(const TurnInput& input) override;
  v1::Delivered delivered() const override;
  void Interrupt() override;
  std::vector<std::string> AnswerPermission(
      std::string_view permission_id, const PermissionAnswer& answer) override;
  bool has_background_tasks() const override { return !tasks_.empty(); }
  bool Holds(std::string_view) const override { return false; }
  bool Keeps(std::string_view) const override { return false; }
  bool Forget(std::string_view) override { return true; }
  // They are read from its files (claude_transcripts.h).
  void ListConversations(Listed listed) override { std::move(listed)({}); }

 private:
  bool HandleRaw(std::string_view line) override;
  void HandleLine(JsonValue line, std::string_view raw) override;
  void Handshake() override;
  void Make(const Change& change) override;
  void MakeMode(const std::string& mode) override;
  absl::Status ExplainStart(const ExitStatus& exit) const override;

  void HandleSystem(JsonValue line, std::string_view raw);
  void HandleInit(JsonValue line, std::string_view raw);
  void HandleLifecycle(JsonValue line, std::string_view raw);
  void HandleResult(JsonValue line, std::string_view raw);
  void HandleRequest(JsonValue line, std::string_view raw);
  void Withdraw(const std::string& permission_id);
  void HandleDelta(JsonValue delta, std::string_view raw);
  void Emit(std::vector<v1::Event> events, std::string_view raw);
  void EmitEvents(JsonValue line, std::string_view raw);

  void OnInitialized(JsonValue answer);
  void OnModelSet(JsonValue answer);
  void AskForCost();
  void AskForModel();
  bool Lists(std::string_view model) const;
  void BeginClear();
  void EndClear(const TurnEnd& end);
  void Track(std::string_view conversation, std::string_view model);
  // `asked`: it has done what it was asked for.
  void NoteMode(std::string_view mode, bool asked = false);
  void NoteTasks(JsonValue line);

  void SendInterrupt();
  // Ends the turns in `ended` with `end`, ours last: its end is what the owner
  // waits for. False: the agent is gone.
  bool EndTurns(const ClaudeTurns::Ended& ended, TurnEnd end,
                std::string_view raw);

  const absl::Duration interrupt_timeout_;

  ClaudeTurns turns_;
  std::unique_ptr<EventLoop::Handle> result_timer_;

  // Runs from Interrupt to the end of what it is aimed at.
  std::unique_ptr<EventLoop::Handle> interrupt_timer_;
  bool interrupts_own_ = false;

  ClaudePermissions permissions_;

  std::string resumed_;        // the conversation it was started with; "": none
  std::string start_failure_;  // what it said before it left
  std::string grants_;         // the settings it is to be told; "": none
  std::unique_ptr<EventLoop::Handle> cost_timer_;

  std::string wanted_model_;  // as it was last asked for
  bool setting_model_ = false;
  bool clear_follows_ = false;
  std::string cleared_;  // the conversation before /clear

  std::string permission_mode_;
  std::string commands_;

  std::set<std::string> tasks_;  // in the background, by their ids
  bool lists_tasks_ = false;     // it says when that changes
  bool task_ended_ = false;      // since the last turn began
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_CLAUDE_AGENT_H_
