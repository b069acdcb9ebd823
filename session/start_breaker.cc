#include "session/start_breaker.h"

#include <algorithm>
#include <optional>

#include "proto/error.h"

namespace understudy::session {
namespace {

// Time left until `at`. A clock that was set back does not lengthen it: no wait
// is longer than the longest there is.
absl::Duration Left(absl::Time at, absl::Time now, absl::Duration longest) {
  const absl::Duration left = at - now;
  return left > longest ? absl::ZeroDuration()
                        : std::max(left, absl::ZeroDuration());
}

// From -1 to 1, by the moment of the death: two never have the same.
double Jitter(absl::Time now) {
  const uint64_t mixed =
      static_cast<uint64_t>(absl::ToUnixNanos(now)) * 0x9E3779B97F4A7C15u;
  return static_cast<double>(mixed >> 11) / static_cast<double>(1ull << 52) - 1;
}

}  // namespace

bool CountsAsDeath(const absl::Status& why) {
  const std::optional<Reason> reason = ReasonOf(why);
  if (!reason.has_value()) return false;
  switch (*reason) {
    case Reason::kAgentStartFailed:
      return !MetadataOf(why).contains("working_directory");
    case Reason::kAgentStartTimeout:
    case Reason::kAgentUnresponsive:
    case Reason::kAgentLost:
    case Reason::kAgentLineTooLong:
    case Reason::kAgentStalled:
    case Reason::kAgentOutOfMemory:
    case Reason::kAgentProtocol:
      return true;
    default:
      return false;
  }
}

// ---- Of a session ----

void SessionBreaker::Died(absl::Time now) {
  if (idle(now)) Served();
  deaths_.push_back(now);
  while (deaths_.front() < now - kWithin) deaths_.pop_front();
  ++in_a_row_;
  if (tried_ || deaths_.size() >= kDeaths) {
    tried_ = true;
    open_until_ = now + kOpenFor;
    return;
  }
  if (in_a_row_ < 2) return;
  absl::Duration wait = kFirstWait;
  for (int i = 2; i < in_a_row_ && wait < kLongestWait; ++i) wait *= 2;
  next_ = now + std::min(wait, kLongestWait) * (1 + kJitter * Jitter(now));
}

absl::Duration SessionBreaker::OpenFor(absl::Time now) const {
  return Left(open_until_, now, kOpenFor);
}

absl::Duration SessionBreaker::Wait(absl::Time now) const {
  return std::max(OpenFor(now), Left(next_, now, kLongestWait * (1 + kJitter)));
}

bool SessionBreaker::idle(absl::Time now) const {
  if (deaths_.empty()) return true;
  const absl::Duration since = now - deaths_.back();
  return since > kForgottenAfter || since < -kForgottenAfter;
}

// ---- Of a profile ----

absl::Duration ProfileBreaker::Wait(absl::Time now) const {
  const absl::Duration open = Left(open_until_, now, kOpenFor);
  return open == absl::ZeroDuration() && probing_ ? kAskAgain : open;
}

ProfileBreaker::Attempt ProfileBreaker::Begin() {
  probing_ = tries_;
  return period_;
}

void ProfileBreaker::End(Attempt attempt, Outcome outcome, absl::Time now) {
  if (attempt != period_) return;
  if (tries_) {
    probing_ = false;
    if (outcome == Outcome::kFailed) Open(now);
    if (outcome == Outcome::kStarted) {
      tries_ = false;
      ++period_;
    }
    return;
  }
  if (outcome == Outcome::kUntold) return;
  ended_.emplace_back(now, outcome == Outcome::kFailed);
  while (ended_.front().first < now - kWithin) ended_.pop_front();
  const auto failed = static_cast<size_t>(
      std::count_if(ended_.begin(), ended_.end(),
                    [](const auto& one) { return one.second; }));
  if (ended_.size() >= kStarts && 2 * failed >= ended_.size()) Open(now);
}

void ProfileBreaker::Open(absl::Time now) {
  ended_.clear();
  tries_ = true;
  open_until_ = now + kOpenFor;
  ++period_;
}

}  // namespace understudy::session
