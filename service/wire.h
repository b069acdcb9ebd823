// Wire: messages as gRPC byte buffers. Events travel as the bytes that the log
// holds: framed, never decoded, and copied only where they are few.
//
// Pure functions; any thread.

#ifndef UNDERSTUDY_SERVICE_WIRE_H_
#define UNDERSTUDY_SERVICE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"
#include "session/event_log.h"

namespace understudy::service {

// FIELD_INVALID of the field `message` if the bytes are not one of its type.
absl::Status ParseMessage(const grpc::ByteBuffer& buffer,
                          google::protobuf::Message* message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

// An AttachResponse with a batch of these events; at least one.
grpc::ByteBuffer BatchMessage(uint64_t subscription_id,
                              const session::EventLog::Batch& events);

// The events of a batch one by one, each as a message.
class EventMessages {
 public:
  EventMessages() = default;
  explicit EventMessages(session::EventLog::Batch events)
      : events_(std::move(events)) {}

  bool empty() const { return slice_ == events_.slices.size(); }
  // An Event. Not when empty.
  grpc::ByteBuffer Next();

 private:
  session::EventLog::Batch events_;
  size_t slice_ = 0;  // the first that is not used up
};

// Moves events from the front of `rest` to the result: at most `max_bytes`,
// but at least one. `rest` is not empty.
session::EventLog::Batch TakeFront(session::EventLog::Batch& rest,
                                   size_t max_bytes);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_WIRE_H_
