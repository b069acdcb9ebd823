#include "client/cpp/inbox.h"

#include <cstdint>
#include <memory>
#include <thread>
#include <variant>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace understudy::client {
namespace {

using Flow = AttachStream::Flow;

std::unique_ptr<BatchBuffer> Batch(uint64_t sequence) {
  auto buffer = std::make_unique<BatchBuffer>();
  buffer->batch.add_events()->set_sequence(sequence);
  return buffer;
}

uint64_t SequenceOf(const Inbox::Item& item) {
  return std::get<std::unique_ptr<BatchBuffer>>(item)
      ->batch.events(0)
      .sequence();
}

TEST(InboxTest, PausesTheStreamWhenTooManyBatchesWait) {
  Inbox inbox;
  for (size_t i = 1; i < Inbox::kMaxBatches; ++i) {
    auto buffer = Batch(i);
    EXPECT_EQ(inbox.OnBatch(buffer), Flow::kContinue);
  }
  auto buffer = Batch(Inbox::kMaxBatches);
  EXPECT_EQ(inbox.OnBatch(buffer), Flow::kPause);
}

TEST(InboxTest, PausesTheStreamWhenTooManyBytesWait) {
  Inbox inbox;
  auto buffer = Batch(1);
  buffer->bytes = Inbox::kMaxBytes - 1;
  EXPECT_EQ(inbox.OnBatch(buffer), Flow::kContinue);
  buffer = Batch(2);
  buffer->bytes = 1;
  EXPECT_EQ(inbox.OnBatch(buffer), Flow::kPause);
}

TEST(InboxTest, ForgetsWhatWaitsWhenItIsCleared) {
  Inbox inbox;
  auto buffer = Batch(1);
  buffer->bytes = Inbox::kMaxBytes;
  EXPECT_EQ(inbox.OnBatch(buffer), Flow::kPause);
  inbox.Clear();
  EXPECT_FALSE(inbox.Take(absl::InfinitePast(), nullptr).has_value());
  buffer = Batch(2);
  EXPECT_EQ(inbox.OnBatch(buffer), Flow::kContinue);
}

TEST(InboxTest, GivesItemsInTheOrderInWhichTheyCame) {
  Inbox inbox;
  inbox.OnSubscribed({});
  auto buffer = Batch(1);
  inbox.OnBatch(buffer);
  buffer = Batch(2);
  inbox.OnBatch(buffer);
  inbox.OnDone(absl::OkStatus());
  const auto take = [&] { return *inbox.Take(absl::InfinitePast(), nullptr); };
  EXPECT_TRUE(std::holds_alternative<v1::Subscribed>(take()));
  EXPECT_EQ(SequenceOf(take()), 1u);
  EXPECT_EQ(SequenceOf(take()), 2u);
  EXPECT_TRUE(std::holds_alternative<Inbox::Done>(take()));
  EXPECT_FALSE(inbox.Take(absl::InfinitePast(), nullptr).has_value());
}

TEST(InboxTest, LetsABatchThatWasReadBeFilledAgain) {
  Inbox inbox;
  auto read = Batch(1);
  BatchBuffer* const address = read.get();
  inbox.Recycle(std::move(read));
  auto buffer = Batch(2);
  inbox.OnBatch(buffer);
  EXPECT_EQ(buffer.get(), address);
}

TEST(InboxTest, HoldsOneProgressForAReaderThatStaysAway) {
  Inbox inbox;
  v1::Progress progress;
  for (int i = 1; i <= 100; ++i) {
    progress.set_sequence(i);
    inbox.OnProgress(progress);
  }
  const auto item = inbox.Take(absl::InfinitePast(), nullptr);
  EXPECT_EQ(std::get<v1::Progress>(*item).sequence(), 100u);
  EXPECT_FALSE(inbox.Take(absl::InfinitePast(), nullptr).has_value());
}

TEST(InboxTest, CancelWakesTheReaderWithNothing) {
  Inbox inbox;
  std::thread canceller([&] { inbox.Cancel(); });
  EXPECT_FALSE(inbox.Take(absl::InfiniteFuture(), nullptr).has_value());
  canceller.join();
}

}  // namespace
}  // namespace understudy::client
