#include "client/cpp/event_stream.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/server_callback.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_agent_control.h"
#include "tests/support/temp_folder.h"

namespace understudy::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

// A server that writes batches of one event to each subscriber, as fast as they
// are taken, and counts them.
class BusyControl : public FakeAgentControl {
 public:
  static constexpr uint64_t kEvents = 1000;

  // Of the stream that was opened as the `stream`th, from 0.
  size_t written(size_t stream) const {
    absl::MutexLock lock(&mutex_);
    return stream < written_.size() ? written_[stream] : 0;
  }
  void AwaitWritten(size_t stream, size_t count) const {
    const auto enough = [&] {
      mutex_.AssertReaderHeld();
      return stream < written_.size() && written_[stream] >= count;
    };
    absl::MutexLock lock(&mutex_, absl::Condition(&enough));
  }

  grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>* Attach(
      Context) override {
    absl::MutexLock lock(&mutex_);
    written_.push_back(0);
    return new Reactor(*this, written_.size() - 1);
  }

 private:
  class Reactor
      : public grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse> {
   public:
    Reactor(BusyControl& control, size_t stream)
        : control_(control), stream_(stream) {
      StartRead(&request_);
    }

   private:
    void OnReadDone(bool ok) override {
      if (ok) WriteNext();
    }
    void OnWriteDone(bool ok) override {
      if (!ok) return;
      {
        absl::MutexLock lock(&control_.mutex_);
        ++control_.written_[stream_];
      }
      WriteNext();
    }
    void WriteNext() {
      absl::MutexLock lock(&mutex_);
      if (finished_ || sequence_ == kEvents) return;
      v1::Batch& batch = *response_.mutable_batch();
      batch.set_subscription_id(request_.subscribe().subscription_id());
      batch.clear_events();
      batch.add_events()->set_sequence(++sequence_);
      StartWrite(&response_);
    }
    void OnCancel() override {
      absl::MutexLock lock(&mutex_);
      finished_ = true;
      Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

    BusyControl& control_;
    const size_t stream_;
    v1::AttachRequest request_;
    v1::AttachResponse response_;
    absl::Mutex mutex_;
    uint64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
    bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  };

  mutable absl::Mutex mutex_;
  std::vector<size_t> written_ ABSL_GUARDED_BY(mutex_);
};

class EventStreamTest : public testing::Test {
 protected:
  EventStreamOptions Options(std::optional<uint64_t> after_sequence) {
    return {.session_id = FakeAgentControl::kSessionId,
            .after_sequence = after_sequence,
            .sleep = [this](absl::Duration wait) { waits_.push_back(wait); },
            .on_interruption =
                [this](const absl::Status& why, absl::Duration) {
                  interruptions_.push_back(why);
                }};
  }

  EventStream& Open(EventStreamOptions options) {
    stream_ = std::make_unique<EventStream>(server_.InProcessChannel(),
                                            std::move(options));
    return *stream_;
  }
  EventStream& Open(std::optional<uint64_t> after_sequence) {
    return Open(Options(after_sequence));
  }

  void Append(int count) {
    for (int i = 0; i < count; ++i) service_.log().Append({});
  }

  // The sequences of the next `count` events.
  static std::vector<uint64_t> Read(EventStream& stream, size_t count) {
    std::vector<uint64_t> sequences;
    while (sequences.size() < count) {
      const auto event = stream.Next();
      if (!event.ok()) {
        ADD_FAILURE() << event.status();
        break;
      }
      sequences.push_back((*event)->sequence());
    }
    return sequences;
  }

  static std::vector<uint64_t> Range(uint64_t from, uint64_t to) {
    std::vector<uint64_t> range;
    for (uint64_t i = from; i <= to; ++i) range.push_back(i);
    return range;
  }

  FakeAgentControl service_;
  FakeServer server_{service_};
  std::vector<absl::Duration> waits_;
  std::vector<absl::Status> interruptions_;
  std::unique_ptr<EventStream> stream_;
};

TEST_F(EventStreamTest, DeliversWhatIsStoredAndThenWhatComes) {
  Append(20);
  EventStream& stream = Open(5);
  EXPECT_EQ(Read(stream, 15), Range(6, 20));
  Append(10);
  EXPECT_EQ(Read(stream, 10), Range(21, 30));
  EXPECT_THAT(interruptions_, IsEmpty());
}

// Cuts of every kind, some of them without a single event in between, with
// events that come twice: nothing is lost, doubled or reordered.
TEST_F(EventStreamTest, DeliversEachEventOnceAndInOrderAcrossFiftyCuts) {
  constexpr uint64_t kEvents = 400;
  Append(kEvents);
  const grpc::Status ends[] = {
      {grpc::StatusCode::UNAVAILABLE, "connection reset"},
      {grpc::StatusCode::INTERNAL, "RST_STREAM"},
      {grpc::StatusCode::CANCELLED, "cancelled"},
      {grpc::StatusCode::UNKNOWN, "stream removed"},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "too slow"},
      grpc::Status::OK,
  };
  const v1::ClosedReason reasons[] = {
      v1::CLOSED_REASON_UNSPECIFIED, v1::CLOSED_REASON_UNSPECIFIED,
      v1::CLOSED_REASON_OWNER_CHANGED, v1::CLOSED_REASON_SLOW_CONSUMER,
      v1::CLOSED_REASON_DRAINING};
  for (const uint32_t seed : {1u, 2u, 3u, 4u, std::random_device()()}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto pick = [&random](uint64_t from, uint64_t to) {
      return std::uniform_int_distribution<uint64_t>(from, to)(random);
    };
    std::vector<uint64_t> places;
    for (int i = 0; i < 50; ++i) places.push_back(pick(0, kEvents - 1));
    std::sort(places.begin(), places.end());
    for (const uint64_t place : places) {
      service_.log().Script({.cut_after = place,
                             .closed = reasons[pick(0, std::size(reasons) - 1)],
                             .status = ends[pick(0, std::size(ends) - 1)],
                             .repeat = pick(0, 20),
                             .batch_size = pick(1, 64)});
    }
    interruptions_.clear();
    EventStream& stream = Open(0);
    EXPECT_EQ(Read(stream, kEvents), Range(1, kEvents));
    EXPECT_THAT(interruptions_, SizeIs(50));
    EXPECT_THAT(stream.last_sequence(), Optional(kEvents));
  }
}

TEST_F(EventStreamTest, GoesOnAfterTheServerIsReplaced) {
  const session::TempFolder folder;
  const std::string address = "unix:" + folder.path() + "/socket";
  auto server = std::make_unique<FakeServer>(service_, address);
  Append(100);
  service_.log().Script({.cut_after = 60});
  EventStreamOptions options = Options(0);
  options.sleep = nullptr;
  options.backoff.initial = absl::Milliseconds(1);
  EventStream stream(
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials()),
      options);
  EXPECT_EQ(Read(stream, 40), Range(1, 40));
  server.reset();
  server = std::make_unique<FakeServer>(service_, address);
  EXPECT_EQ(Read(stream, 60), Range(41, 100));
}

TEST_F(EventStreamTest, FromNowOnMeansFromTheFirstConnectionOn) {
  Append(10);
  service_.log().Script({.cut_after = 10});
  EventStream& stream = Open(std::nullopt);
  service_.log().AwaitSubscriptions(1);
  Append(3);
  EXPECT_EQ(Read(stream, 3), Range(11, 13));
  EXPECT_THAT(service_.log().subscriptions(),
              ElementsAre(std::nullopt, Optional(10u)));
}

TEST_F(EventStreamTest, DeliversAGapAndWhatFollowsIt) {
  Append(20);
  service_.log().Script({.oldest = 11});
  EventStream& stream = Open(5);
  const auto gap = stream.Next();
  ASSERT_TRUE(gap.ok()) << gap.status();
  EXPECT_EQ((*gap)->gap().missing_from(), 6u);
  EXPECT_EQ((*gap)->gap().missing_to(), 10u);
  EXPECT_EQ(Read(stream, 10), Range(11, 20));
  EXPECT_THAT(interruptions_, IsEmpty());
}

TEST_F(EventStreamTest, E3_ARequestThatWaitsIsDeliveredOnceAcrossConnections) {
  Append(10);
  v1::Event asked;
  asked.mutable_permission_requested()->set_permission_id("b");
  service_.log().Append(asked);
  v1::Event settled;
  settled.mutable_permission_resolved()->set_permission_id("a");
  service_.log().Append(settled);
  service_.log().Script({.cut_after = 10, .asked = {"a"}});
  service_.log().Script({.cut_after = 11, .asked = {"a"}});
  service_.log().Script({.cut_after = 12, .asked = {"a", "b"}});
  // Another request under an id that is free again.
  service_.log().Script({.asked = {"b", "a"}});
  EventStream& stream = Open(9);
  std::vector<std::string> told;
  for (int i = 0; i < 5; ++i) {
    const auto event = stream.Next();
    ASSERT_TRUE(event.ok()) << event.status();
    const v1::Event& seen = **event;
    told.push_back(absl::StrCat(seen.sequence(),
                                seen.permission_requested().permission_id(),
                                seen.has_permission_resolved() ? "!" : ""));
  }
  EXPECT_THAT(told, ElementsAre("0a", "10", "11b", "12!", "0a"));
}

TEST_F(EventStreamTest, DoesNotAskForAGapAgain) {
  Append(20);
  service_.log().Script({.cut_after = 10, .oldest = 11});
  EventStream& stream = Open(5);
  ASSERT_TRUE(stream.Next().ok());
  EXPECT_EQ(Read(stream, 10), Range(11, 20));
  EXPECT_THAT(service_.log().subscriptions(),
              ElementsAre(Optional(5u), Optional(10u)));
}

TEST_F(EventStreamTest, FetchesWhatIsMissingWithoutAGap) {
  Append(20);
  service_.log().Script({.omit = {8, 9}, .batch_size = 5});
  EventStream& stream = Open(0);
  EXPECT_EQ(Read(stream, 20), Range(1, 20));
  EXPECT_THAT(service_.log().subscriptions(),
              ElementsAre(Optional(0u), Optional(7u)));
}

TEST_F(EventStreamTest, EndsIfWhatIsMissingStaysMissing) {
  Append(20);
  service_.log().Script({.omit = {8, 9}});
  service_.log().Script({.omit = {8, 9}});
  EventStream& stream = Open(0);
  EXPECT_EQ(Read(stream, 7), Range(1, 7));
  const absl::Status end = stream.Next().status();
  EXPECT_EQ(end.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(end.message()), HasSubstr("events 8 to 9"));
  EXPECT_EQ(stream.Next().status(), end);
}

TEST_F(EventStreamTest, DeliversDeltasBetweenTheirEvents) {
  EventStreamOptions options = Options(0);
  options.include_deltas = true;
  EventStream& stream = Open(options);
  service_.log().AwaitSubscriptions(1);
  v1::Event delta;
  delta.mutable_text_delta()->set_text("he");
  Append(2);
  service_.log().Append(delta);
  service_.log().Append(delta);
  Append(1);
  EXPECT_THAT(Read(stream, 5), ElementsAre(1, 2, 0, 0, 3));
}

TEST_F(EventStreamTest, AFinalReasonEndsIt) {
  Append(3);
  EventStream& unknown = Open({.session_id = "no-such-session"});
  EXPECT_EQ(ReasonOf(unknown.Next().status()), Reason::kSessionNotFound);

  EventStream& future = Open(99);
  EXPECT_EQ(ReasonOf(future.Next().status()), Reason::kSequenceOutOfRange);

  service_.log().Script(
      {.cut_after = 3, .closed = v1::CLOSED_REASON_UNSUBSCRIBED});
  EventStream& unsubscribed = Open(2);
  EXPECT_TRUE(unsubscribed.Next().ok());
  EXPECT_EQ(unsubscribed.Next().status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(interruptions_, IsEmpty());
}

TEST_F(EventStreamTest, DeletionIsTheLastEventAndThenTheEnd) {
  Append(2);
  EventStream& stream = Open(0);
  service_.log().Delete();
  EXPECT_EQ(Read(stream, 2), Range(1, 2));
  const auto last = stream.Next();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE((*last)->has_session_deleted());
  EXPECT_EQ(ReasonOf(stream.Next().status()), Reason::kSessionNotFound);
}

TEST_F(EventStreamTest, AnErrorThatNoRepetitionCuresEndsIt) {
  for (const auto code :
       {grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::UNAUTHENTICATED,
        grpc::StatusCode::UNIMPLEMENTED, grpc::StatusCode::INVALID_ARGUMENT,
        grpc::StatusCode::DATA_LOSS}) {
    service_.log().Script({.cut_after = 0, .status = grpc::Status(code, "no")});
    EXPECT_EQ(static_cast<int>(Open(0).Next().status().code()), code);
  }
  EXPECT_THAT(interruptions_, IsEmpty());
}

TEST_F(EventStreamTest, WaitsLongerAfterEachFailureUntilSomethingComes) {
  Append(1);
  EventStreamOptions options = Options(0);
  options.backoff = {.initial = absl::Milliseconds(100),
                     .max = absl::Milliseconds(400)};
  for (int i = 0; i < 5; ++i) service_.log().Script({.cut_after = 0});
  service_.log().Script({.cut_after = 1});
  EventStream& stream = Open(options);
  Read(stream, 1);
  Append(1);
  Read(stream, 1);
  ASSERT_THAT(waits_, SizeIs(6));
  const int bounds[] = {100, 200, 400, 400, 400, 100};
  for (size_t i = 0; i < waits_.size(); ++i) {
    EXPECT_GE(waits_[i], absl::Milliseconds(bounds[i]) / 2) << i;
    EXPECT_LE(waits_[i], absl::Milliseconds(bounds[i])) << i;
  }
}

TEST_F(EventStreamTest, ADeadlineIsNotTheEnd) {
  EventStream& stream = Open(0);
  EXPECT_EQ(stream.Next(absl::Now()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  Append(1);
  EXPECT_EQ(Read(stream, 1), Range(1, 1));
}

TEST_F(EventStreamTest, ADeadlineDuringTheBackoffIsNotTheEnd) {
  Append(1);
  service_.log().Script({.cut_after = 0});
  EventStreamOptions options = Options(0);
  options.sleep = nullptr;
  options.backoff = {.initial = absl::Milliseconds(20)};
  EventStream& stream = Open(options);
  while (interruptions_.empty()) {
    ASSERT_EQ(stream.Next(absl::Now()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(Read(stream, 1), Range(1, 1));
}

TEST_F(EventStreamTest, AServerThatSaysNothingIsLeft) {
  Append(3);
  service_.log().Script({.silent = true});
  EventStreamOptions options = Options(0);
  options.silence = absl::Milliseconds(50);
  EXPECT_EQ(Read(Open(options), 3), Range(1, 3));
  EXPECT_THAT(std::string(interruptions_.at(0).message()),
              HasSubstr("nothing from the server for 50ms"));
}

TEST_F(EventStreamTest, CancelWakesAReaderThatWaits) {
  EventStream& stream = Open(0);
  std::thread canceller([&] {
    service_.log().AwaitSubscriptions(1);
    stream.Cancel();
  });
  EXPECT_EQ(stream.Next().status().code(), absl::StatusCode::kCancelled);
  canceller.join();
}

TEST_F(EventStreamTest, CancelEndsTheBackoff) {
  service_.log().Script({.cut_after = 0});
  EventStreamOptions options = Options(0);
  options.sleep = nullptr;
  options.backoff = {.initial = absl::Hours(1), .max = absl::Hours(1)};
  absl::Notification interrupted;
  options.on_interruption = [&](const absl::Status&, absl::Duration) {
    interrupted.Notify();
  };
  EventStream& stream = Open(options);
  std::thread canceller([&] {
    interrupted.WaitForNotification();
    stream.Cancel();
  });
  EXPECT_EQ(stream.Next().status().code(), absl::StatusCode::kCancelled);
  canceller.join();
}

TEST_F(EventStreamTest, AReaderThatDoesNotReadMakesTheServerWait) {
  BusyControl service;
  FakeServer server(service);
  EventStream idle(server.InProcessChannel(), Options(0));
  service.AwaitWritten(0, Inbox::kMaxBatches);
  // While another reader got everything, this one's server has written no more:
  // within a process a write ends when it is read.
  EventStream busy(server.InProcessChannel(), Options(0));
  EXPECT_EQ(Read(busy, BusyControl::kEvents), Range(1, BusyControl::kEvents));
  EXPECT_LE(service.written(0), Inbox::kMaxBatches + 1);
  EXPECT_EQ(Read(idle, BusyControl::kEvents), Range(1, BusyControl::kEvents));
  EXPECT_THAT(interruptions_, IsEmpty());
}

TEST_F(EventStreamTest, NextAndNextBatchGoTogether) {
  Append(30);
  service_.log().Script({.batch_size = 10});
  EventStream& stream = Open(0);
  EXPECT_EQ(Read(stream, 3), Range(1, 3));
  const auto rest = stream.NextBatch();
  ASSERT_TRUE(rest.ok());
  EXPECT_THAT(*rest, SizeIs(7));
  EXPECT_EQ(rest->front()->sequence(), 4u);
  EXPECT_EQ(Read(stream, 20), Range(11, 30));
}

TEST_F(EventStreamTest, ForEachEndsWhenTheReaderHasEnough) {
  Append(100);
  size_t seen = 0;
  const absl::Status status = Open(0).ForEach([&](auto events) {
    seen += events.size();
    return seen < 100;
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(seen, 100u);
}

TEST_F(EventStreamTest, LeavesNoStreamBehind) {
  Append(10);
  for (int i = 0; i < 20; ++i) Read(Open(0), i % 10);
  stream_.reset();
  service_.log().AwaitStreams(0);
}

}  // namespace
}  // namespace understudy::client
