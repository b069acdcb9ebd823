#include "client/cpp/attach.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_agent_control.h"

namespace understudy::client {
namespace {

using testing::HasSubstr;

// Remembers what came down; pauses at every batch if told to.
class Recorder : public AttachStream::Observer {
 public:
  void OnSubscribed(const v1::Subscribed& subscribed) override {
    absl::MutexLock lock(&mutex_);
    subscribed_ = subscribed;
  }
  AttachStream::Flow OnBatch(std::unique_ptr<BatchBuffer>& buffer) override {
    absl::MutexLock lock(&mutex_);
    ++batches_;
    for (const v1::Event& event : buffer->batch.events()) {
      sequences_.push_back(event.sequence());
    }
    return pausing_ ? AttachStream::Flow::kPause
                    : AttachStream::Flow::kContinue;
  }
  void OnProgress(const v1::Progress&) override {}
  void OnClosed(const v1::Closed& closed) override {
    absl::MutexLock lock(&mutex_);
    closed_ = closed;
  }
  void OnRefused(const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    refused_ = status;
  }
  void OnDone(const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    done_ = true;
    status_ = status;
  }

  void Pause() {
    absl::MutexLock lock(&mutex_);
    pausing_ = true;
  }
  size_t AwaitBatches(size_t count) {
    const auto reached = [&] {
      mutex_.AssertReaderHeld();
      return batches_ >= count;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&reached));
    return batches_;
  }
  std::vector<uint64_t> AwaitEvents(size_t count) {
    const auto reached = [&] {
      mutex_.AssertReaderHeld();
      return sequences_.size() >= count;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&reached));
    return sequences_;
  }
  v1::Closed AwaitClosed() {
    const auto reached = [&] {
      mutex_.AssertReaderHeld();
      return closed_.reason() != v1::CLOSED_REASON_UNSPECIFIED;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&reached));
    return closed_;
  }
  absl::Status AwaitDone() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&done_));
    return status_;
  }

 private:
  absl::Mutex mutex_;
  bool pausing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  size_t batches_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> sequences_ ABSL_GUARDED_BY(mutex_);
  v1::Subscribed subscribed_ ABSL_GUARDED_BY(mutex_);
  v1::Closed closed_ ABSL_GUARDED_BY(mutex_);
  absl::Status refused_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// The answer to a command, when it comes.
class Answer {
 public:
  AttachStream::ResultCallback Callback() {
    return [this](const absl::StatusOr<v1::Result>& result) {
      result_ = result;
      came_.Notify();
    };
  }
  const absl::StatusOr<v1::Result>& Await() {
    came_.WaitForNotification();
    return result_;
  }

 private:
  absl::Notification came_;
  absl::StatusOr<v1::Result> result_;
};

v1::AttachRequest Message(const std::string& text) {
  v1::AttachRequest request;
  request.mutable_send_message()->set_session_id(FakeAgentControl::kSessionId);
  request.mutable_send_message()->set_text(text);
  return request;
}

v1::Subscribe FromTheOldest() {
  v1::Subscribe subscribe;
  subscribe.set_subscription_id(5);
  subscribe.set_session_id(FakeAgentControl::kSessionId);
  subscribe.set_after_sequence(0);
  return subscribe;
}

class AttachTest : public testing::Test {
 protected:
  AttachStream& Open() {
    stream_ =
        std::make_unique<AttachStream>(server_.InProcessChannel(), recorder_);
    return *stream_;
  }

  FakeAgentControl service_;
  FakeServer server_{service_};
  Recorder recorder_;
  std::unique_ptr<AttachStream> stream_;
};

TEST_F(AttachTest, EveryCommandGetsItsOwnAnswer) {
  AttachStream& stream = Open();
  std::vector<Answer> answers(50);
  std::vector<std::string> ids;
  for (Answer& answer : answers) {
    ids.push_back(stream.Send(Message("hello"), answer.Callback()));
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    const auto& result = answers[i].Await();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->request_id(), ids[i]);
    EXPECT_EQ(result->send_message().turn_id(),
              "turn-" + std::to_string(i + 1));
  }
}

TEST_F(AttachTest, FindsTheCommandOfAnAnswerInLowerCase) {
  service_.Fail({MakeError(Reason::kQueueFull, "the queue is full")});
  v1::AttachRequest request = Message("hello");
  request.set_request_id("ABCDEF00-0000-4000-8000-00000000000A");
  Answer answer;
  EXPECT_EQ(Open().Send(request, answer.Callback()), request.request_id());
  EXPECT_EQ(ReasonOf(answer.Await().status()), Reason::kQueueFull);
}

TEST_F(AttachTest, AFailedCommandGetsItsErrorAndTheStreamGoesOn) {
  service_.Fail({MakeError(Reason::kQueueFull, "the queue is full")});
  Answer refused, accepted;
  AttachStream& stream = Open();
  stream.Send(Message("one"), refused.Callback());
  stream.Send(Message("two"), accepted.Callback());
  EXPECT_EQ(ReasonOf(refused.Await().status()), Reason::kQueueFull);
  EXPECT_TRUE(accepted.Await().ok());
}

TEST_F(AttachTest, ACommandWithoutAnAnswerFailsWithTheStream) {
  service_.StopAnswering();
  Answer answer;
  AttachStream& stream = Open();
  stream.Send(Message("hello"), answer.Callback());
  stream.Cancel();
  EXPECT_EQ(answer.Await().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(recorder_.AwaitDone().code(), absl::StatusCode::kCancelled);
}

TEST_F(AttachTest, ACommandAfterTheEndFailsAtOnce) {
  AttachStream& stream = Open();
  stream.Cancel();
  EXPECT_FALSE(recorder_.AwaitDone().ok());
  Answer answer;
  stream.Send(Message("hello"), answer.Callback());
  EXPECT_EQ(answer.Await().status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(AttachTest, CloseLetsTheServerFinishWhatWasSent) {
  AttachStream& stream = Open();
  std::vector<Answer> answers(10);
  for (Answer& answer : answers) {
    stream.Send(Message("hello"), answer.Callback());
  }
  stream.Close();
  EXPECT_TRUE(recorder_.AwaitDone().ok());
  for (Answer& answer : answers) EXPECT_TRUE(answer.Await().ok());
}

TEST_F(AttachTest, HandsOverEventsByTheBatch) {
  for (int i = 0; i < 100; ++i) service_.log().Append({});
  service_.log().Script({.batch_size = 30});
  Open().Subscribe(FromTheOldest());
  EXPECT_EQ(recorder_.AwaitEvents(100).back(), 100u);
  EXPECT_EQ(recorder_.AwaitBatches(4), 4u);
}

TEST_F(AttachTest, UnsubscribeIsAnsweredByClosed) {
  AttachStream& stream = Open();
  stream.Subscribe(FromTheOldest());
  stream.Unsubscribe(5);
  EXPECT_EQ(recorder_.AwaitClosed().reason(), v1::CLOSED_REASON_UNSUBSCRIBED);
}

TEST_F(AttachTest, ReadsNoFurtherWhilePausedAndGoesOnAfterwards) {
  for (int i = 0; i < 3; ++i) service_.log().Append({});
  service_.log().Script({.batch_size = 1});
  recorder_.Pause();
  AttachStream& stream = Open();
  stream.Subscribe(FromTheOldest());
  for (size_t batch = 1; batch <= 3; ++batch) {
    EXPECT_EQ(recorder_.AwaitBatches(batch), batch);
    stream.Resume();
  }
}

TEST_F(AttachTest, APausedStreamCanBeDestroyed) {
  for (int i = 0; i < 3; ++i) service_.log().Append({});
  recorder_.Pause();
  Open().Subscribe(FromTheOldest());
  recorder_.AwaitBatches(1);
  stream_.reset();
  EXPECT_EQ(recorder_.AwaitDone().code(), absl::StatusCode::kCancelled);
}

TEST_F(AttachTest, TellsWhyTheServerEndedIt) {
  service_.log().Append({});
  service_.log().Script(
      {.cut_after = 1,
       .status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "going away")});
  Open().Subscribe(FromTheOldest());
  const absl::Status status = recorder_.AwaitDone();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("going away"));
}

TEST_F(AttachTest, StreamsEndAtAnyMoment) {
  for (int i = 0; i < 50; ++i) service_.log().Append({});
  for (int i = 0; i < 100; ++i) {
    Recorder recorder;
    AttachStream stream(server_.InProcessChannel(), recorder);
    stream.Subscribe(FromTheOldest());
    if (i % 3 == 0) stream.Send(Message("hello"), [](const auto&) {});
    if (i % 3 == 1) recorder.AwaitBatches(1 + i % 2);
  }
}

}  // namespace
}  // namespace understudy::client
