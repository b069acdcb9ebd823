// What goes wrong, and where: the --fault option of the rehearsal agent.
//
//   KIND@POINT[:N][=ARG]
//
// POINT is a place in the agent's life, N the visit that triggers the fault
// (1 is the first and the default, * every one). Faults of one point happen in
// the order they were given. `kFaultHelp` lists kinds and points.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_MISBEHAVIOUR_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_MISBEHAVIOUR_H_

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "session/agent/rehearsal/agent_log.h"
#include "session/agent/rehearsal/loop.h"

namespace understudy::session {

extern const char kFaultHelp[];

enum class Protocol { kStreamJson, kAcp };

struct Fault {
  enum class Kind {
    kDelay,
    kCrash,
    kFlood,
    kGarbage,
    kInvalidUtf8,
    kNul,
    kDeep,
    kHalfLine,
    kRefuse,
    kWedge,
    kIgnoreSigterm,
    kCloseStdout,
    kCloseStdin,
    kStopReading,
    kHog,
    kOrphan,
    kStderr,
    kLieModel,
  };
  enum class Point {
    kSpawn,
    kInitialize,
    kUser,
    kTurnStart,
    kMidTurn,
    kBeforeResult,
    kAfterResult,
    kSetModel,
    kSetMode,
    kClear,
    kInterrupt,
    kPermission,
    kExit,
    kNew,
    kLoad,
    kClose,
  };

  Kind kind;
  Point point;
  int visit = 1;  // 0: every one
  std::string argument;
  std::string text;  // as it was given
};

// InvalidArgument says which part is wrong and what it may be.
absl::StatusOr<Fault> ParseFault(std::string_view text, Protocol protocol);

class Misbehaviour {
 public:
  // What the protocol itself has to do about the faults of a point.
  struct Effects {
    std::chrono::milliseconds delay{0};
    std::optional<std::string> refuse;     // the error to answer
    std::optional<std::string> lie_model;  // the model to report
  };

  // Faults of the whole process; or, with those `of_process`, of one
  // conversation: a visit to a point is one to both.
  Misbehaviour(Loop& loop, AgentLog& log, Protocol protocol,
               std::vector<Fault> faults, Misbehaviour* of_process = nullptr);

  void Arm(Fault fault);
  // Counts a visit to `point` and makes happen what is due. Does not return
  // from a crash, a wedge or an endless flood.
  Effects Reach(Fault::Point point);

 private:
  struct Armed {
    Fault fault;
    int visits = 0;
  };

  void Perform(const Fault& fault, Effects& effects);
  void WriteBroken(std::string_view acp, std::string_view stream_json);
  void Flood(const std::string& bytes);
  void WriteDeep(const std::string& levels);
  void TakeMemory(const std::string& mib);
  void LeaveOrphan(const std::string& seconds);

  Loop& loop_;
  AgentLog& log_;
  const Protocol protocol_;
  Misbehaviour* const of_process_;
  std::vector<Armed> armed_;
  std::vector<std::string> taken_;  // memory
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_MISBEHAVIOUR_H_
