#include "client/cpp/attach.h"

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/attach_frame.h"
#include "client/cpp/uuid.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/client_callback.h"
#include "proto/rpc_status.h"
#include "understudy/v1/agent_control.grpc.pb.h"

namespace understudy::client {
namespace {

constexpr char kMethod[] = "/understudy.v1.AgentControl/Attach";

// Answers have their ids in lower case.
std::string Key(const std::string& request_id) {
  return absl::AsciiStrToLower(request_id);
}

}  // namespace

// gRPC allows one read and one write at a time; `reading_` and `writing_` are
// those. Operations are started under the lock and only before `ended_`, which
// the failure of a read sets before it gives up the hold that keeps the call
// from being done. Hence a paused stream that is to end must read once more.
class AttachStream::Reactor
    : public grpc::ClientBidiReactor<v1::AttachRequest, AttachFrame> {
 public:
  Reactor(std::shared_ptr<grpc::ChannelInterface> channel, Observer& observer)
      : observer_(observer) {
    grpc::TemplatedGenericStub<v1::AttachRequest, AttachFrame> stub(
        std::move(channel));
    stub.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    AddHold();
    absl::MutexLock lock(&mutex_);
    Read();
    StartCall();
  }

  ~Reactor() override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&done_));
  }

  void Write(v1::AttachRequest request) {
    absl::MutexLock lock(&mutex_);
    if (ended_ || closing_) return;
    outgoing_.push_back(std::move(request));
    WriteNext();
  }

  void WriteCommand(v1::AttachRequest command, ResultCallback done) {
    {
      absl::MutexLock lock(&mutex_);
      if (!ended_ && !closing_) {
        waiting_[Key(command.request_id())] = std::move(done);
        outgoing_.push_back(std::move(command));
        WriteNext();
        return;
      }
    }
    done(absl::UnavailableError("send a command: the stream has ended"));
  }

  void Resume() {
    absl::MutexLock lock(&mutex_);
    resumed_ = true;
    if (!reading_) Read();
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    WriteNext();
  }

  void Cancel() {
    context_.TryCancel();
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (!reading_) Read();
  }

 private:
  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_) return;
    reading_ = true;
    StartRead(&frame_);
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_ || writing_) return;
    if (!outgoing_.empty()) {
      writing_ = true;
      StartWrite(&outgoing_.front());
    } else if (closing_ && !closed_) {
      closed_ = true;
      StartWritesDone();
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      {
        absl::MutexLock lock(&mutex_);
        ended_ = true;
      }
      RemoveHold();
      return;
    }
    {
      absl::MutexLock lock(&mutex_);
      resumed_ = false;
    }
    const Flow flow = Dispatch();
    absl::MutexLock lock(&mutex_);
    // Resume() may have come between the observer's decision and this.
    if (flow == Flow::kPause && !resumed_ && !cancelled_) {
      reading_ = false;
    } else {
      Read();
    }
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    outgoing_.pop_front();
    writing_ = false;
    // After a failed write the read fails, too, and ends it all.
    if (ok) WriteNext();
  }

  void OnDone(const grpc::Status& grpc_status) override {
    absl::flat_hash_map<std::string, ResultCallback> waiting;
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
      waiting.swap(waiting_);
    }
    const absl::Status status =
        malformed_ ? absl::InternalError("parse AttachResponse: malformed")
                   : FromGrpcStatus(grpc_status);
    for (auto& [request_id, done] : waiting) {
      done(absl::UnavailableError(
          absl::StrCat("await the result of ", request_id,
                       ": the stream ended: ", status.message())));
    }
    observer_.OnDone(status);
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }

  Flow Dispatch() {
    if (frame_.malformed()) {
      malformed_ = true;
      context_.TryCancel();
      return Flow::kContinue;
    }
    if (frame_.has_batch()) return observer_.OnBatch(frame_.buffer());
    const v1::AttachResponse& response = frame_.other();
    switch (response.response_case()) {
      case v1::AttachResponse::kSubscribed:
        observer_.OnSubscribed(response.subscribed());
        break;
      case v1::AttachResponse::kProgress:
        observer_.OnProgress(response.progress());
        break;
      case v1::AttachResponse::kClosed:
        observer_.OnClosed(response.closed());
        break;
      case v1::AttachResponse::kResult:
        DispatchResult(response.result());
        break;
      case v1::AttachResponse::kBatch:
      case v1::AttachResponse::RESPONSE_NOT_SET:  // newer than this schema
        break;
    }
    return Flow::kContinue;
  }

  void DispatchResult(const v1::Result& result) {
    ResultCallback done;
    {
      absl::MutexLock lock(&mutex_);
      if (auto node = waiting_.extract(Key(result.request_id()))) {
        done = std::move(node.mapped());
      }
    }
    const absl::Status status = FromRpcStatus(result.status());
    if (done == nullptr) {
      observer_.OnRefused(status);
    } else if (status.ok()) {
      done(result);
    } else {
      done(status);
    }
  }

  Observer& observer_;
  grpc::ClientContext context_;

  // The read in flight fills it; the observer has it in between.
  AttachFrame frame_;
  // Set by a read, which precedes OnDone.
  bool malformed_ = false;

  absl::Mutex mutex_;
  // The first one is being written while `writing_`.
  std::deque<v1::AttachRequest> outgoing_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, ResultCallback> waiting_
      ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool resumed_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

AttachStream::AttachStream(std::shared_ptr<grpc::ChannelInterface> channel,
                           Observer& observer)
    : reactor_(std::make_unique<Reactor>(std::move(channel), observer)) {}

AttachStream::~AttachStream() { Cancel(); }

void AttachStream::Subscribe(v1::Subscribe subscribe) {
  v1::AttachRequest request;
  *request.mutable_subscribe() = std::move(subscribe);
  reactor_->Write(std::move(request));
}

void AttachStream::Unsubscribe(uint64_t subscription_id) {
  v1::AttachRequest request;
  request.mutable_unsubscribe()->set_subscription_id(subscription_id);
  reactor_->Write(std::move(request));
}

std::string AttachStream::Send(v1::AttachRequest command, ResultCallback done) {
  if (command.request_id().empty()) command.set_request_id(NewUuid());
  std::string request_id = command.request_id();
  reactor_->WriteCommand(std::move(command), std::move(done));
  return request_id;
}

void AttachStream::Resume() { reactor_->Resume(); }
void AttachStream::Close() { reactor_->Close(); }
void AttachStream::Cancel() { reactor_->Cancel(); }

}  // namespace understudy::client
