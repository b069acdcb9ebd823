// Inbox: what an Attach stream brought, in order, until its reader takes it.
//
// Bounded: when kMaxBytes or kMaxBatches wait, the stream is paused, so that
// the server waits; when half of them are read, Take resumes it. Buffers go
// round: the one that was read is the next to be filled.
//
// Threads: the observer's methods on gRPC's, Take on the reader's, Cancel on
// any.

#ifndef UNDERSTUDY_CLIENT_CPP_INBOX_H_
#define UNDERSTUDY_CLIENT_CPP_INBOX_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/cpp/attach.h"
#include "client/cpp/batch_buffer.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {

class Inbox : public AttachStream::Observer {
 public:
  // The end of the call.
  struct Done {
    absl::Status status;
  };
  using Item = std::variant<v1::Subscribed, std::unique_ptr<BatchBuffer>,
                            v1::Progress, v1::Closed, Done>;

  static constexpr size_t kMaxBytes = 4 << 20;
  static constexpr size_t kMaxBatches = 256;

  // The next item, or nothing at the deadline or once cancelled. `stream` is
  // where the items come from; null if there is none.
  std::optional<Item> Take(absl::Time deadline, AttachStream* stream);

  // Gives a batch back that was read.
  void Recycle(std::unique_ptr<BatchBuffer> buffer);

  // Forgets what waits: its stream is no more.
  void Clear();

  // Take returns nothing from here on.
  void Cancel();
  bool cancelled() const;

  void OnSubscribed(const v1::Subscribed& subscribed) override;
  AttachStream::Flow OnBatch(std::unique_ptr<BatchBuffer>& buffer) override;
  void OnProgress(const v1::Progress& progress) override;
  void OnClosed(const v1::Closed& closed) override;
  void OnRefused(const absl::Status& status) override;
  void OnDone(const absl::Status& status) override;

 private:
  static constexpr size_t kMaxSpare = 8;

  void Push(Item item);
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return cancelled_ || !items_.empty();
  }

  mutable absl::Mutex mutex_;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);
  // Of the batches that wait.
  size_t batches_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<BatchBuffer>> spare_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_INBOX_H_
