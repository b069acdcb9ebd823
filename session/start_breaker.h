// What keeps an agent that cannot live from being started again and again: a
// back-off, then a circuit that opens, which is told, and then one attempt at a
// time.
//
// SessionBreaker is for one session and counts the deaths of its agents;
// ProfileBreaker is for all of a profile and counts its starts. Both are pure:
// they know of time what they are told.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SESSION_START_BREAKER_H_
#define UNDERSTUDY_SESSION_START_BREAKER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace understudy::session {

// Whether an agent lost for this reason, or not started, speaks against its
// profile. What was asked of it (a model, a conversation, a directory that does
// not exist) does not, nor does a start that found no room.
bool CountsAsDeath(const absl::Status& why);

class SessionBreaker {
 public:
  // Before the second start after a death, and doubled for each that follows;
  // the first restart is immediate. Each up to kJitter shorter or longer, so
  // that what died together does not come back together.
  static constexpr absl::Duration kFirstWait = absl::Milliseconds(250);
  static constexpr absl::Duration kLongestWait = absl::Seconds(30);
  static constexpr double kJitter = 0.2;
  // So many deaths within that time, without a turn that was brought to its
  // end, open the circuit for so long.
  static constexpr size_t kDeaths = 5;
  static constexpr absl::Duration kWithin = absl::Seconds(60);
  static constexpr absl::Duration kOpenFor = absl::Seconds(30);
  // Without a death for so long, all is as if there had been none.
  static constexpr absl::Duration kForgottenAfter = absl::Minutes(2);

  // An agent died by itself, or did not start.
  void Died(absl::Time now);
  // An agent has brought a turn to its end: it works.
  void Served() { *this = SessionBreaker(); }

  // How long the circuit stays open: no start before. Zero: it is closed, or
  // one attempt may show whether it can be; its death opens it again.
  absl::Duration OpenFor(absl::Time now) const;
  // How long the next start has to wait, for whatever reason.
  absl::Duration Wait(absl::Time now) const;
  // There is nothing to remember.
  bool idle(absl::Time now) const;

 private:
  std::deque<absl::Time> deaths_;  // within kWithin of the last
  int in_a_row_ = 0;
  bool tried_ = false;  // the circuit has opened, and no turn has ended since
  absl::Time open_until_ = absl::InfinitePast();
  absl::Time next_ = absl::InfinitePast();
};

class ProfileBreaker {
 public:
  // At least so many starts within that time, of which at least half failed,
  // open the circuit for so long.
  static constexpr size_t kStarts = 10;
  static constexpr absl::Duration kWithin = absl::Minutes(1);
  static constexpr absl::Duration kOpenFor = absl::Seconds(30);
  // When to ask again while the one attempt is under way.
  static constexpr absl::Duration kAskAgain = absl::Seconds(1);

  enum class Outcome {
    kStarted,
    kFailed,
    kUntold,  // given up, or refused for what was asked: tells nothing
  };
  // Names a start. What began before the circuit opened says no more.
  using Attempt = uint64_t;

  // Zero: an agent may be started.
  absl::Duration Wait(absl::Time now) const;
  Attempt Begin();
  void End(Attempt attempt, Outcome outcome, absl::Time now);

 private:
  void Open(absl::Time now);

  std::deque<std::pair<absl::Time, bool>> ended_;  // when; whether it failed
  bool tries_ = false;    // the circuit has been open: one attempt at a time
  bool probing_ = false;  // that attempt is under way
  absl::Time open_until_ = absl::InfinitePast();
  Attempt period_ = 1;  // grows when the circuit opens or closes
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_START_BREAKER_H_
