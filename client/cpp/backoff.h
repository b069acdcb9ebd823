// Backoff: how long to wait before trying again. Doubles up to a bound, with
// jitter so that clients that were cut off together do not come back together.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_CLIENT_CPP_BACKOFF_H_
#define UNDERSTUDY_CLIENT_CPP_BACKOFF_H_

#include <functional>
#include <optional>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace understudy::client {

struct BackoffOptions {
  // What the first wait is at most; each one after may be twice as long.
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration max = absl::Seconds(5);
};

// Waits for a duration. Replaced where time is not to pass.
using SleepFunction = std::function<void(absl::Duration)>;

class Backoff {
 public:
  explicit Backoff(const BackoffOptions& options);

  // The next wait: a random part, one half to all, of the bound that doubles;
  // not less than `retry_after`, what the server asked for.
  absl::Duration Next(std::optional<absl::Duration> retry_after = {});

  // Starts over: the last try succeeded.
  void Reset() { bound_ = options_.initial; }

 private:
  const BackoffOptions options_;
  absl::Duration bound_;
  absl::BitGen random_;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_BACKOFF_H_
