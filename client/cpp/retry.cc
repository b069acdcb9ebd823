#include "client/cpp/retry.h"

#include <optional>

#include "absl/time/clock.h"
#include "proto/error.h"
#include "proto/rpc_status.h"

namespace understudy::client {

bool IsWorthRepeating(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  // Nobody here cancels: gRPC's server drops what reaches it as it ends.
  if (absl::IsCancelled(status)) return !reason.has_value();
  if (!absl::IsUnavailable(status)) return false;
  return reason != Reason::kAgentLost && reason != Reason::kAgentStartTimeout &&
         reason != Reason::kAgentUnresponsive && reason != Reason::kCircuitOpen;
}

absl::Status CallWithRetries(
    const RetryOptions& options, absl::Time deadline,
    absl::FunctionRef<grpc::Status(grpc::ClientContext&)> attempt) {
  Backoff backoff(options.backoff);
  for (int tries = 1;; ++tries) {
    grpc::ClientContext context;
    if (deadline != absl::InfiniteFuture()) {
      context.set_deadline(absl::ToChronoTime(deadline));
    }
    const absl::Status status = FromGrpcStatus(attempt(context));
    if (!IsWorthRepeating(status) || tries >= options.max_attempts) {
      return status;
    }
    const absl::Duration wait = backoff.Next(RetryAfterOf(status));
    if (absl::Now() + wait >= deadline) return status;
    options.sleep ? options.sleep(wait) : absl::SleepFor(wait);
  }
}

}  // namespace understudy::client
