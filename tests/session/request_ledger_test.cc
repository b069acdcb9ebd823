#include "session/request_ledger.h"

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

constexpr char kSession[] = "s1";

RequestResult Sent(const std::string& turn_id) {
  RequestResult result;
  result.set_operation("SendMessage");
  result.mutable_sent()->set_turn_id(turn_id);
  return result;
}

class RequestLedgerTest : public testing::Test {
 protected:
  RequestLedgerTest() {
    EXPECT_THAT(WriteOne(*memory_, CreationOf(RecordOf(kSession))), IsOk());
  }

  // A call with this id and content, whose answers go to answers_.
  std::shared_ptr<Call> Admit(const std::string& request_id,
                              const std::string& content = "content") {
    ++calls_;
    return ledger_.Admit(
        calls_,
        {.tenant = "t", .request_id = request_id, .fingerprint = content},
        [this, call = calls_](absl::StatusOr<RequestResult> result) {
          answers_.emplace_back(call, std::move(result));
        });
  }

  // Does what the call asked for, as a session does: with a row.
  void Finish(const std::shared_ptr<Call>& call, const RequestResult& result) {
    Append append = ChangeOf(kSession, 1, 0);
    append.requests = ledger_.Row(*call, kSession, result);
    EXPECT_THAT(WriteOne(*memory_, std::move(append)), IsOk());
    ledger_.Finish(call, result);
  }

  // The answers so far: "1: turn-a", "2: REQUEST_ID_REUSED", ...
  std::vector<std::string> Answers() {
    loop_.RunUntilIdle();
    std::vector<std::string> texts;
    for (const auto& [call, result] : answers_) {
      std::string what;
      if (!result.ok()) {
        const std::optional<Reason> reason = ReasonOf(result.status());
        what = reason.has_value() ? ReasonName(*reason)
                                  : result.status().ToString();
      } else {
        what = result->sent().turn_id();
      }
      texts.push_back(absl::StrCat(call, ": ", what));
    }
    return texts;
  }

  FakeLoop loop_;
  FakeBlocking reading_{loop_};
  const std::unique_ptr<Store> memory_ = *OpenStore("memory:");
  FaultyStore store_{*memory_};
  RequestLedger ledger_{loop_, reading_, store_, kSession, {}};
  CallId calls_ = 0;
  std::vector<std::pair<CallId, absl::StatusOr<RequestResult>>> answers_;
};

TEST_F(RequestLedgerTest, ANewCallIsAdmittedAndAnsweredOnce) {
  const std::shared_ptr<Call> call = Admit("r1");
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->id, 1u);
  EXPECT_EQ(call->caller.tenant, "t");
  EXPECT_THAT(Answers(), IsEmpty());
  Finish(call, Sent("turn-a"));
  EXPECT_THAT(Answers(), ElementsAre("1: turn-a"));
  ledger_.Finish(call, Sent("turn-b"));
  ledger_.FinishAll(absl::AbortedError("gone"));
  EXPECT_THAT(Answers(), SizeIs(1));
}

TEST_F(RequestLedgerTest, ARepeatJoinsTheCallInFlight) {
  const std::shared_ptr<Call> call = Admit("r1");
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_THAT(Answers(), IsEmpty());
  Finish(call, Sent("turn-a"));
  EXPECT_THAT(Answers(), ElementsAre("1: turn-a", "2: turn-a", "3: turn-a"));
}

TEST_F(RequestLedgerTest, ARepeatJoinsTheCallWhileItsRowIsBeingWritten) {
  const std::shared_ptr<Call> call = Admit("r1");
  ledger_.Row(*call, kSession, Sent("turn-a"));
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_THAT(Answers(), IsEmpty());
  ledger_.Finish(call, Sent("turn-a"));
  EXPECT_THAT(Answers(), ElementsAre("1: turn-a", "2: turn-a"));
}

TEST_F(RequestLedgerTest, ALaterRepeatGetsTheFirstAnswerFromTheStore) {
  Finish(Admit("r1"), Sent("turn-a"));
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_THAT(Answers(), ElementsAre("1: turn-a", "2: turn-a"));
}

TEST_F(RequestLedgerTest, OtherContentUnderTheSameIdIsRefused) {
  const std::shared_ptr<Call> call = Admit("r1", "content");
  EXPECT_EQ(Admit("r1", "other"), nullptr);
  EXPECT_THAT(Answers(), ElementsAre("2: REQUEST_ID_REUSED"));
  Finish(call, Sent("turn-a"));
  EXPECT_EQ(Admit("r1", "other"), nullptr);
  EXPECT_THAT(Answers(), ElementsAre("2: REQUEST_ID_REUSED", "1: turn-a",
                                     "3: REQUEST_ID_REUSED"));
}

TEST_F(RequestLedgerTest, CallsWithoutAnIdHaveNothingToDoWithEachOther) {
  const std::shared_ptr<Call> first = Admit("");
  const std::shared_ptr<Call> second = Admit("");
  ASSERT_NE(second, nullptr);
  EXPECT_THAT(ledger_.Row(*first, kSession, Sent("a")), IsEmpty());
  ledger_.Finish(second, Sent("turn-b"));
  ledger_.Finish(first, Sent("turn-a"));
  EXPECT_THAT(Answers(), ElementsAre("2: turn-b", "1: turn-a"));
  EXPECT_NE(Admit(""), nullptr);
}

TEST_F(RequestLedgerTest, ACallThatFailedWithNothingDoneMayBeMadeAgain) {
  ledger_.Finish(Admit("r1"), MakeError(Reason::kNoSlot, "none"));
  const std::shared_ptr<Call> again = Admit("r1");
  ASSERT_NE(again, nullptr);
  Finish(again, Sent("turn-a"));
  EXPECT_THAT(Answers(), ElementsAre("1: NO_SLOT", "2: turn-a"));
}

TEST_F(RequestLedgerTest, ARowThatWasNotWrittenIsForgotten) {
  const std::shared_ptr<Call> call = Admit("r1");
  ledger_.Row(*call, kSession, Sent("turn-a"));
  ledger_.Forget(*call);
  ledger_.Finish(call, MakeError(Reason::kStoreFull, "full"));
  EXPECT_NE(Admit("r1"), nullptr);
}

TEST_F(RequestLedgerTest, AFailureThatIsRememberedIsTheSameFailureAgain) {
  const absl::Status why =
      MakeError(Reason::kAgentStartFailed, "start claude: exited 1",
                {{"exit_code", "1"}}, absl::Seconds(2));
  Finish(Admit("r1"), FailedResult(why));
  Admit("r1");
  Answers();
  ASSERT_THAT(answers_, SizeIs(2));
  EXPECT_EQ(answers_[1].second.status(), why);
  EXPECT_EQ(RetryAfterOf(answers_[1].second.status()), absl::Seconds(2));
}

TEST_F(RequestLedgerTest, ADamagedFailureSaysSo) {
  RequestResult result;
  result.mutable_failed()->set_status("\xff\xff");
  EXPECT_THAT(FailureOf(result), HasReason(Reason::kStoreCorrupt));
}

TEST_F(RequestLedgerTest, KnowsTheIdsOfItsPredecessor) {
  Finish(Admit("r1"), Sent("turn-a"));
  RequestLedger next(loop_, reading_, store_, kSession,
                     *store_.RequestIds(kSession));
  std::vector<std::string> turns;
  const auto answer = [&turns](absl::StatusOr<RequestResult> result) {
    turns.push_back(result->sent().turn_id());
  };
  const Caller caller{
      .tenant = "t", .request_id = "r1", .fingerprint = "content"};
  EXPECT_EQ(next.Admit(0, caller, answer), nullptr);
  loop_.RunUntilIdle();
  EXPECT_THAT(turns, ElementsAre("turn-a"));
}

TEST_F(RequestLedgerTest, LearnsIdsLater) {
  Append append = ChangeOf(kSession, 1, 0);
  append.requests = {RequestOf(kSession, "r1")};
  append.requests[0].fingerprint = "content";
  ASSERT_THAT(WriteOne(*memory_, std::move(append)), IsOk());
  ledger_.Know({"r1"});
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_THAT(Answers(), ElementsAre("1: r1"));
}

TEST_F(RequestLedgerTest, AnIdWhoseAnswerIsForgottenCannotBeUsedAgain) {
  ledger_.Know({"r1"});
  EXPECT_EQ(Admit("r1"), nullptr);
  EXPECT_THAT(Answers(), ElementsAre("1: REQUEST_ID_REUSED"));
}

TEST_F(RequestLedgerTest, AStoreThatCannotBeReadIsTheAnswerToARepeat) {
  Finish(Admit("r1"), Sent("turn-a"));
  store_.FailOthers(1, MakeError(Reason::kStoreUnavailable, "away"));
  Admit("r1");
  EXPECT_THAT(Answers(), ElementsAre("1: turn-a", "2: STORE_UNAVAILABLE"));
  Admit("r1");
  EXPECT_THAT(Answers(), SizeIs(3));
  EXPECT_THAT(answers_[2].second.status(), IsOk());
}

TEST_F(RequestLedgerTest, WhoStillWaitsIsToldWhenTheSessionIsNoMore) {
  const std::shared_ptr<Call> first = Admit("r1");
  Admit("r1");
  Admit("r2");
  ledger_.FinishAll(MakeError(Reason::kSessionNotFound, "deleted"));
  EXPECT_THAT(Answers(), testing::UnorderedElementsAre("1: SESSION_NOT_FOUND",
                                                       "2: SESSION_NOT_FOUND",
                                                       "3: SESSION_NOT_FOUND"));
  ledger_.Finish(first, Sent("turn-a"));
  EXPECT_THAT(Answers(), SizeIs(3));
}

TEST_F(RequestLedgerTest, AnAnswerMayMakeTheNextCall) {
  std::shared_ptr<Call> second;
  const std::shared_ptr<Call> first = ledger_.Admit(
      0, {.tenant = "t", .request_id = "r1", .fingerprint = "f"},
      [&](absl::StatusOr<RequestResult>) { second = Admit("r1"); });
  ledger_.Finish(first, MakeError(Reason::kNoSlot, "none"));
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second, first);
}

TEST_F(RequestLedgerTest, ARepeatIsAnsweredThoughTheLedgerIsGone) {
  auto ledger = std::make_unique<RequestLedger>(
      loop_, reading_, store_, kSession, std::vector<std::string>{"r1"});
  bool answered = false;
  ledger->Admit(0, {.tenant = "t", .request_id = "r1", .fingerprint = "f"},
                [&](absl::StatusOr<RequestResult>) { answered = true; });
  ledger = nullptr;
  loop_.RunUntilIdle();
  EXPECT_TRUE(answered);
}

}  // namespace
}  // namespace understudy::session
