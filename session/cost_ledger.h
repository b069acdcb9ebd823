// CostLedger: from an agent's running total of cost to the cost of a turn.
//
// The total counts for one process, and starts again whenever the agent
// pleases (Claude Code 2.1.329: at /clear and at a new process).
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_COST_LEDGER_H_
#define UNDERSTUDY_SESSION_COST_LEDGER_H_

namespace understudy::session {

class CostLedger {
 public:
  // Another process, or another conversation: its total starts at nothing.
  void Reset() { total_ = 0; }

  // What has been spent since the last call.
  double Spent(double total) {
    const double spent = total >= total_ ? total - total_ : total;
    total_ = total;
    return spent;
  }

 private:
  double total_ = 0;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_COST_LEDGER_H_
