// Repeats a unary call that is safe to repeat.
//
// Every call of the API is: it reads, or it carries a `request_id` under which
// the server does it once. What is repeated is UNAVAILABLE, when the server was
// not reached, is stopping, or waits for something, and CANCELLED, when it
// stopped under the call; not when it is the answer
// itself (an agent that died, keeps dying, did not start or did not answer),
// which the same `request_id` would only get again.
//
// Threads: any.

#ifndef UNDERSTUDY_CLIENT_CPP_RETRY_H_
#define UNDERSTUDY_CLIENT_CPP_RETRY_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/backoff.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace understudy::client {

struct RetryOptions {
  // Tries in all, the first one included.
  int max_attempts = 8;
  BackoffOptions backoff = {};
  // How to wait between them; null: absl::SleepFor.
  SleepFunction sleep = {};
};

bool IsWorthRepeating(const absl::Status& status);

// Calls `attempt`, each time with a fresh context that has the deadline, until
// it succeeds, fails for good, or the next wait would pass `deadline`. Returns
// the last status.
absl::Status CallWithRetries(
    const RetryOptions& options, absl::Time deadline,
    absl::FunctionRef<grpc::Status(grpc::ClientContext&)> attempt);

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_RETRY_H_
