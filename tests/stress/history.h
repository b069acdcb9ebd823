// What must hold of a session after any number of deaths: what its clients were
// told, what its log says and what its agents themselves wrote down, together.
//
//   a  sequences are dense from 1
//   b  what a client was told is in the log, and a reader who is cut off and
//      comes back sees the log, all of it, once and in order
//   c  what the log has from an agent is what that agent wrote, in order
//   d  the epoch never goes back
//   e  an agent gets each message at most once; told NO means that none got
//      it, told YES that one did
//   f  a turn runs on the model that the log says
//   and the rules of tests/support/history_checker.h: one end for each turn and
//   for each process, and so on
//
// Knows no gRPC.

#ifndef UNDERSTUDY_TESTS_STRESS_HISTORY_H_
#define UNDERSTUDY_TESTS_STRESS_HISTORY_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::stress {

// A call and its answer. A call that was repeated because the server was gone
// is one call.
struct Call {
  enum class Kind { kSend, kSwitch, kClear, kResume, kInterrupt };
  Kind kind = Kind::kSend;
  std::string request_id;
  std::string text;  // of a message
  absl::Time began;
  absl::Duration took;
  absl::Status status;
  // One of these, if it is OK.
  v1::SendMessageResponse sent;
  v1::TransitionResponse moved;
  v1::InterruptResponse interrupted;
};

// A line of the agents' log (understudy-rehearsal --log, --log-lines).
struct AgentEntry {
  std::string event;
  int pid = 0;
  std::vector<std::string> turns;  // user, turn: the uuids
  std::string text;                // user
  std::string model;               // turn
  std::string outcome;             // turn
  std::string result;              // turn
  std::string line;                // line
  std::string fault;               // fault
};

// The lines of a log. What an agent was killed in the middle of writing is left
// out.
std::vector<AgentEntry> ReadAgentLog(std::string_view text);

struct SessionHistory {
  std::vector<v1::Event> stored;  // from 1, with `raw`
  std::vector<v1::Event> seen;    // by the reader, durable ones
  std::vector<Call> calls;
  std::vector<AgentEntry> agents;
};

// One line for each rule that is broken. Nothing runs any more.
std::vector<std::string> CheckSession(const SessionHistory& history);

}  // namespace understudy::stress

#endif  // UNDERSTUDY_TESTS_STRESS_HISTORY_H_
