#include "client/cpp/backoff.h"

#include <algorithm>

namespace understudy::client {

Backoff::Backoff(const BackoffOptions& options)
    : options_(options), bound_(options.initial) {}

absl::Duration Backoff::Next(std::optional<absl::Duration> retry_after) {
  const absl::Duration wait = bound_ * absl::Uniform(random_, 0.5, 1.0);
  bound_ = std::min(bound_ * 2, options_.max);
  return std::max(wait, retry_after.value_or(absl::ZeroDuration()));
}

}  // namespace understudy::client
