// How readers of an event log wait, fall behind, miss something and end, and
// what that costs.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/event_codec.h"
#include "session/event_log.h"
#include "tests/fakes/faulty_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_log.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Result = EventLog::Cursor::Result;

class EventLogReadersTest : public testing::Test {
 protected:
  static constexpr size_t kWindow = 1 << 20;

  const std::unique_ptr<Store> memory_ = *OpenStore("memory:");
  FaultyStore store_{*memory_};
  StoredLog log_{store_, kWindow};
};

// ---- Waiting ----

TEST_F(EventLogReadersTest, AReaderIsWokenOnceForEachTimeItFoundNothing) {
  Reading reader(*log_, {.after = 0});
  log_.SayAndCommit(1);
  EXPECT_EQ(reader.wakes(), 0);  // it has not been told that there is nothing
  EXPECT_EQ(reader.Next(), Result::kEvents);
  log_.SayAndCommit(1);
  EXPECT_EQ(reader.wakes(), 0);
  EXPECT_EQ(reader.Next(), Result::kEvents);
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_.Say("3");
  log_.Save();
  EXPECT_EQ(reader.wakes(), 0);
  log_->Publish(3);
  EXPECT_EQ(reader.wakes(), 1);
  log_.SayAndCommit(5);
  EXPECT_EQ(reader.wakes(), 1);
  EXPECT_EQ(reader.Next(), Result::kEvents);
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_->Close(MakeError(Reason::kDraining, "stopping"));
  EXPECT_EQ(reader.wakes(), 2);
}

TEST_F(EventLogReadersTest, DeltasWakeOnlyThoseWhoWantThem) {
  Reading with(*log_, {.after = 0, .include_deltas = true});
  Reading without(*log_, {.after = 0});
  EXPECT_EQ(with.Next(), Result::kEmpty);
  EXPECT_EQ(without.Next(), Result::kEmpty);
  log_.Delta("a");
  log_->Flush();
  EXPECT_EQ(with.wakes(), 1);
  EXPECT_EQ(without.wakes(), 0);
  log_.SayAndCommit(1);
  EXPECT_EQ(with.wakes(), 1);
  EXPECT_EQ(without.wakes(), 1);
}

TEST_F(EventLogReadersTest, AWakeMayUseTheLog) {
  std::unique_ptr<EventLog::Cursor> cursor;
  uint64_t seen = 0;
  cursor = *log_->Subscribe({.after = 0}, [&] {
    EventLog::Batch batch;
    EXPECT_EQ(cursor->Next(1 << 20, batch), Result::kEvents);
    seen = log_->newest_sequence();
    // A stream that ends because of what it got.
    cursor = nullptr;
  });
  EventLog::Batch batch;
  EXPECT_EQ(cursor->Next(1 << 20, batch), Result::kEmpty);
  log_.SayAndCommit(1);
  EXPECT_EQ(seen, 1u);
  EXPECT_EQ(cursor, nullptr);
}

TEST_F(EventLogReadersTest, AReaderThatHasGoneIsNotWoken) {
  auto reader =
      std::make_unique<Reading>(*log_, EventLog::ReaderOptions{.after = 0});
  Reading other(*log_, {.after = 0});
  EXPECT_EQ(reader->Next(), Result::kEmpty);
  EXPECT_EQ(other.Next(), Result::kEmpty);
  reader = nullptr;
  log_.SayAndCommit(1);
  EXPECT_EQ(other.wakes(), 1);
}

TEST_F(EventLogReadersTest, ABatchEndsWhereItIsLargeEnough) {
  for (int i = 0; i < 100; ++i) {
    log_.Say(std::string(1000, 'x'));
    log_.Delta(std::string(1000, 'd'));
  }
  log_.Commit();
  log_->Flush();
  for (const bool deltas : {false, true}) {
    Reading reader(*log_, {.after = 0, .include_deltas = deltas});
    size_t events = 0;
    while (reader.Next(5000) == Result::kEvents) {
      const size_t got = reader.Take().size();
      EXPECT_LE(got, 5u);
      EXPECT_GE(got, deltas ? 1u : 2u);
      events += got;
    }
    EXPECT_EQ(events, deltas ? 200u : 100u);
    // At least one event, however little is asked for.
    Reading stingy(*log_, {.after = 0, .include_deltas = deltas});
    EXPECT_EQ(stingy.Next(1), Result::kEvents);
    EXPECT_THAT(stingy.Take(), SizeIs(1));
  }
}

// ---- Ending ----

TEST_F(EventLogReadersTest, AReaderGetsWhatIsPublishedBeforeTheEnd) {
  Reading reader(*log_, {.after = 0});
  log_.SayAndCommit(2);
  log_.Say("3");
  log_->Close(MakeError(Reason::kSessionNotFound, "deleted"));
  log_->Close(MakeError(Reason::kDraining, "too late"));
  EXPECT_THAT(reader.All(), ElementsAre("1", "2"));
  EXPECT_EQ(reader.Next(), Result::kClosed);
  EXPECT_EQ(reader.Next(), Result::kClosed);
  EXPECT_THAT(reader->end(), HasReason(Reason::kSessionNotFound));
  Reading late(*log_, {.after = 1});
  EXPECT_THAT(late.All(), ElementsAre("2"));
  EXPECT_EQ(late.Next(), Result::kClosed);
}

TEST_F(EventLogReadersTest, AReaderThatIsBehindTheEndReadsUpToIt) {
  log_.SayAndCommit(3);
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 0});
  log_->Close(MakeError(Reason::kDraining, "stopping"));
  EXPECT_THAT(reader.All(), ElementsAre("1", "2", "3"));
  EXPECT_EQ(reader.Next(), Result::kClosed);
}

TEST_F(EventLogReadersTest, ACursorKeepsTheLogItReads) {
  auto log = std::make_unique<StoredLog>(store_);
  log->SayAndCommit(1);
  Reading reader(**log, {.after = 0});
  Reading batch_of(**log, {.after = 0});
  EventLog::Batch batch;
  ASSERT_EQ(batch_of->Next(1 << 20, batch), Result::kEvents);
  log = nullptr;
  EXPECT_THAT(reader.All(), ElementsAre("1"));
  EXPECT_EQ(batch.slices[0].bytes.size(), batch.bytes);
}

// ---- Falling behind ----

TEST_F(EventLogReadersTest, GoesOnFromTheStoreWhenTheWindowIsReleased) {
  log_.SayAndCommit(3);
  Reading fresh(*log_, {.after = 0});
  Reading half(*log_, {.after = 1});
  Reading up_to_date(*log_, {.after = 0});
  EXPECT_THAT(up_to_date.All(), SizeIs(3));
  EXPECT_EQ(half.Next(1), Result::kEvents);
  log_->ReleaseWindow();
  EXPECT_EQ(fresh.Next(), Result::kBehind);
  EXPECT_EQ(half.Next(), Result::kBehind);
  EXPECT_EQ(up_to_date.Next(), Result::kEmpty);
  log_.SayAndCommit(2);
  EXPECT_EQ(up_to_date.wakes(), 2);
  EXPECT_THAT(fresh.All(), ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_THAT(half.All(), ElementsAre("2", "3", "4", "5"));
  EXPECT_THAT(up_to_date.All(), ElementsAre("4", "5"));
}

TEST_F(EventLogReadersTest, TheWindowStaysWhileSomethingWaitsToBePublished) {
  log_.SayAndCommit(1);
  log_.Say("2");
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 0});
  EXPECT_THAT(reader.All(), ElementsAre("1"));
  log_.Commit();
  EXPECT_THAT(reader.All(), ElementsAre("2"));
}

TEST_F(EventLogReadersTest, WhatIsStoredButNotPublishedIsNotReadFromTheStore) {
  log_.SayAndCommit(3);
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 0});
  EXPECT_EQ(reader.Next(), Result::kBehind);
  log_.Say("4");
  log_.Save();
  EXPECT_THAT(reader.ReadStored(), IsOk());
  EXPECT_THAT(reader.Take(), SizeIs(3));
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_->Publish(4);
  EXPECT_THAT(reader.All(), ElementsAre("4"));
}

TEST_F(EventLogReadersTest, E4_ASlowReaderCostsNoMoreThanTheWindow) {
  Reading slow(*log_, {.after = 0, .include_deltas = true});
  Reading fast(*log_, {.after = 0, .include_deltas = true});
  size_t fast_events = 0;
  const std::string text(10'000, 'x');
  for (int i = 0; i < 500; ++i) {
    log_.Say(text);
    log_.Delta(text);
    log_.Commit();
    fast_events += fast.All().size();
  }
  // Others do not notice.
  EXPECT_EQ(fast_events, 1000u);
  EXPECT_EQ(slow.Next(), Result::kBehind);
  // What is still there to be read live is bounded.
  size_t window_bytes = 0;
  for (uint64_t after = 500; after-- > 0;) {
    Reading reader(*log_, {.after = after, .include_deltas = true});
    EventLog::Batch batch;
    if (reader->Next(100 << 20, batch) != Result::kEvents) break;
    window_bytes = batch.bytes;
  }
  EXPECT_LE(window_bytes, kWindow);
  EXPECT_GE(window_bytes, kWindow / 2);
  // It loses deltas, and nothing else.
  size_t durable = 0;
  for (const std::string& event : slow.All()) durable += event[0] != '~';
  EXPECT_EQ(durable, 500u);
}

// A few bytes of an event can come of a long line.
TEST_F(EventLogReadersTest, TheLinesOfTheAgentCountForTheWindow) {
  const std::string line(100'000, 'r');
  for (int i = 0; i < 100; ++i) {
    log_.Say("x", line);
    log_.Commit();
  }
  Reading behind(*log_, {.after = 80});
  EXPECT_EQ(behind.Next(), Result::kBehind);
  Reading live(*log_, {.after = 97});
  EXPECT_EQ(live.Next(), Result::kEvents);
}

TEST_F(EventLogReadersTest, TheNewestEventIsThereHoweverLongItIs) {
  StoredLog log(store_, /*max_window_bytes=*/10);
  Reading reader(*log, {.after = 0});
  log.SayAndCommit(1);
  EXPECT_EQ(reader.Next(), Result::kEvents);
}

// ---- Missing something ----

TEST_F(EventLogReadersTest, WhatIsNoLongerRetainedIsAGap) {
  log_.SayAndCommit(6);
  log_.Save(/*oldest=*/4);
  log_->Trim(4);
  EXPECT_EQ(log_->oldest_sequence(), 4u);
  Reading from_start(*log_, {.after = 0});
  EXPECT_THAT(from_start.All(), ElementsAre("gap(1-3)", "4", "5", "6"));
  Reading from_two(*log_, {.after = 2});
  ASSERT_EQ(from_two.Next(), Result::kEvents);
  const v1::Event gap = from_two.Take()[0];
  EXPECT_EQ(gap.session_id(), StoredLog::kSessionId);
  EXPECT_EQ(gap.sequence(), 0u);
  EXPECT_EQ(gap.after_sequence(), 2u);
  EXPECT_TRUE(gap.synthetic());
  EXPECT_EQ(gap.gap().missing_from(), 3u);
  EXPECT_EQ(gap.gap().missing_to(), 3u);
  Reading from_three(*log_, {.after = 3});
  EXPECT_THAT(from_three.All(), ElementsAre("4", "5", "6"));
  log_->Trim(2);
  EXPECT_EQ(log_->oldest_sequence(), 4u);
}

TEST_F(EventLogReadersTest, ANewOwnerKnowsWhatIsNoLongerRetained) {
  log_.SayAndCommit(3);
  log_.Save(/*oldest=*/3);
  StoredLog next(store_);
  EXPECT_EQ(next->oldest_sequence(), 3u);
  Reading reader(*next, {.after = 0});
  EXPECT_THAT(reader.All(), ElementsAre("gap(1-2)", "3"));
}

TEST_F(EventLogReadersTest, WhatIsTrimmedWhileAReaderIsBehindIsAGap) {
  log_.SayAndCommit(6);
  Reading reader(*log_, {.after = 0});
  EXPECT_EQ(reader.Next(1), Result::kEvents);
  log_->ReleaseWindow();
  EXPECT_EQ(reader.Next(), Result::kBehind);
  log_.Save(/*oldest=*/4);
  log_->Trim(4);
  EXPECT_THAT(reader.ReadStored(), IsOk());
  EXPECT_THAT(reader.All(), ElementsAre("1", "gap(2-3)", "4", "5", "6"));
}

TEST_F(EventLogReadersTest, WhatIsTrimmedWhileTheStoreIsReadIsAGap) {
  log_.SayAndCommit(6);
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 1});
  EXPECT_EQ(reader.Next(), Result::kBehind);
  // The store is ahead of what the log has been told.
  log_.Save(/*oldest=*/4);
  EXPECT_THAT(reader.ReadStored(), IsOk());
  EXPECT_THAT(reader.All(), ElementsAre("gap(2-3)", "4", "5", "6"));
}

TEST_F(EventLogReadersTest, AllMayBeTrimmedWhileTheStoreIsRead) {
  log_.SayAndCommit(3);
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 1});
  EXPECT_EQ(reader.Next(), Result::kBehind);
  log_.Save(/*oldest=*/4);
  EXPECT_THAT(reader.ReadStored(), IsOk());
  EXPECT_THAT(reader.All(), ElementsAre("gap(2-3)"));
  log_->Trim(4);
  log_.SayAndCommit(1);
  EXPECT_THAT(reader.All(), ElementsAre("4"));
  Reading late(*log_, {.after = 0});
  EXPECT_THAT(late.All(), ElementsAre("gap(1-3)", "4"));
}

TEST_F(EventLogReadersTest, AStoreThatCannotBeReadIsSaidAndTriedAgain) {
  log_.SayAndCommit(2);
  log_->ReleaseWindow();
  Reading reader(*log_, {.after = 0});
  EXPECT_EQ(reader.Next(), Result::kBehind);
  store_.FailOthers(1, MakeError(Reason::kStoreUnavailable, "away"));
  EXPECT_THAT(reader.ReadStored(), HasReason(Reason::kStoreUnavailable));
  EXPECT_THAT(reader.All(), ElementsAre("1", "2"));
}

TEST_F(EventLogReadersTest, AStoreThatHasLostEventsIsCorrupt) {
  const std::unique_ptr<Store> empty = *OpenStore("memory:");
  StoredLog create(*empty);
  auto log = std::make_shared<EventLog>(
      EventLog::Options{.session_id = StoredLog::kSessionId,
                        .newest_sequence = 3},
      *empty);
  Reading reader(*log, {.after = 0});
  EXPECT_EQ(reader.Next(), Result::kBehind);
  EXPECT_THAT(reader.ReadStored(), HasReason(Reason::kStoreCorrupt));
}

}  // namespace
}  // namespace understudy::session
