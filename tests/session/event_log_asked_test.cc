// Permission requests that wait for an answer, as readers of the log get them
// who begin behind them.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/event_log.h"
#include "tests/support/stored_log.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Result = EventLog::Cursor::Result;

class EventLogAskedTest : public testing::Test {
 protected:
  uint64_t Ask(const std::string& id) {
    v1::Event event;
    event.mutable_permission_requested()->set_permission_id(id);
    event.mutable_permission_requested()->set_tool_name("Bash");
    return log_.Add(event, "{}");
  }
  uint64_t Settle(const std::string& id) {
    v1::Event event;
    event.mutable_permission_resolved()->set_permission_id(id);
    return log_.Add(event);
  }

  // What a new reader gets now: "?a@3" is a copy of the request a with
  // after_sequence 3, "a" the event itself, "!a" its end, "gap" and numbers.
  static std::vector<std::string> Told(Reading& reader) {
    std::vector<std::string> told;
    while (true) {
      const Result result = reader.Next();
      if (result == Result::kBehind) EXPECT_TRUE(reader.ReadStored().ok());
      for (const v1::Event& event : reader.Take()) told.push_back(Name(event));
      if (result != Result::kEvents && result != Result::kBehind) return told;
    }
  }
  std::vector<std::string> Subscribe(std::optional<uint64_t> after) {
    Reading reader(*log_, {.after = after});
    return Told(reader);
  }

  static std::string Name(const v1::Event& event) {
    if (event.has_gap()) return "gap";
    if (event.has_permission_resolved()) {
      return "!" + event.permission_resolved().permission_id();
    }
    if (!event.has_permission_requested()) {
      return std::to_string(event.sequence());
    }
    const std::string& id = event.permission_requested().permission_id();
    if (event.sequence() != 0) return id;
    return "?" + id + "@" + std::to_string(event.after_sequence());
  }

  const std::unique_ptr<Store> memory_ = *OpenStore("memory:");
  StoredLog log_{*memory_};
};

TEST_F(EventLogAskedTest, E3_WhoBeginsBehindARequestIsShownItFirst) {
  log_.Say("1");
  Ask("a");
  log_.Say("3");
  log_.Commit();
  EXPECT_THAT(Subscribe(std::nullopt), ElementsAre("?a@3"));
  EXPECT_THAT(Subscribe(3), ElementsAre("?a@3"));
  EXPECT_THAT(Subscribe(2), ElementsAre("?a@2", "3"));
  EXPECT_THAT(Subscribe(1), ElementsAre("a", "3"));
  EXPECT_THAT(Subscribe(0), ElementsAre("1", "a", "3"));
}

TEST_F(EventLogAskedTest, E3_TheCopyIsTheRequestAsItWas) {
  Ask("a");
  log_.Commit();
  Reading first(*log_, {.after = 0});
  EXPECT_EQ(first.Next(), Result::kEvents);
  v1::Event asked = first.Take().front();
  Reading second(*log_, {});
  EXPECT_EQ(second.Next(), Result::kEvents);
  const v1::Event copy = second.Take().front();
  asked.set_sequence(0);
  asked.set_after_sequence(1);
  EXPECT_EQ(copy.SerializeAsString(), asked.SerializeAsString());
  EXPECT_EQ(copy.turn_id(), StoredLog::kTurnId);
}

TEST_F(EventLogAskedTest, E3_ItIsShownOnceAndWhatFollowsIsDense) {
  Ask("a");
  Ask("b");
  log_.Commit();
  Reading reader(*log_, {});
  EXPECT_THAT(Told(reader), ElementsAre("?a@2", "?b@2"));
  log_.Say("3");
  Ask("c");
  Settle("a");
  log_.Commit();
  EXPECT_THAT(Told(reader), ElementsAre("3", "c", "!a"));
  EXPECT_THAT(Told(reader), IsEmpty());
}

TEST_F(EventLogAskedTest, E3_WhatIsSettledIsNotShown) {
  Ask("a");
  Ask("b");
  log_.Commit();
  // One that has begun before it was settled, and has not looked yet, either:
  // the answer comes by the log.
  Reading early(*log_, {});
  Settle("a");
  log_.Save();
  EXPECT_THAT(Subscribe(std::nullopt), ElementsAre("?a@2", "?b@2"))
      << "the answer is not stored yet";
  log_->Publish(3);
  EXPECT_THAT(Told(early), ElementsAre("?b@2", "!a"));
  EXPECT_THAT(Subscribe(2), ElementsAre("?b@2", "!a"));
  EXPECT_THAT(Subscribe(std::nullopt), ElementsAre("?b@3"));
  // Another process may use an id again.
  Ask("a");
  log_.Commit();
  EXPECT_THAT(Subscribe(std::nullopt), ElementsAre("?b@4", "?a@4"));
}

TEST_F(EventLogAskedTest, E3_ARequestThatIsNoLongerRetainedIsShown) {
  Ask("a");
  Settle("a");
  Ask("b");
  log_.Say("4");
  Ask("c");
  log_.Save(5);
  log_->Publish(5);
  log_->Trim(5);
  log_->ReleaseWindow();
  EXPECT_THAT(Subscribe(std::nullopt), ElementsAre("?b@5", "?c@5"));
  EXPECT_THAT(Subscribe(0), ElementsAre("gap", "?b@4", "c"));
  EXPECT_THAT(Subscribe(4), ElementsAre("?b@4", "c"));
}

TEST_F(EventLogAskedTest, E2_E3_WhoFallsBehindIsShownWhatWasInTheGapAlone) {
  Ask("a");
  log_.Commit();
  Reading reader(*log_, {.after = 0});
  EXPECT_THAT(Told(reader), ElementsAre("a"));
  Ask("b");
  log_.Say("3");
  log_.Say("4");
  log_.Save(4);
  log_->Publish(4);
  log_->Trim(4);
  log_->ReleaseWindow();
  EXPECT_THAT(Told(reader), ElementsAre("gap", "?b@3", "4"));
}

}  // namespace
}  // namespace understudy::session
