// BatchBuffer: a Batch whose memory is used for one message after the other.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_CLIENT_CPP_BATCH_BUFFER_H_
#define UNDERSTUDY_CLIENT_CPP_BATCH_BUFFER_H_

#include <cstddef>

#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {

struct BatchBuffer {
  v1::Batch batch;
  // What `batch` took on the wire.
  size_t bytes = 0;
  // Bytes parsed into it since it was made: it is thrown away before its
  // strings, each as long as the longest that was ever in its place, can add up
  // to much.
  size_t parsed_bytes = 0;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_BATCH_BUFFER_H_
