// CostLedger: from an agent's running total of cost to the cost of a turn.
//
// The total belongs to a process and, with some, to its conversation. Where it
// starts, the agent tells (Claude Code, with its conversation resumed: 2.1.329
// at what the process before wrote down when it ended gently, at nothing after
// a SIGKILL; 2.1.197 always at nothing. At /clear 2.1.329 starts again, 2.1.197
// goes on.)
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_COST_LEDGER_H_
#define UNDERSTUDY_SESSION_COST_LEDGER_H_

#include <optional>

namespace understudy::session {

class CostLedger {
 public:
  // Another process, or another conversation, whose total starts at `total`.
  // Nothing if that is not known: what is spent until it is told next counts as
  // nothing, rather than all of what was spent before as new.
  void Reset(std::optional<double> total) { total_ = total; }

  // What has been spent since the last call. A total that falls has started
  // again.
  double Spent(double total) {
    double spent = 0;
    if (total_.has_value()) spent = total >= *total_ ? total - *total_ : total;
    total_ = total;
    return spent;
  }

 private:
  std::optional<double> total_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_COST_LEDGER_H_
