// What the server and understudy-guard say to each other over the socket pair
// that is the guard's descriptor 3. Packets, so that a message arrives whole.
//
//   guard -> server   GuardReport: kStarted, then kEnded; or why not
//   server -> guard   one byte: kGuardTerminate, kGuardKill
//   end of file       the other end is gone: the server's death is the order
//                     to kill; the guard's exit with 0 says that no descendant
//                     of the agent is left
//
// Both are built from one tree and one is started by the other: no versions.

#ifndef UNDERSTUDY_SESSION_PROCESS_GUARD_PROTOCOL_H_
#define UNDERSTUDY_SESSION_PROCESS_GUARD_PROTOCOL_H_

#include <stdint.h>

namespace understudy::session {

inline constexpr int kGuardSocket = 3;

// SIGTERM to the agent's process group.
inline constexpr char kGuardTerminate = 't';
// SIGKILL to the agent and every descendant.
inline constexpr char kGuardKill = 'k';

struct GuardReport {
  enum Kind : int32_t {
    kStarted,      // value: the agent's pid
    kNotStarted,   // value: errno of what failed; the guard exits
    kNoDirectory,  // the same, of going to the directory
    kEnded,        // value: the agent's status as of waitpid
  };
  Kind kind;
  int32_t value;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PROCESS_GUARD_PROTOCOL_H_
