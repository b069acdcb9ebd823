// Subscriber: one Attach stream with any number of sessions, for measuring:
// counts what comes and notes when.
//
// Threads: OnEvent is called on gRPC's threads, one at a time; the rest by the
// benchmark's own.

#ifndef UNDERSTUDY_TESTS_BENCH_SUBSCRIBER_H_
#define UNDERSTUDY_TESTS_BENCH_SUBSCRIBER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/client.h"
#include "tests/bench/report.h"

namespace understudy::bench {

class Subscriber final : public client::AttachStream::Observer {
 public:
  using OnEvent =
      std::function<void(uint64_t subscription_id, const v1::Event& event)>;

  Subscriber(const client::Client& client, OnEvent on_event)
      : on_event_(std::move(on_event)), stream_(client.Attach(*this)) {}

  // From now on; waits until it has begun.
  void Subscribe(uint64_t id, const std::string& session_id, bool deltas) {
    v1::Subscribe subscribe;
    subscribe.set_subscription_id(id);
    subscribe.set_session_id(session_id);
    subscribe.set_include_deltas(deltas);
    absl::MutexLock lock(&mutex_);
    awaited_ = id;
    stream_->Subscribe(std::move(subscribe));
    mutex_.Await(absl::Condition(
        +[](uint64_t* awaited) { return *awaited == 0; }, &awaited_));
  }

  void Send(const std::string& session_id, const std::string& text,
            v1::WaitUntil wait_until,
            client::AttachStream::ResultCallback done) {
    v1::AttachRequest request;
    v1::SendMessageRequest& message = *request.mutable_send_message();
    message.set_session_id(session_id);
    message.set_text(text);
    message.set_wait_until(wait_until);
    stream_->Send(std::move(request), std::move(done));
  }

 private:
  void OnSubscribed(const v1::Subscribed& subscribed) override {
    absl::MutexLock lock(&mutex_);
    if (subscribed.subscription_id() == awaited_) awaited_ = 0;
  }
  client::AttachStream::Flow OnBatch(
      std::unique_ptr<client::BatchBuffer>& buffer) override {
    for (const v1::Event& event : buffer->batch.events()) {
      on_event_(buffer->batch.subscription_id(), event);
    }
    return client::AttachStream::Flow::kContinue;
  }
  void OnProgress(const v1::Progress&) override {}
  void OnClosed(const v1::Closed& closed) override {
    std::cerr << "a subscription was closed: " << closed.ShortDebugString()
              << "\n";
    std::exit(1);
  }
  void OnRefused(const absl::Status& status) override {
    OrDie(status, "a command");
  }
  void OnDone(const absl::Status& status) override {
    if (!absl::IsCancelled(status)) OrDie(status, "the stream");
  }

  const OnEvent on_event_;
  absl::Mutex mutex_;
  uint64_t awaited_ ABSL_GUARDED_BY(mutex_) = 0;
  const std::unique_ptr<client::AttachStream> stream_;
};

}  // namespace understudy::bench

#endif  // UNDERSTUDY_TESTS_BENCH_SUBSCRIBER_H_
