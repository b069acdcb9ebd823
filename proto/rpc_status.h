// absl::Status <-> gRPC: the only place that converts. Used by service and
// client.
//
// The details of proto/error.h travel as they are, one google.protobuf.Any for
// each payload, so that standard tools read them and an error that came over
// the wire answers ReasonOf and its like again.
//
// Towards the wire, a status without a reason of the API is a fault of ours and
// becomes INTERNAL `INTERNAL`; kCancelled and kDeadlineExceeded stay what they
// are.
//
// Functions are pure and may be called from any thread.

#ifndef UNDERSTUDY_PROTO_RPC_STATUS_H_
#define UNDERSTUDY_PROTO_RPC_STATUS_H_

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace understudy {

// The status of a call. It travels in HTTP/2 trailers, of which common clients
// take 8 KiB; the longest texts are shortened until it fits.
grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

// A status within a message: the results of Attach. Nothing is shortened.
google::rpc::Status ToRpcStatus(const absl::Status& status);
absl::Status FromRpcStatus(const google::rpc::Status& status);

}  // namespace understudy

#endif  // UNDERSTUDY_PROTO_RPC_STATUS_H_
