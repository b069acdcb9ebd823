#include "session/committer.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_blocking.h"
#include "tests/fakes/fake_loop.h"
#include "tests/fakes/faulty_store.h"
#include "tests/support/appends.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

absl::Status Down() { return MakeError(Reason::kStoreUnavailable, "down"); }

class CommitterTest : public testing::Test {
 protected:
  CommitterTest() {
    for (const char* id : {"a", "b"}) {
      EXPECT_THAT(WriteOne(*memory_, CreationOf(RecordOf(id))), IsOk());
    }
  }

  // Its answer goes to answers_ as "<name>: OK" or "<name>: <reason>".
  void Write(std::string name, Append append) {
    const auto on_failure = append.kind == Append::Kind::kCreate
                                ? Committer::OnFailure::kGiveUp
                                : Committer::OnFailure::kTryAgain;
    Write(std::move(name), on_failure, std::move(append));
  }
  void Write(std::string name, Committer::OnFailure on_failure, Append append) {
    committer_->Write(
        std::move(append), on_failure,
        [this, name = std::move(name)](absl::Status status) {
          EXPECT_TRUE(loop_.OnLoop());
          const std::optional<Reason> reason = ReasonOf(status);
          answers_.push_back(absl::StrCat(name, ": ",
                                          reason.has_value()
                                              ? std::string(ReasonName(*reason))
                                              : status.ToString()));
          if (then_) then_(name);
        });
  }

  // Writes one event to a session.
  void Say(const std::string& session, uint64_t base, const std::string& text) {
    Write(text, ChangeOf(session, 1, base, {text}));
  }

  FakeLoop loop_;
  FakeBlocking committing_{loop_};
  const std::unique_ptr<Store> memory_ = *OpenStore("memory:");
  FaultyStore store_{*memory_};
  std::unique_ptr<Committer> committer_ =
      std::make_unique<Committer>(loop_, committing_, store_);
  std::vector<std::string> answers_;
  std::function<void(const std::string&)> then_;
};

TEST_F(CommitterTest, AnswersWhenItIsDurableAndNotBefore) {
  committing_.Hold();
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, IsEmpty());
  EXPECT_FALSE(committer_->idle());
  committing_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
  EXPECT_TRUE(committer_->idle());
}

TEST_F(CommitterTest, WhatMayBeGivenUpIsAnsweredWithTheFailure) {
  store_.FailWrites(1, Down());
  Write("one", Committer::OnFailure::kGiveUp, ChangeOf("a", 1, 0, {"one"}));
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: STORE_UNAVAILABLE"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), IsEmpty());
  // Nothing is being tried: that is no reason to refuse what comes.
  EXPECT_TRUE(committer_->health().ok());
  Say("a", 0, "two");
  loop_.RunUntilIdle();
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("two"));
}

TEST_F(CommitterTest, WhatMayHaveBeenWrittenIsNotGivenUpBeforeThatIsKnown) {
  store_.FailWrites(1, MakeError(Reason::kStoreUnavailable, "away",
                                 {{"outcome", "unknown"}}));
  Write("one", Committer::OnFailure::kGiveUp, ChangeOf("a", 1, 0, {"one"}));
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, IsEmpty());
  EXPECT_FALSE(committer_->health().ok());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
}

TEST_F(CommitterTest, TakesTogetherWhatHasCollectedDuringTheCommitBefore) {
  committing_.Hold();
  Say("a", 0, "one");
  Say("b", 0, "two");
  Say("a", 1, "three");
  EXPECT_EQ(committing_.waiting(), 1u);
  EXPECT_TRUE(committing_.ReleaseOne());
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
  EXPECT_EQ(committing_.waiting(), 1u);
  committing_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: OK", "two: OK", "three: OK"));
  EXPECT_THAT(store_.write_sizes(), ElementsAre(1, 2));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one", "three"));
}

TEST_F(CommitterTest, KeepsTheOrderHoweverMuchThereIs) {
  constexpr int kWrites = 2000;
  committing_.Hold();
  for (int i = 0; i < kWrites; ++i) Say("a", i, absl::StrCat(i));
  committing_.Release();
  loop_.RunUntilIdle();
  ASSERT_THAT(answers_, SizeIs(kWrites));
  const Texts texts = TextsAfter(*memory_, "a", 0);
  ASSERT_THAT(texts, SizeIs(kWrites));
  for (int i = 0; i < kWrites; ++i) {
    EXPECT_EQ(answers_[i], absl::StrCat(i, ": OK"));
    EXPECT_EQ(texts[i], absl::StrCat(i));
  }
  // In bounded groups, and not one by one.
  EXPECT_GT(store_.writes(), 2);
  EXPECT_LT(store_.writes(), 10);
}

TEST_F(CommitterTest, TheNextCommitBeginsBeforeTheAnswersAreGiven) {
  committing_.Hold();
  Say("a", 0, "one");
  Say("a", 1, "two");
  size_t waiting = 0;
  then_ = [&](const std::string& name) {
    if (name == "one") waiting = committing_.waiting();
  };
  committing_.ReleaseOne();
  loop_.RunUntilIdle();
  EXPECT_EQ(waiting, 1u);
}

TEST_F(CommitterTest, AnAnswerMayWriteAgain) {
  then_ = [&](const std::string& name) {
    if (name == "one") Say("a", 1, "two");
  };
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: OK", "two: OK"));
}

TEST_F(CommitterTest, WhatIsFencedOffConcernsItsSessionOnly) {
  ASSERT_THAT(memory_->Acquire("b").status(), IsOk());
  committing_.Hold();
  Say("a", 0, "one");
  Say("b", 0, "two");
  Say("a", 1, "three");
  Write("nobody", ChangeOf("c", 1, 0, {"four"}));
  committing_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("one: OK", "two: SESSION_FENCED",
                                    "three: OK", "nobody: SESSION_NOT_FOUND"));
  EXPECT_EQ(store_.writes(), 2);
  EXPECT_THAT(committer_->health(), IsOk());
}

// ---- A store in trouble ----

TEST_F(CommitterTest, TriesAgainUntilTheStoreWorks) {
  store_.FailWrites(5, Down());
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  EXPECT_THAT(committer_->health(), HasReason(Reason::kStoreUnavailable));
  Say("a", 1, "two");
  Say("b", 0, "three");
  loop_.RunUntilIdle();
  EXPECT_EQ(store_.writes(), 1);  // only when it is time
  const absl::Time before = loop_.Now();
  while (answers_.empty()) {
    EXPECT_FALSE(committer_->idle());
    ASSERT_TRUE(loop_.AdvanceToNextTimer());
  }
  EXPECT_EQ(store_.writes(), 6);
  EXPECT_THAT(answers_, ElementsAre("one: OK", "two: OK", "three: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one", "two"));
  EXPECT_THAT(committer_->health(), IsOk());
  // It waits longer each time.
  EXPECT_GT(loop_.Now() - before, absl::Milliseconds(500));
  EXPECT_LT(loop_.Now() - before, absl::Seconds(10));
}

TEST_F(CommitterTest, NeverWaitsLongAndStartsShortAgainAfterASuccess) {
  store_.FailWrites(20, Down());
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  absl::Duration first;
  absl::Duration longest;
  for (int attempt = 1; attempt <= 20; ++attempt) {
    const absl::Time before = loop_.Now();
    ASSERT_TRUE(loop_.AdvanceToNextTimer());
    const absl::Duration waited = loop_.Now() - before;
    if (attempt == 1) first = waited;
    EXPECT_GE(waited, longest);
    longest = waited;
  }
  EXPECT_LE(longest, absl::Seconds(5));
  ASSERT_THAT(answers_, SizeIs(1));
  store_.FailWrites(1, Down());
  Say("a", 1, "two");
  loop_.Advance(first);
  EXPECT_THAT(answers_, SizeIs(2));
}

TEST_F(CommitterTest, AFullStoreIsTriedAgainAsWell) {
  store_.FailWrites(2, MakeError(Reason::kStoreFull, "full"));
  Say("a", 0, "one");
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
}

TEST_F(CommitterTest, ACreationThatFailsFailsAtOnce) {
  store_.FailWrites(1, Down());
  committing_.Hold();
  Say("a", 0, "one");
  committing_.Release();
  committing_.Hold();
  Write("new", CreationOf(RecordOf("c")));
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, IsEmpty());
  store_.FailWrites(1, Down());
  committing_.Release();
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("new: STORE_UNAVAILABLE", "one: OK"));
  EXPECT_THAT(memory_->Get("c").status(), HasReason(Reason::kSessionNotFound));
}

TEST_F(CommitterTest, ARefusedCreationIsAnswered) {
  Write("again", CreationOf(RecordOf("a")));
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("again: SESSION_EXISTS"));
}

// ---- Commits whose answer was lost ----

TEST_F(CommitterTest, FindsOutThatALostAnswerWasYes) {
  store_.LoseAnswers(1);
  Say("a", 0, "one");
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
}

TEST_F(CommitterTest, FindsOutThatALostAnswerWasNo) {
  store_.FailWrites(1, MakeError(Reason::kStoreUnavailable, "away",
                                 {{"outcome", "unknown"}}));
  Say("a", 0, "one");
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("one: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
}

TEST_F(CommitterTest, FindsOutWhetherALostCreationWasMade) {
  store_.LoseAnswers(1);
  Write("made", CreationOf(RecordOf("c"), {"one"}));
  loop_.Advance(absl::Seconds(1));
  store_.FailWrites(1, MakeError(Reason::kStoreUnavailable, "away",
                                 {{"outcome", "unknown"}}));
  Write("not made", CreationOf(RecordOf("d"), {"one"}));
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("made: OK", "not made: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "d", 0), ElementsAre("one"));
}

TEST_F(CommitterTest, SomebodyElsesSessionIsNotTakenForItsOwnCreation) {
  store_.FailWrites(1, MakeError(Reason::kStoreUnavailable, "away",
                                 {{"outcome", "unknown"}}));
  SessionRecord record = RecordOf("a");
  record.set_tenant("another");
  Write("again", CreationOf(record));
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("again: SESSION_EXISTS"));
}

TEST_F(CommitterTest, ACreationIsNotGivenUpBecauseTheStoreCannotTell) {
  store_.LoseAnswers(1);
  store_.FailOthers(1, Down());
  Say("a", 0, "one");
  Write("new", CreationOf(RecordOf("c")));
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("one: OK", "new: OK"));
}

// A session does not wait for one write before the next.
TEST_F(CommitterTest, FindsOutAboutSeveralWritesOfOneSession) {
  committing_.Hold();
  Say("b", 0, "first");
  Say("a", 0, "one");
  Write("record", ChangeOf("a", 1, 1));
  Say("a", 1, "two");
  Say("a", 2, "three");
  committing_.ReleaseOne();
  loop_.RunUntilIdle();
  store_.LoseAnswers(3);
  committing_.Release();
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("first: OK", "one: OK", "record: OK",
                                    "two: OK", "three: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one", "two", "three"));
}

TEST_F(CommitterTest, FindsOutAboutADeletion) {
  committing_.Hold();
  Say("b", 0, "first");
  Say("a", 0, "one");
  Write("delete", DeletionOf("a", 1, 1));
  committing_.ReleaseOne();
  loop_.RunUntilIdle();
  store_.LoseAnswers(1);
  committing_.Release();
  loop_.Advance(absl::Seconds(10));
  ASSERT_THAT(answers_, SizeIs(3));
  EXPECT_EQ(answers_[2], "delete: OK");
}

TEST_F(CommitterTest, SomebodyElsesWriteIsNotTakenForItsOwn) {
  store_.FailWrites(1, Down());
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  ASSERT_THAT(memory_->Acquire("a").status(), IsOk());
  ASSERT_THAT(WriteOne(*memory_, ChangeOf("a", 2, 0, {"other"})), IsOk());
  loop_.Advance(absl::Seconds(1));
  EXPECT_THAT(answers_, ElementsAre("one: SESSION_FENCED"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("other"));
}

TEST_F(CommitterTest, ADeletionThatIsFencedOffHasNotHappened) {
  store_.FailWrites(1, Down());
  Write("delete", DeletionOf("a", 1, 0));
  loop_.RunUntilIdle();
  ASSERT_THAT(memory_->Acquire("a").status(), IsOk());
  // Nor is that known while the store cannot be asked.
  store_.FailOthers(1, Down());
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("delete: SESSION_FENCED"));
}

TEST_F(CommitterTest, AsksAgainWhenTheStoreCannotTell) {
  store_.LoseAnswers(1);
  store_.FailOthers(2, Down());
  Say("a", 0, "one");
  Say("b", 0, "two");
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, ElementsAre("one: OK", "two: OK"));
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
}

// ---- Its end ----

TEST_F(CommitterTest, WhatIsBeingWrittenWhenItEndsIsWrittenAndNotAnswered) {
  committing_.Hold();
  Say("a", 0, "one");
  Say("a", 1, "two");
  committer_ = nullptr;
  committing_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, IsEmpty());
  EXPECT_THAT(TextsAfter(*memory_, "a", 0), ElementsAre("one"));
}

TEST_F(CommitterTest, EndsWhileItWaitsForTheStore) {
  store_.FailWrites(1, Down());
  Say("a", 0, "one");
  loop_.RunUntilIdle();
  committer_ = nullptr;
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(answers_, IsEmpty());
  EXPECT_EQ(store_.writes(), 1);
}

TEST_F(CommitterTest, MayEndInsideAnAnswer) {
  committing_.Hold();
  Say("b", 0, "first");
  Say("a", 0, "one");
  Say("a", 1, "two");
  then_ = [&](const std::string& name) {
    if (name == "one") committer_ = nullptr;
  };
  committing_.Release();
  loop_.RunUntilIdle();
  EXPECT_THAT(answers_, ElementsAre("first: OK", "one: OK"));
}

}  // namespace
}  // namespace understudy::session
