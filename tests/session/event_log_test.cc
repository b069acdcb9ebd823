// What an event log makes of what is added to it, and when readers see it. How
// they wait, fall behind and end is in event_log_readers_test.cc, the seam
// between stored and live events in event_log_seam_test.cc.

#include "session/event_log.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/base/utf8.h"
#include "session/event_codec.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_log.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Result = EventLog::Cursor::Result;

class EventLogTest : public testing::Test {
 protected:
  Reading FromStart(bool deltas = false, bool raw = false) {
    return Reading(*log_,
                   {.after = 0, .include_deltas = deltas, .include_raw = raw});
  }
  Reading FromNow(bool deltas = false) {
    return Reading(*log_, {.after = {}, .include_deltas = deltas});
  }

  const std::unique_ptr<Store> store_ = *OpenStore("memory:");
  StoredLog log_{*store_};
};

// ---- Persist, then publish ----

TEST_F(EventLogTest, NothingIsVisibleBeforeItIsPublished) {
  Reading reader = FromStart(/*deltas=*/true);
  EXPECT_EQ(log_.Say("1"), 1u);
  log_.Delta("a");
  EXPECT_EQ(log_->added(), 1u);
  EXPECT_EQ(log_->taken(), 0u);
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_->Flush();
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_.Save();
  EXPECT_EQ(log_->taken(), 1u);
  EXPECT_EQ(log_->newest_sequence(), 0u);
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_->Publish(1);
  EXPECT_EQ(log_->newest_sequence(), 1u);
  EXPECT_THAT(reader.All(), ElementsAre("1", "~a"));
}

TEST_F(EventLogTest, PublishesNoFurtherThanTheStoreHasCome) {
  Reading reader = FromStart(/*deltas=*/true);
  log_.Say("1");
  log_.Delta("a");
  log_.Say("2");
  log_.Delta("b");
  log_->Publish(1);
  EXPECT_THAT(reader.All(), ElementsAre("1", "~a"));
  log_->Publish(2);
  EXPECT_THAT(reader.All(), ElementsAre("2", "~b"));
}

TEST_F(EventLogTest, DeltasThatWaitForNothingAreFlushed) {
  Reading reader = FromStart(/*deltas=*/true);
  log_.SayAndCommit(1);
  log_.Delta("a");
  EXPECT_THAT(reader.All(), ElementsAre("1"));
  log_->Flush();
  EXPECT_THAT(reader.All(), ElementsAre("~a"));
  log_.Delta("b");
  log_.Say("2");
  log_.Delta("c");
  log_->Flush();
  EXPECT_THAT(reader.All(), ElementsAre("~b"));
}

TEST_F(EventLogTest, TakesWhatWasAddedSinceTheLastTime) {
  Append append;
  EXPECT_FALSE(log_->Take(append));
  EXPECT_EQ(append.base_sequence, 0u);
  log_.Say("1", "raw 1");
  log_.Delta("a");
  log_.Say("2");
  EXPECT_TRUE(log_->Take(append));
  EXPECT_EQ(append.base_sequence, 0u);
  ASSERT_THAT(append.events, SizeIs(2));
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(std::string(append.events[0].bytes)));
  EXPECT_EQ(event.message().text(), "1");
  EXPECT_EQ(event.sequence(), 1u);
  EXPECT_FALSE(append.events[0].raw.empty());
  EXPECT_TRUE(append.events[1].raw.empty());

  Append next;
  EXPECT_FALSE(log_->Take(next));
  EXPECT_EQ(next.base_sequence, 2u);
  log_.Say("3");
  EXPECT_TRUE(log_->Take(next));
  EXPECT_EQ(next.base_sequence, 2u);
  EXPECT_THAT(next.events, SizeIs(1));
}

TEST_F(EventLogTest, WhatWasTakenStaysWhereItIsUntilItIsPublished) {
  for (int i = 0; i < 100; ++i) log_.Say(std::to_string(i), "the line");
  Append append;
  ASSERT_TRUE(log_->Take(append));
  std::vector<std::string> before;
  for (const Append::EventView& event : append.events) {
    before.emplace_back(event.bytes);
    before.emplace_back(event.raw);
  }
  for (int i = 0; i < 5000; ++i) {
    log_.Say("more", "another line");
    log_.Delta("delta");
  }
  std::vector<std::string> after;
  for (const Append::EventView& event : append.events) {
    after.emplace_back(event.bytes);
    after.emplace_back(event.raw);
  }
  EXPECT_EQ(before, after);
}

TEST_F(EventLogTest, WhatIsRevokedIsNeverSeenAndItsNumbersAreGivenAgain) {
  Reading reader = FromStart(/*deltas=*/true);
  log_.Say("1");
  log_.Commit();
  log_.Say("2");
  log_.Delta("before");
  log_.Commit();
  log_.Say("not this");
  log_.Say("nor this", "with its line");
  Append refused;
  ASSERT_TRUE(log_->Take(refused));
  log_->Revoke(2);
  EXPECT_EQ(log_->added(), 2u);
  EXPECT_EQ(log_->taken(), 2u);
  EXPECT_EQ(log_.Say("3"), 3u);
  log_.Delta("behind");
  log_.Commit();
  EXPECT_THAT(reader.All(), ElementsAre("1", "2", "~before", "3", "~behind"));
  EXPECT_EQ(log_->unpublished_bytes(), 0u);
  EXPECT_THAT(FromStart().All(), ElementsAre("1", "2", "3"));
}

TEST_F(EventLogTest, WhatWasTakenOutlivesTheLogsOwner) {
  auto log = std::make_shared<EventLog>(EventLog::Options{}, *store_);
  v1::Event event;
  event.mutable_message()->set_text("hello");
  log->Add(event, {}, "line");
  Append append;
  ASSERT_TRUE(log->Take(append));
  log = nullptr;
  ASSERT_TRUE(event.ParseFromString(std::string(append.events[0].bytes)));
  EXPECT_EQ(event.message().text(), "hello");
}

TEST_F(EventLogTest, CountsTheBytesThatWaitToBePublished) {
  EXPECT_EQ(log_->unpublished_bytes(), 0u);
  log_.Say(std::string(1000, 'x'), std::string(500, 'r'));
  log_.Delta(std::string(100, 'd'));
  EXPECT_GE(log_->unpublished_bytes(), 1600u);
  log_.Commit();
  EXPECT_EQ(log_->unpublished_bytes(), 0u);
}

// ---- What an event has ----

TEST_F(EventLogTest, StampsTheEnvelopeOfAnEvent) {
  StoredLog next(*store_);  // the second owner
  v1::Event event;
  event.mutable_notice()->set_message("hello");
  next->Add(event, {.turn_id = "turn",
                    .agent_session_id = "conversation",
                    .incarnation = 3,
                    .time = absl::FromUnixMillis(1'500),
                    .synthetic = true});
  next.Commit();
  Reading reader(*next, {.after = 0});
  ASSERT_EQ(reader.Next(), Result::kEvents);
  const v1::Event got = reader.Take()[0];
  EXPECT_EQ(got.session_id(), StoredLog::kSessionId);
  EXPECT_EQ(got.sequence(), 1u);
  EXPECT_EQ(got.after_sequence(), 0u);
  EXPECT_EQ(got.epoch(), 2u);
  EXPECT_EQ(got.incarnation(), 3u);
  EXPECT_EQ(got.turn_id(), "turn");
  EXPECT_EQ(got.agent_session_id(), "conversation");
  EXPECT_EQ(got.time().seconds(), 1);
  EXPECT_EQ(got.time().nanos(), 500'000'000);
  EXPECT_TRUE(got.synthetic());
  EXPECT_EQ(got.notice().message(), "hello");
}

TEST_F(EventLogTest, ADeltaHasItsTurnAndTheEventBeforeIt) {
  Reading reader = FromStart(/*deltas=*/true);
  log_.SayAndCommit(2);
  log_->AddDelta(DeltaKind::kText, "turn-1", "", "a", "");
  log_->AddDelta(DeltaKind::kThought, "turn-2", "", "b", "");
  log_->AddDelta(DeltaKind::kToolOutput, "turn-2", "call", "c", "");
  log_.SayAndCommit(1);
  log_->AddDelta(DeltaKind::kText, "turn-2", "", "d", "");
  log_->Flush();
  ASSERT_EQ(reader.Next(), Result::kEvents);
  const std::vector<v1::Event> events = reader.Take();
  ASSERT_THAT(events, SizeIs(7));
  for (const int i : {2, 3, 4, 6}) {
    EXPECT_EQ(events[i].session_id(), StoredLog::kSessionId);
    EXPECT_EQ(events[i].sequence(), 0u);
    EXPECT_EQ(events[i].after_sequence(), i == 6 ? 3u : 2u);
    EXPECT_EQ(events[i].turn_id(), i == 2 ? "turn-1" : "turn-2");
  }
  EXPECT_EQ(events[2].text_delta().text(), "a");
  EXPECT_EQ(events[3].thought_delta().text(), "b");
  EXPECT_EQ(events[4].tool_output_delta().tool_call_id(), "call");
  EXPECT_EQ(events[4].tool_output_delta().text(), "c");
  EXPECT_EQ(events[6].text_delta().text(), "d");
}

TEST_F(EventLogTest, ReadersWhoDidNotAskForDeltasGetNone) {
  Reading with = FromStart(/*deltas=*/true);
  Reading without = FromStart();
  log_.SayAndCommit(1);
  for (int i = 0; i < 3; ++i) log_.Delta("a");
  log_->Flush();
  log_.SayAndCommit(2);
  EXPECT_THAT(with.All(), ElementsAre("1", "~a", "~a", "~a", "2", "3"));
  EXPECT_THAT(without.All(), ElementsAre("1", "2", "3"));
}

TEST_F(EventLogTest, AMessageBeyondTheBoundComesInParts) {
  Reading reader = FromStart(/*deltas=*/false, /*raw=*/true);
  const std::string text(3 * kMaxFieldBytes + 7, 'x');
  EXPECT_EQ(log_.Say(text, "the line"), 4u);
  log_.Commit();
  std::string joined;
  int part = 0;
  while (reader.Next() == Result::kEvents) {
    for (const v1::Event& event : reader.Take()) {
      EXPECT_LE(event.ByteSizeLong(), 3u << 20);
      EXPECT_EQ(event.message().part(), ++part);
      EXPECT_EQ(event.sequence(), static_cast<uint64_t>(part));
      EXPECT_EQ(event.message().last_part(), part == 4);
      // The line that makes several events is with the first.
      EXPECT_EQ(event.raw(), part == 1 ? "the line" : "");
      joined += event.message().text();
    }
  }
  EXPECT_EQ(part, 4);
  EXPECT_TRUE(joined == text);
}

TEST_F(EventLogTest, ADeltaBeyondTheBoundComesAsSeveral) {
  Reading reader = FromStart(/*deltas=*/true);
  std::string text = "x";
  while (text.size() < 2 * kMaxFieldBytes) text += "\u20ac";
  log_.Delta(text);
  log_->Flush();
  std::string joined;
  while (reader.Next() == Result::kEvents) {
    for (const v1::Event& event : reader.Take()) {
      EXPECT_TRUE(IsValidUtf8(event.text_delta().text()));
      EXPECT_LE(event.ByteSizeLong(), 3u << 20);
      joined += event.text_delta().text();
    }
  }
  EXPECT_TRUE(joined == text);
}

// ---- The agent's own line ----

TEST_F(EventLogTest, GivesTheAgentsLineToWhomAskedForIt) {
  Reading with = FromStart(/*deltas=*/true, /*raw=*/true);
  Reading without = FromStart(/*deltas=*/true);
  log_.Say("1", "line 1");
  log_.Say("2");
  log_.Commit();
  log_.Delta("a", "line a");
  log_->Flush();
  ASSERT_EQ(with.Next(), Result::kEvents);
  std::vector<std::string> lines;
  for (const v1::Event& event : with.Take()) lines.push_back(event.raw());
  EXPECT_THAT(lines, ElementsAre("line 1", "", "line a"));
  ASSERT_EQ(without.Next(), Result::kEvents);
  for (const v1::Event& event : without.Take()) EXPECT_EQ(event.raw(), "");
}

TEST_F(EventLogTest, GivesTheAgentsLineFromTheStoreToo) {
  log_.Say("1", "line 1");
  log_.Commit();
  log_->ReleaseWindow();
  Reading with = FromStart(/*deltas=*/false, /*raw=*/true);
  Reading without = FromStart();
  ASSERT_THAT(with.ReadStored(), IsOk());
  EXPECT_EQ(with.Take()[0].raw(), "line 1");
  ASSERT_THAT(without.ReadStored(), IsOk());
  EXPECT_EQ(without.Take()[0].raw(), "");
}

TEST_F(EventLogTest, SaysHowMuchOfALongLineIsMissing) {
  const std::string line(kMaxFieldBytes + 5, 'r');
  log_.Say("1", line);
  log_.Commit();
  Reading live = FromStart(/*deltas=*/true, /*raw=*/true);
  log_.Delta("a", line);
  log_->Flush();
  ASSERT_EQ(live.Next(8 << 20), Result::kEvents);
  std::vector<v1::Event> events = live.Take();
  log_->ReleaseWindow();
  Reading stored = FromStart(/*deltas=*/false, /*raw=*/true);
  ASSERT_THAT(stored.ReadStored(), IsOk());
  events.push_back(stored.Take()[0]);
  ASSERT_THAT(events, SizeIs(3));
  for (const v1::Event& event : events) {
    EXPECT_EQ(event.raw().size(), kMaxFieldBytes);
    EXPECT_EQ(event.truncated_bytes(), 5u);
  }
  // To whom it is not shown it is not missing.
  Reading without = FromStart();
  ASSERT_THAT(without.ReadStored(), IsOk());
  EXPECT_EQ(without.Take()[0].truncated_bytes(), 0u);
}

TEST_F(EventLogTest, WhatTheSchemaDoesNotKnowAlwaysHasItsLine) {
  v1::Event event;
  event.mutable_unknown()->set_type("new_thing");
  log_.Add(event, "{\"type\":\"new_thing\"}");
  log_.Add(event, std::string(kMaxFieldBytes + 5, 'r'));
  log_.Commit();
  for (const bool raw : {false, true}) {
    Reading live = FromStart(/*deltas=*/true, raw);
    ASSERT_EQ(live.Next(8 << 20), Result::kEvents);
    const std::vector<v1::Event> events = live.Take();
    ASSERT_THAT(events, SizeIs(2));
    EXPECT_EQ(events[0].unknown().type(), "new_thing");
    EXPECT_EQ(events[0].raw(), "{\"type\":\"new_thing\"}");
    EXPECT_EQ(events[1].raw().size(), kMaxFieldBytes);
    EXPECT_EQ(events[1].truncated_bytes(), 5u);
  }
  log_->ReleaseWindow();
  Reading stored = FromStart();
  ASSERT_THAT(stored.ReadStored(8 << 20), IsOk());
  EXPECT_EQ(stored.Take()[0].raw(), "{\"type\":\"new_thing\"}");
}

// ---- Subscribing ----

TEST_F(EventLogTest, FromNowOnIsFromNowOn) {
  log_.SayAndCommit(2);
  log_.Delta("a");
  log_->Flush();
  Reading reader = FromNow(/*deltas=*/true);
  EXPECT_EQ(reader->position(), 2u);
  EXPECT_EQ(reader.Next(), Result::kEmpty);
  log_.Delta("b");
  log_->Flush();
  log_.SayAndCommit(1);
  EXPECT_THAT(reader.All(), ElementsAre("~b", "3"));
}

TEST_F(EventLogTest, AReaderThatHasAllGetsDeltasFromWhenItSubscribes) {
  log_.SayAndCommit(1);
  log_.Delta("a");
  log_->Flush();
  Reading reader(*log_, {.after = 1, .include_deltas = true});
  log_.Delta("b");
  log_->Flush();
  EXPECT_THAT(reader.All(), ElementsAre("~b"));
}

TEST_F(EventLogTest, GoesOnAfterAnySequence) {
  log_.SayAndCommit(5);
  for (uint64_t after = 0; after <= 5; ++after) {
    Reading reader(*log_, {.after = after});
    EXPECT_EQ(reader->position(), after);
    EXPECT_THAT(reader.All(), SizeIs(5 - after));
    EXPECT_EQ(reader->position(), 5u);
  }
}

TEST_F(EventLogTest, TheFutureCannotBeSubscribedTo) {
  log_.SayAndCommit(2);
  log_.Say("3");
  log_.Save();
  const auto cursor = log_->Subscribe({.after = 3}, [] {});
  EXPECT_THAT(cursor.status(), HasReason(Reason::kSequenceOutOfRange));
  EXPECT_TRUE(absl::IsOutOfRange(cursor.status()));
  EXPECT_EQ(MetadataOf(cursor.status())["newest_sequence"], "2");
}

TEST_F(EventLogTest, ANewOwnerGoesOnWithTheNumbers) {
  log_.SayAndCommit(3);
  StoredLog next(*store_);
  EXPECT_EQ(next->newest_sequence(), 3u);
  EXPECT_EQ(next->added(), 3u);
  Reading all(*next, {.after = 0});
  Reading newest(*next, {.after = 3});
  EXPECT_EQ(all.Next(), Result::kBehind);
  EXPECT_EQ(newest.Next(), Result::kEmpty);
  next.SayAndCommit(1);
  EXPECT_THAT(all.All(), ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(newest.All(), ElementsAre("4"));
}

}  // namespace
}  // namespace understudy::session
