// AttachFrame: a message down an Attach stream, parsed into memory that is used
// again.
//
// Nearly all that comes down a stream are batches of events. The generated
// AttachResponse would allocate each of them anew, because a member of a oneof
// does not survive Clear(); a Batch of its own keeps its events, their strings
// and the payloads of text deltas from one message to the next.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_CLIENT_CPP_ATTACH_FRAME_H_
#define UNDERSTUDY_CLIENT_CPP_ATTACH_FRAME_H_

#include <memory>

#include "client/cpp/batch_buffer.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {

class AttachFrame {
 public:
  // Replaces the content. A message that cannot be parsed leaves the frame
  // malformed: to report it as a failed read would leave the call open.
  void Parse(grpc::ByteBuffer& bytes);

  bool malformed() const { return malformed_; }
  // True: `buffer` has the message; false: `other` has it.
  bool has_batch() const { return has_batch_; }

  // May be taken and replaced by another one to be filled, or by nothing.
  std::unique_ptr<BatchBuffer>& buffer() { return buffer_; }
  const v1::AttachResponse& other() const { return other_; }

 private:
  bool ParseBatch(grpc::ByteBuffer& bytes);

  bool malformed_ = false;
  bool has_batch_ = false;
  std::unique_ptr<BatchBuffer> buffer_;
  v1::AttachResponse other_;
};

}  // namespace understudy::client

namespace grpc {

// How gRPC reads an AttachFrame off the wire.
template <>
class SerializationTraits<understudy::client::AttachFrame> {
 public:
  static Status Deserialize(ByteBuffer* bytes,
                            understudy::client::AttachFrame* frame) {
    frame->Parse(*bytes);
    bytes->Clear();
    return Status::OK;
  }
};

}  // namespace grpc

#endif  // UNDERSTUDY_CLIENT_CPP_ATTACH_FRAME_H_
