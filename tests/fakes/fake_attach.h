// FakeAttach: one Attach stream of a fake server: shows a FakeEventLog as its
// script says, and answers commands. One subscription at a time.
//
// Threads: gRPC's; deletes itself when the call is done.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_ATTACH_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_ATTACH_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "tests/fakes/fake_event_log.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy {

class FakeAttach
    : public grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse> {
 public:
  // Answers a command; nothing: no answer, ever.
  using Execute =
      std::function<std::optional<v1::Result>(const v1::AttachRequest&)>;
  // The session that a subscription names, or null.
  using FindLog = std::function<FakeEventLog*(const std::string& session_id)>;

  FakeAttach(FindLog find_log, Execute execute);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  void Subscribe(const v1::Subscribe& subscribe);
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  void PumpLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AddBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishOnce(const grpc::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Close(v1::ClosedReason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const FindLog find_log_;
  const Execute execute_;
  v1::AttachRequest request_;

  absl::Mutex mutex_;
  std::deque<v1::AttachResponse> outgoing_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;

  // The subscription; null: none.
  FakeEventLog* log_ ABSL_GUARDED_BY(mutex_) = nullptr;
  // The log whose streams this is one of.
  FakeEventLog* joined_ = nullptr;
  v1::Subscribe subscribe_ ABSL_GUARDED_BY(mutex_);
  FakeConnection connection_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  // Where replay ends: ephemeral events before it are not shown.
  size_t live_from_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t shown_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace understudy

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_ATTACH_H_
