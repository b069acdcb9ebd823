// The messages of an Attach stream other than batches, encoded; and what the
// end of a feed is called there.
//
// Pure functions; any thread.

#ifndef UNDERSTUDY_SERVICE_ATTACH_MESSAGES_H_
#define UNDERSTUDY_SERVICE_ATTACH_MESSAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

grpc::ByteBuffer SubscribedMessage(uint64_t subscription_id,
                                   uint64_t oldest_sequence,
                                   uint64_t newest_sequence);

grpc::ByteBuffer ProgressMessage(uint64_t subscription_id, uint64_t sequence);

grpc::ByteBuffer ClosedMessage(uint64_t subscription_id,
                               v1::ClosedReason reason,
                               uint64_t oldest_sequence,
                               const std::string& message);

// A command that failed, or was none.
grpc::ByteBuffer FailedMessage(const std::string& request_id,
                               const absl::Status& status);

// What a subscription that ends with `status` is closed with; `opened` if it
// had begun.
v1::ClosedReason ToClosedReason(const absl::Status& status, bool opened);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_ATTACH_MESSAGES_H_
