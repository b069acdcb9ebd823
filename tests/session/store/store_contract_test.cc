// What every store promises of appends, the fence and records.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/store/store.h"
#include "tests/support/appends.h"
#include "tests/support/each_store.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using StoreContractTest = EachStoreTest;
TEST_WITH_EACH_STORE(StoreContractTest);

TEST_P(StoreContractTest, NamesItsKind) {
  EXPECT_EQ(store().kind(), GetParam());
}

// ---- Creating ----

TEST_P(StoreContractTest, ACreatedSessionIsThereWithItsEvents) {
  Append creation = CreationOf(RecordOf(kA), {"one", "two"});
  creation.epoch = 7;
  ASSERT_THAT(Write(std::move(creation)), IsOk());

  EXPECT_EQ(Bounds(kA), "1 to 2 in epoch 7");
  EXPECT_EQ(store().Get(kA)->record.session_id(), kA);
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one", "two"));
}

TEST_P(StoreContractTest, ASessionWithoutEventsRetainsNone) {
  Create(kA);
  EXPECT_EQ(Bounds(kA), "1 to 0 in epoch 1");
  EXPECT_THAT(TextsAfter(store(), kA, 0), IsEmpty());
}

TEST_P(StoreContractTest, CreatingASessionTwiceIsRefusedAndChangesNothing) {
  Create(kA, {"one"});
  SessionRecord other = RecordOf(kA);
  other.set_model("another");
  EXPECT_THAT(Write(CreationOf(other, {"two"})),
              HasReason(Reason::kSessionExists));
  EXPECT_EQ(store().Get(kA)->record.model(), "");
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one"));
}

TEST_P(StoreContractTest, WhatDoesNotExistIsNotFound) {
  Create(kA);
  EXPECT_THAT(store().Get(kB).status(), HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(store().Acquire(kB).status(),
              HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(store().ReadEvents(kB, 0, 1, 1).status(),
              HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(Write(ChangeOf(kB, 1, 0, {"one"})),
              HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(Write(DeletionOf(kB, 1, 0)), HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(store().Get(kB).status(), HasReason(Reason::kSessionNotFound));
}

// ---- Changing, and the fence ----

TEST_P(StoreContractTest, EventsAreDenseAndInTheOrderOfWriting) {
  Create(kA, {"1"});
  uint64_t newest = 1;
  Texts all = {"1"};
  for (int size : {1, 3, 1, 16, 2}) {
    Texts texts;
    for (int i = 0; i < size; ++i) {
      texts.push_back(absl::StrCat(newest + 1 + i));
      all.push_back(texts.back());
    }
    ASSERT_THAT(Write(ChangeOf(kA, 1, newest, texts)), IsOk());
    newest += size;
  }
  EXPECT_EQ(TextsAfter(store(), kA, 0), all);
  EXPECT_EQ(Bounds(kA), "1 to 24 in epoch 1");
}

TEST_P(StoreContractTest, AnAppendOfAnotherEpochIsFenced) {
  Create(kA, {"one"});
  EXPECT_THAT(Write(ChangeOf(kA, 2, 1, {"two"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(Write(ChangeOf(kA, 0, 1, {"two"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one"));
}

TEST_P(StoreContractTest, AnAppendAfterAnotherSequenceIsFenced) {
  Create(kA, {"one"});
  EXPECT_THAT(Write(ChangeOf(kA, 1, 0, {"two"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(Write(ChangeOf(kA, 1, 2, {"two"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one"));
}

TEST_P(StoreContractTest, ARepeatedAppendIsFenced) {
  Create(kA);
  ASSERT_THAT(Write(ChangeOf(kA, 1, 0, {"one"})), IsOk());
  EXPECT_THAT(Write(ChangeOf(kA, 1, 0, {"one"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one"));
}

TEST_P(StoreContractTest, AFencedAppendWritesNothingOfItself) {
  Create(kA, {"one", "two"});
  Append late = ChangeOf(kA, 1, 1, {"three"});
  SessionRecord record = RecordOf(kA);
  record.set_model("another");
  record.add_processes(7);
  late.record = std::make_shared<SessionRecord>(record);
  late.requests = {RequestOf(kA, "r1"), RequestOf("", "r2")};
  late.oldest_sequence = 2;
  EXPECT_THAT(Write(std::move(late)), HasReason(Reason::kSessionFenced));
  EXPECT_THAT(Write(DeletionOf(kA, 1, 1)), HasReason(Reason::kSessionFenced));

  EXPECT_EQ(Bounds(kA), "1 to 2 in epoch 1");
  EXPECT_EQ(store().Get(kA)->record.model(), "");
  EXPECT_THAT(*store().Unfinished(), IsEmpty());
  EXPECT_THAT(RequestIds(kA), IsEmpty());
  EXPECT_THAT(RequestIds(""), IsEmpty());
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one", "two"));
}

TEST_P(StoreContractTest, AcquiringFencesWhoeverHadTheSession) {
  Create(kA, {"one"});
  const absl::StatusOr<StoredSession> taken = store().Acquire(kA);
  ASSERT_THAT(taken.status(), IsOk());
  EXPECT_EQ(taken->epoch, 2u);
  EXPECT_EQ(taken->newest_sequence, 1u);
  EXPECT_EQ(taken->record.session_id(), kA);

  EXPECT_THAT(Write(ChangeOf(kA, 1, 1, {"late"})),
              HasReason(Reason::kSessionFenced));
  EXPECT_THAT(Write(ChangeOf(kA, 2, 1, {"two"})), IsOk());
  EXPECT_EQ(store().Acquire(kA)->epoch, 3u);
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("one", "two"));
}

TEST_P(StoreContractTest, ARefusedAppendDoesNotAbortTheOthersOfItsCommit) {
  Create(kA);
  Create(kB);
  const std::vector<Append> appends = {
      ChangeOf(kA, 1, 0, {"a1"}),          ChangeOf(kB, 9, 0, {"never"}),
      CreationOf(RecordOf(kA), {"never"}), ChangeOf("nowhere", 1, 0, {"never"}),
      CreationOf(RecordOf(kC), {"c1"}),    ChangeOf(kA, 1, 1, {"a2"}),
      ChangeOf(kA, 1, 1, {"never"}),       ChangeOf(kB, 1, 0, {"b1"}),
  };
  EXPECT_THAT(store().Write(appends),
              ElementsAre(IsOk(), HasReason(Reason::kSessionFenced),
                          HasReason(Reason::kSessionExists),
                          HasReason(Reason::kSessionNotFound), IsOk(), IsOk(),
                          HasReason(Reason::kSessionFenced), IsOk()));
  EXPECT_THAT(TextsAfter(store(), kA, 0), ElementsAre("a1", "a2"));
  EXPECT_THAT(TextsAfter(store(), kB, 0), ElementsAre("b1"));
  EXPECT_THAT(TextsAfter(store(), kC, 0), ElementsAre("c1"));
}

TEST_P(StoreContractTest, WritingNothingIsAnsweredWithNothing) {
  EXPECT_THAT(store().Write({}), IsEmpty());
}

// ---- The record ----

TEST_P(StoreContractTest, AChangeReplacesTheRecordOnlyIfItHasOne) {
  Create(kA);
  SessionRecord record = RecordOf(kA);
  record.set_model("model-2");
  Append change = ChangeOf(kA, 1, 0);
  change.record = std::make_shared<SessionRecord>(record);
  ASSERT_THAT(Write(std::move(change)), IsOk());
  ASSERT_THAT(Write(ChangeOf(kA, 1, 0, {"one"})), IsOk());
  EXPECT_EQ(store().Get(kA)->record.model(), "model-2");
}

TEST_P(StoreContractTest, ARecordKeepsFieldsOfANewerServer) {
  SessionRecord record = RecordOf(kA);
  record.set_model_override("m");
  (*record.mutable_labels())["team"] = "blue";
  record.add_open_turns()->set_turn_id("t1");
  record.set_unproven_from("");
  google::protobuf::UnknownFieldSet& unknown =
      *record.GetReflection()->MutableUnknownFields(&record);
  unknown.AddVarint(900, 42);
  unknown.AddLengthDelimited(901, std::string("\0\xff", 2));
  ASSERT_THAT(Write(CreationOf(record)), IsOk());

  const SessionRecord stored = store().Get(kA)->record;
  EXPECT_EQ(stored.SerializeAsString(), record.SerializeAsString());
  EXPECT_EQ(stored.GetReflection()->GetUnknownFields(stored).field_count(), 2);
}

TEST_P(StoreContractTest, UnfinishedSessionsAreThoseWithATurnOrAProcess) {
  Create(kA);
  SessionRecord turn = RecordOf(kB);
  turn.add_open_turns()->set_turn_id("t1");
  SessionRecord process = RecordOf(kC);
  process.add_processes(4711);
  ASSERT_THAT(Write(CreationOf(turn)), IsOk());
  ASSERT_THAT(Write(CreationOf(process)), IsOk());
  EXPECT_THAT(*store().Unfinished(), UnorderedElementsAre(kB, kC));

  Append finished = ChangeOf(kB, 1, 0, {"completed"});
  finished.record = std::make_shared<SessionRecord>(RecordOf(kB));
  Append begun = ChangeOf(kA, 1, 0, {"accepted"});
  SessionRecord record = RecordOf(kA);
  record.add_open_turns()->set_turn_id("t2");
  begun.record = std::make_shared<SessionRecord>(record);
  ASSERT_THAT(WriteAll({finished, begun}), ElementsAre(IsOk(), IsOk()));
  EXPECT_THAT(*store().Unfinished(), UnorderedElementsAre(kA, kC));
}

TEST_P(StoreContractTest, AConversationFindsTheOtherSessionThatIsInIt) {
  SessionRecord record = RecordOf(kA);
  record.set_agent_session_id("conversation");
  ASSERT_THAT(Write(CreationOf(record)), IsOk());
  Create(kB);
  Store& s = store();
  EXPECT_EQ(*s.FindByConversation("default", "conversation", kB), kA);
  EXPECT_EQ(*s.FindByConversation("default", "conversation", ""), kA);
  EXPECT_EQ(*s.FindByConversation("default", "conversation", kA),
            std::nullopt);
  EXPECT_EQ(*s.FindByConversation("other", "conversation", ""),
            std::nullopt);
  EXPECT_EQ(*s.FindByConversation("default", "other", ""),
            std::nullopt);
  // Sessions that have no conversation yet do not share one.
  EXPECT_EQ(*s.FindByConversation("default", "", ""), std::nullopt);
}

TEST_P(StoreContractTest, AConversationIsFoundOnlyWhileItIsTheCurrentOne) {
  SessionRecord record = RecordOf(kA);
  record.set_agent_session_id("first");
  ASSERT_THAT(Write(CreationOf(record)), IsOk());
  record.set_agent_session_id("second");
  Append change = ChangeOf(kA, 1, 0);
  change.record = std::make_shared<SessionRecord>(record);
  ASSERT_THAT(Write(std::move(change)), IsOk());
  EXPECT_EQ(*store().FindByConversation("default", "first", ""),
            std::nullopt);
  EXPECT_EQ(*store().FindByConversation("default", "second", ""), kA);
  ASSERT_THAT(Write(DeletionOf(kA, 1, 0)), IsOk());
  EXPECT_EQ(*store().FindByConversation("default", "second", ""),
            std::nullopt);
}

// ---- Threads ----

TEST_P(StoreContractTest, ReadersBesideAWriterSeeWholeCommitsInOrder) {
  Create(kA);
  std::atomic<bool> done = false;
  std::atomic<int> reads = 0;
  std::vector<std::string> wrong(8);
  std::vector<std::thread> readers;
  for (std::string& fault : wrong) {
    readers.emplace_back([this, &done, &reads, &fault] {
      uint64_t seen = 0;
      while (!done && fault.empty()) {
        const absl::StatusOr<StoredSession> session = store().Get(kA);
        const Texts texts = TextsAfter(store(), kA, seen);
        ++reads;
        if (!session.ok()) {
          fault = session.status().ToString();
        } else if (session->record.incarnation() * 3 !=
                   session->newest_sequence) {
          fault = "a record and its events are of two commits";
        } else if (session->newest_sequence > seen + texts.size()) {
          fault = "events that were there are missing";
        } else if ((seen + texts.size()) % 3 != 0) {
          fault = "half a commit";
        }
        for (const std::string& text : texts) {
          if (text != absl::StrCat(++seen)) fault = text;
        }
      }
    });
  }
  // Until the readers have had a fair share.
  uint64_t newest = 0;
  for (uint64_t i = 1; i <= 200 || reads < 100; ++i) {
    Append append =
        ChangeOf(kA, 1, newest,
                 {absl::StrCat(newest + 1), absl::StrCat(newest + 2),
                  absl::StrCat(newest + 3)});
    SessionRecord record = RecordOf(kA);
    record.set_incarnation(i);
    append.record = std::make_shared<SessionRecord>(record);
    ASSERT_THAT(Write(std::move(append)), IsOk());
    newest += 3;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_THAT(wrong, ::testing::Each(IsEmpty()));
}

TEST_P(StoreContractTest, WritesFromManyThreadsAreFencedFromEachOther) {
  Create(kA);
  std::atomic<int> accepted = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([this, &accepted] {
      for (int j = 0; j < 50; ++j) {
        const absl::StatusOr<StoredSession> session = store().Get(kA);
        if (!session.ok()) return;
        const absl::Status status = Write(
            ChangeOf(kA, session->epoch, session->newest_sequence, {"x"}));
        if (status.ok()) ++accepted;
        if (j % 10 == 0) store().Acquire(kA).IgnoreError();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_GT(accepted, 0);
  EXPECT_THAT(TextsAfter(store(), kA, 0), SizeIs(accepted.load()));
}

// ---- Opening ----

TEST(OpenStoreTest, RefusesWhatItDoesNotKnow) {
  for (const char* url : {"", "sqlite", "/path", "postgre://x", "SQLITE:/x",
                          ":memory:", "memory:x", "sqlite:"}) {
    EXPECT_THAT(OpenStore(url).status(), HasReason(Reason::kFieldInvalid))
        << url;
  }
}

TEST(OpenStoreTest, DoesNotRepeatWhatMayBeAPassword) {
  const absl::Status status = OpenStore("mysql://user:secret@host/db").status();
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(::testing::HasSubstr("mysql"),
                               ::testing::HasSubstr("sqlite"),
                               ::testing::Not(::testing::HasSubstr("secret"))));
}

}  // namespace
}  // namespace understudy::session
