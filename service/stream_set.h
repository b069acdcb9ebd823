// StreamSet: the streams that are open, so that a server that stops can end
// them.
//
// Threads: any.

#ifndef UNDERSTUDY_SERVICE_STREAM_SET_H_
#define UNDERSTUDY_SERVICE_STREAM_SET_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace understudy::service {

// What a stream ends with when the server stops. `last_sequence` is the newest
// one that the client has got; 0 if there is none.
absl::Status DrainingError(uint64_t last_sequence = 0);

class Stream {
 public:
  virtual ~Stream() = default;
  // Lets the client have what is there, then ends with DRAINING.
  virtual void Drain() = 0;
};

class StreamSet {
 public:
  // False if the server stops: the stream is to be refused with DRAINING.
  bool Add(const std::shared_ptr<Stream>& stream);
  void Remove(const Stream* stream);

  // Drains all that are open and refuses all that come.
  void Drain();

 private:
  absl::Mutex mu_;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  std::map<const Stream*, std::weak_ptr<Stream>> streams_ ABSL_GUARDED_BY(mu_);
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_STREAM_SET_H_
