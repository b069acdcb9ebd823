#include "service/stream_set.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proto/error.h"

namespace understudy::service {

absl::Status DrainingError(uint64_t last_sequence) {
  ErrorMetadata metadata;
  if (last_sequence > 0) {
    metadata.emplace("last_sequence", absl::StrCat(last_sequence));
  }
  return MakeError(Reason::kDraining, "the server is stopping", metadata,
                   absl::Seconds(1));
}

bool StreamSet::Add(const std::shared_ptr<Stream>& stream) {
  absl::MutexLock lock(&mu_);
  if (draining_) return false;
  streams_.emplace(stream.get(), stream);
  return true;
}

void StreamSet::Remove(const Stream* stream) {
  absl::MutexLock lock(&mu_);
  streams_.erase(stream);
}

void StreamSet::Drain() {
  std::map<const Stream*, std::weak_ptr<Stream>> streams;
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
    streams.swap(streams_);
  }
  for (const auto& [key, weak] : streams) {
    if (const auto stream = weak.lock(); stream != nullptr) stream->Drain();
  }
}

}  // namespace understudy::service
