// Events by age and by number: which go, who sees it, and what stays.

#include "session/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "tests/session/session_fixture.h"
#include "tests/support/stored_log.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(RetentionTest, ByNumberATenthGoesAtOnce) {
  EXPECT_EQ(OldestByNumber(1, 5000, 0), 1u);
  EXPECT_EQ(OldestByNumber(1, 1000, 1000), 1u);
  EXPECT_EQ(OldestByNumber(1, 1001, 1000), 102u);  // 900 are left
  EXPECT_EQ(OldestByNumber(102, 1101, 1000), 102u);
  EXPECT_EQ(OldestByNumber(102, 1102, 1000), 203u);
  EXPECT_EQ(OldestByNumber(1, 2, 1), 2u);
  EXPECT_EQ(OldestByNumber(6, 5, 10), 6u);  // there are none
}

TEST(RetentionTest, FindsTheFirstEventThatIsYoungEnough) {
  const std::unique_ptr<Store> store = *OpenStore("memory:");
  const absl::Time begin = absl::FromUnixSeconds(1700000000);
  SessionRecord record;
  record.set_session_id(StoredLog::kSessionId);
  Append append;
  append.kind = Append::Kind::kCreate;
  append.session_id = record.session_id();
  append.epoch = 1;
  append.record = std::make_shared<SessionRecord>(record);
  std::vector<std::string> events;
  for (int i = 0; i < 100; ++i) {
    v1::Event event;
    event.set_sequence(i + 1);
    *event.mutable_time() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
            absl::ToUnixNanos(begin + absl::Minutes(i)));
    events.push_back(event.SerializeAsString());
  }
  for (const std::string& event : events) append.events.push_back({event, {}});
  ASSERT_TRUE(store->Write({&append, 1}).front().ok());

  for (int i = 0; i <= 100; ++i) {
    const auto page = FindOverdue(
        *store, {.not_before = begin + absl::Minutes(i) - absl::Seconds(1)},
        "");
    ASSERT_TRUE(page.ok());
    if (i == 0) {
      EXPECT_THAT(page->sessions, IsEmpty());
      continue;
    }
    ASSERT_THAT(page->sessions, SizeIs(1));
    EXPECT_EQ(page->sessions.front().keep_from, static_cast<uint64_t>(i + 1));
    EXPECT_EQ(page->sessions.front().newest_sequence, 100u);
  }
}

class RetainingTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kMaxEvents = 20;

  void Retain(absl::Duration max_age, uint64_t max_events) {
    engine.options.event_max_age = max_age;
    engine.options.event_max_count = max_events;
    engine.Restart();
  }

  std::shared_ptr<EventLog> Log(const std::string& session) {
    std::shared_ptr<EventLog> log;
    engine.manager->OpenLog(
        {}, session, [&log](absl::StatusOr<std::shared_ptr<EventLog>> opened) {
          log = *opened;
        });
    engine.Run();
    return log;
  }

  // What a reader gets from the start: gap, and the events after it.
  std::vector<v1::Event> Read(const std::string& session) {
    const std::shared_ptr<EventLog> log = Log(session);
    Reading reader(*log, {.after = 0});
    std::vector<v1::Event> events;
    while (true) {
      const auto result = reader.Next();
      if (result == EventLog::Cursor::Result::kBehind) {
        EXPECT_TRUE(reader.ReadStored().ok());
      } else if (result != EventLog::Cursor::Result::kEvents) {
        return events;
      }
      for (v1::Event& event : reader.Take()) events.push_back(std::move(event));
    }
  }

  Engine engine;
};

TEST_F(RetainingTest, E2_ByNumberAReaderBehindGetsAGapThenTheOldest) {
  Retain(absl::InfiniteDuration(), kMaxEvents);
  const std::string s = engine.Create();
  for (int i = 0; i < 30; ++i) {
    engine.Send(s, "hello");
    const SessionInfo info = engine.Info(s);
    EXPECT_LE(info.newest_sequence + 1 - info.oldest_sequence, kMaxEvents);
    EXPECT_THAT(engine.Events(s),
                SizeIs(info.newest_sequence + 1 - info.oldest_sequence));
  }
  const SessionInfo info = engine.Info(s);
  EXPECT_GT(info.oldest_sequence, 1u);
  const std::vector<v1::Event> events = Read(s);
  ASSERT_TRUE(events.front().has_gap());
  EXPECT_EQ(events.front().gap().missing_from(), 1u);
  EXPECT_EQ(events.front().gap().missing_to(), info.oldest_sequence - 1);
  for (size_t i = 1; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence(), info.oldest_sequence + i - 1);
  }
  EXPECT_EQ(events.back().sequence(), info.newest_sequence);
}

TEST_F(RetainingTest, ByNumberASessionThatIsNotUsedIsTrimmedAtTheStart) {
  const std::string s = engine.Create();
  for (int i = 0; i < 30; ++i) engine.Send(s, "hello");
  engine.loop.Advance(absl::Hours(1));  // its agent is given back
  Retain(absl::InfiniteDuration(), kMaxEvents);
  EXPECT_THAT(engine.Events(s), SizeIs(18));
  EXPECT_EQ(engine.Info(s).state, SessionState::kDormant);
}

TEST_F(RetainingTest, E2_ByAgeOpenAndDormantSessionsAreTrimmed) {
  Retain(absl::Hours(10), 0);
  const std::string open = engine.Create();
  const std::string dormant = engine.Create();
  engine.Send(open, "old");
  engine.Send(dormant, "old");
  const uint64_t old = engine.Info(open).newest_sequence;
  const std::shared_ptr<EventLog> log = Log(open);  // it stays in memory
  engine.loop.Advance(absl::Hours(6));
  EXPECT_EQ(engine.Info(open).oldest_sequence, 1u);
  engine.Send(open, "young");
  const int started = engine.world.started;
  engine.loop.Advance(absl::Hours(5) + absl::Minutes(30));
  EXPECT_EQ(engine.world.started, started);
  // Its agent was given back after a while, which is an event too.
  EXPECT_EQ(engine.Info(open).oldest_sequence, old + 2);
  EXPECT_TRUE(Read(open).front().has_gap());

  EXPECT_THAT(engine.Events(dormant), IsEmpty());
  EXPECT_EQ(engine.Info(dormant).oldest_sequence,
            engine.Info(dormant).newest_sequence + 1);
  EXPECT_THAT(Read(dormant), SizeIs(1));
  // It goes on where it was.
  const uint64_t newest = engine.Info(dormant).newest_sequence;
  const Pending<SendResult> sent = engine.SendAndWait(dormant, "again");
  ASSERT_TRUE(sent.status().ok()) << sent.status();
  EXPECT_EQ(sent->sequence, newest + 1);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(RetainingTest, ATurnWhoseEndIsGoneIsNotWaitedFor) {
  Retain(absl::Hours(1), 0);
  const std::string s = engine.Create();
  constexpr char kRequest[] = "0190aaaa-0000-4000-8000-000000000002";
  const Pending<SendResult> sent = engine.Send(s, "hello", {}, kRequest);
  ASSERT_TRUE(sent.status().ok());
  engine.loop.Advance(absl::Hours(3));
  EXPECT_THAT(engine.Events(s), IsEmpty());
  Pending<SendResult> again;
  engine.manager->SendMessage(
      {.request_id = kRequest, .fingerprint = s + "hello-"},
      {.session_id = s, .text = "hello", .wait_completed = true},
      again.reply());
  engine.Run();
  EXPECT_EQ(ReasonOf(again.status()), Reason::kSequenceOutOfRange);
  EXPECT_THAT(std::string(again.status().message()),
              HasSubstr("no longer retained"));
  EXPECT_THAT(engine.world.deliveries, SizeIs(1));
}

TEST_F(RetainingTest, E3_ATurnThatRunsAndItsRequestOutliveTheirEvents) {
  Retain(absl::Hours(1), 0);
  const std::string s = engine.Create();
  engine.world.decide = AskingOnce();
  const Pending<SendResult> sent = engine.SendAndWait(s, "use a tool");
  engine.loop.Advance(absl::Hours(3));
  EXPECT_THAT(engine.Events(s), IsEmpty());
  const SessionInfo info = engine.Info(s);
  EXPECT_EQ(info.state, SessionState::kRunning);
  ASSERT_THAT(info.pending_permission_ids, SizeIs(1));
  const std::vector<v1::Event> events = Read(s);
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_TRUE(events[0].has_gap());
  EXPECT_EQ(events[1].permission_requested().permission_id(),
            info.pending_permission_ids.front());
  EXPECT_EQ(events[1].turn_id(), info.running_turn_id);
  EXPECT_EQ(events[1].sequence(), 0u);

  EXPECT_TRUE(engine
                  .Resolve(s, info.pending_permission_ids.front(),
                           v1::PERMISSION_DECISION_ALLOW)
                  .status()
                  .ok());
  EXPECT_TRUE(sent.status().ok()) << sent.status();
  for (const v1::Event& event : Read(s)) {
    EXPECT_FALSE(event.has_permission_requested());
  }
}

TEST_F(RetainingTest, AStoreThatCannotBeReadIsTriedAgainLater) {
  Retain(absl::Hours(1), 0);
  const std::string s = engine.Create();
  engine.Send(s, "hello");
  engine.loop.Advance(absl::Minutes(50));
  engine.store.FailOthers(4, MakeError(Reason::kStoreUnavailable, "down"));
  engine.loop.Advance(absl::Hours(3));
  EXPECT_THAT(engine.Events(s), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
