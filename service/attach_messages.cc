#include "service/attach_messages.h"

#include "proto/error.h"
#include "proto/rpc_status.h"
#include "service/wire.h"

namespace understudy::service {

grpc::ByteBuffer SubscribedMessage(uint64_t subscription_id,
                                   uint64_t oldest_sequence,
                                   uint64_t newest_sequence) {
  v1::AttachResponse response;
  v1::Subscribed& subscribed = *response.mutable_subscribed();
  subscribed.set_subscription_id(subscription_id);
  subscribed.set_oldest_sequence(oldest_sequence);
  subscribed.set_newest_sequence(newest_sequence);
  return SerializeMessage(response);
}

grpc::ByteBuffer ProgressMessage(uint64_t subscription_id, uint64_t sequence) {
  v1::AttachResponse response;
  v1::Progress& progress = *response.mutable_progress();
  progress.set_subscription_id(subscription_id);
  progress.set_sequence(sequence);
  return SerializeMessage(response);
}

grpc::ByteBuffer ClosedMessage(uint64_t subscription_id,
                               v1::ClosedReason reason,
                               uint64_t oldest_sequence,
                               const std::string& message) {
  v1::AttachResponse response;
  v1::Closed& closed = *response.mutable_closed();
  closed.set_subscription_id(subscription_id);
  closed.set_reason(reason);
  closed.set_oldest_sequence(oldest_sequence);
  closed.set_message(message);
  return SerializeMessage(response);
}

grpc::ByteBuffer FailedMessage(const std::string& request_id,
                               const absl::Status& status) {
  v1::AttachResponse response;
  v1::Result& result = *response.mutable_result();
  result.set_request_id(request_id);
  *result.mutable_status() = ToRpcStatus(status);
  return SerializeMessage(response);
}

v1::ClosedReason ToClosedReason(const absl::Status& status, bool opened) {
  switch (ReasonOf(status).value_or(Reason::kInternal)) {
    case Reason::kSessionNotFound:
      return opened ? v1::CLOSED_REASON_SESSION_DELETED
                    : v1::CLOSED_REASON_NOT_FOUND;
    case Reason::kStoreCorrupt:
      return v1::CLOSED_REASON_NOT_FOUND;
    case Reason::kSequenceOutOfRange:
      return v1::CLOSED_REASON_OUT_OF_RANGE;
    case Reason::kSessionFenced:
    case Reason::kOwnerLeasePending:
      return v1::CLOSED_REASON_OWNER_CHANGED;
    case Reason::kDraining:
      return v1::CLOSED_REASON_DRAINING;
    default:
      // The store does not deliver now: the same advice as for a reader that
      // fell behind, to subscribe again.
      return v1::CLOSED_REASON_SLOW_CONSUMER;
  }
}

}  // namespace understudy::service
