// A conversation that is open in an agent that speaks the Agent Client
// Protocol (its session): what it is, the turn that runs, the prompts that
// wait for it, the faults that its messages armed.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_SESSION_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_SESSION_H_

#include <sys/types.h>

#include <deque>
#include <memory>
#include <string>

#include "session/agent/rehearsal/acp_turn.h"
#include "session/agent/rehearsal/agent_log.h"
#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/misbehaviour.h"
#include "session/agent/rehearsal/rpc.h"
#include "session/agent/rehearsal/transcript.h"

namespace understudy::session {

// What the sessions of a process share.
struct AcpProcess {
  const Options& options;
  Loop& loop;
  Misbehaviour& faults;
  AgentLog& log;
  RpcPeer& client;
  const Models& models;
  std::string default_model;
};

class AcpSession {
 public:
  AcpSession(AcpProcess& process, Transcript transcript, std::string cwd,
             std::string model);
  AcpSession(const AcpSession&) = delete;
  AcpSession& operator=(const AcpSession&) = delete;

  Conversation& conversation() { return c_; }
  // Answered in its turn.
  void Add(Prompt prompt);
  // Ends the turn and what waits, as cancelled.
  void Cancel();
  // Answers everything, as cancelled, and ends.
  void Close();
  // Ends the tools and leaves the conversation as it is.
  void End();
  // Reads the conversation anew, which others may have continued.
  void Reload(Transcript transcript);

  // Does one piece of work. False: nothing to do until something happens.
  bool Step();
  bool in_turn() const { return turn_ != nullptr; }
  bool idle() const { return !turn_ && queue_.empty() && c_.tasks.empty(); }
  void OnInputEnd();
  void OnChildExit(pid_t pid, int exit_code);

 private:
  AgentLog log_;
  Misbehaviour faults_;
  RpcPeer& client_;
  Conversation c_;
  std::deque<Prompt> queue_;
  std::unique_ptr<AcpTurn> turn_;
  bool input_ended_ = false;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_ACP_SESSION_H_
