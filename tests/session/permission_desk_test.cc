#include "session/permission_desk.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_loop.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using State = PermissionDesk::State;

v1::PermissionRequested RequestOf(const std::string& permission_id) {
  v1::PermissionRequested request;
  request.set_permission_id(permission_id);
  const std::pair<const char*, v1::PermissionOptionKind> options[] = {
      {"yes", v1::PERMISSION_OPTION_KIND_ALLOW_ONCE},
      {"always", v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS},
      {"no", v1::PERMISSION_OPTION_KIND_DENY_ONCE},
      {"never", v1::PERMISSION_OPTION_KIND_DENY_ALWAYS},
      {"perhaps", v1::PERMISSION_OPTION_KIND_UNSPECIFIED}};
  for (const auto& [id, kind] : options) {
    request.add_options()->set_option_id(id);
    request.mutable_options()->rbegin()->set_kind(kind);
  }
  return request;
}

PermissionAnswer Allow() {
  PermissionAnswer answer;
  answer.decision = v1::PERMISSION_DECISION_ALLOW;
  return answer;
}

PermissionAnswer Option(std::string option_id) {
  PermissionAnswer answer;
  answer.option_id = std::move(option_id);
  return answer;
}

TEST(PermissionDeskTest, ARequestIsPendingUntilItIsClosed) {
  PermissionDesk desk;
  EXPECT_EQ(desk.Find("p1", Allow()), State::kUnknown);
  desk.Open(RequestOf("p1"), nullptr);
  desk.Open(RequestOf("p2"), nullptr);
  EXPECT_TRUE(desk.pending("p1"));
  EXPECT_THAT(desk.pending(), ElementsAre("p1", "p2"));
  EXPECT_EQ(desk.Find("p1", Allow()), State::kPending);
  desk.Close("p1", Allow());
  EXPECT_FALSE(desk.pending("p1"));
  EXPECT_THAT(desk.pending(), ElementsAre("p2"));
}

TEST(PermissionDeskTest, KnowsWhetherARepeatedAnswerIsTheSame) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  desk.Close("p1", Allow());
  EXPECT_EQ(desk.Find("p1", Allow()), State::kAnsweredSo);
  PermissionAnswer answer = Allow();
  answer.scope = v1::PERMISSION_SCOPE_SESSION;
  EXPECT_EQ(desk.Find("p1", answer), State::kAnsweredOtherwise);
  answer = Allow();
  answer.decision = v1::PERMISSION_DECISION_DENY;
  EXPECT_EQ(desk.Find("p1", answer), State::kAnsweredOtherwise);
  answer = Allow();
  answer.updated_input_json = "{}";
  EXPECT_EQ(desk.Find("p1", answer), State::kAnsweredOtherwise);
  EXPECT_EQ(desk.Find("p1", Option("no")), State::kAnsweredOtherwise);
}

TEST(PermissionDeskTest, TheSameDecisionInOtherWordsIsTheSameAnswer) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  desk.Close("p1", Option("yes"));
  EXPECT_EQ(desk.Find("p1", Allow()), State::kAnsweredSo);
  EXPECT_EQ(desk.Find("p1", Option("yes")), State::kAnsweredSo);
  EXPECT_EQ(desk.Find("p1", Option("always")), State::kAnsweredOtherwise);
  EXPECT_EQ(desk.Find("p1", Option("no")), State::kAnsweredOtherwise);
}

TEST(PermissionDeskTest, NoAnswerIsTheAnswerToAWithdrawnRequest) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  desk.Close("p1", std::nullopt);
  EXPECT_EQ(desk.Find("p1", Allow()), State::kAnsweredOtherwise);
  EXPECT_EQ(desk.Find("p1", PermissionAnswer()), State::kAnsweredOtherwise);
}

TEST(PermissionDeskTest, AnAnswerDecidesByItsOptionOrElseByItself) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  const auto decide = [&desk](const PermissionAnswer& answer) {
    const PermissionDesk::Decision made = desk.Decide("p1", answer);
    return absl::StrCat(v1::PermissionDecision_Name(made.decision), " ",
                        v1::PermissionScope_Name(made.scope));
  };
  EXPECT_EQ(decide(Allow()), "PERMISSION_DECISION_ALLOW PERMISSION_SCOPE_ONCE");
  EXPECT_EQ(decide(Option("yes")),
            "PERMISSION_DECISION_ALLOW PERMISSION_SCOPE_ONCE");
  EXPECT_EQ(decide(Option("always")),
            "PERMISSION_DECISION_ALLOW PERMISSION_SCOPE_SESSION");
  EXPECT_EQ(decide(Option("no")),
            "PERMISSION_DECISION_DENY PERMISSION_SCOPE_ONCE");
  EXPECT_EQ(decide(Option("never")),
            "PERMISSION_DECISION_DENY PERMISSION_SCOPE_SESSION");
  PermissionAnswer both = Allow();
  both.option_id = "no";
  EXPECT_EQ(decide(both), "PERMISSION_DECISION_DENY PERMISSION_SCOPE_ONCE");
}

TEST(PermissionDeskTest, AnOptionThatWasNotOfferedDecidesNothing) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  EXPECT_EQ(desk.Decide("p1", Option("maybe")).decision,
            v1::PERMISSION_DECISION_UNSPECIFIED);
  EXPECT_EQ(desk.Decide("p2", Option("yes")).decision,
            v1::PERMISSION_DECISION_UNSPECIFIED);
}

TEST(PermissionDeskTest, RemembersTheNewestAnswersOnly) {
  PermissionDesk desk;
  for (int i = 0; i < 1000; ++i) {
    desk.Open(RequestOf(absl::StrCat("p", i)), nullptr);
    desk.Close(absl::StrCat("p", i), Allow());
  }
  EXPECT_EQ(desk.Find("p0", Allow()), State::kUnknown);
  EXPECT_EQ(desk.Find("p900", Allow()), State::kAnsweredSo);
  EXPECT_EQ(desk.Find("p999", Allow()), State::kAnsweredSo);
}

// Agents count their requests, and another process counts from the start.
TEST(PermissionDeskTest, AnIdThatComesAgainStandsForTheNewestRequest) {
  PermissionDesk desk;
  desk.Open(RequestOf("p1"), nullptr);
  desk.Close("p1", std::nullopt);
  desk.Open(RequestOf("p1"), nullptr);
  EXPECT_EQ(desk.Find("p1", Allow()), State::kPending);
  desk.Close("p1", Allow());
  EXPECT_EQ(desk.Find("p1", Allow()), State::kAnsweredSo);
}

TEST(PermissionDeskTest, ClosingARequestEndsItsTimer) {
  FakeLoop loop;
  bool expired = false;
  {
    PermissionDesk desk;
    desk.Open(RequestOf("p1"),
              loop.RunAfter(absl::Seconds(1), [&expired] { expired = true; }));
    desk.Close("p1", Allow());
    desk.Open(RequestOf("p2"),
              loop.RunAfter(absl::Seconds(1), [&expired] { expired = true; }));
  }
  loop.Advance(absl::Seconds(2));
  EXPECT_FALSE(expired);
}

TEST(PermissionDeskTest, ARequestMayBeClosedByItsOwnTimer) {
  FakeLoop loop;
  PermissionDesk desk;
  const std::string id = "p1";
  desk.Open(RequestOf(id), loop.RunAfter(absl::Seconds(1), [&desk, id] {
    desk.Close(id, std::nullopt);
    desk.Open(RequestOf(id + "b"), nullptr);
  }));
  loop.Advance(absl::Seconds(1));
  EXPECT_THAT(desk.pending(), ElementsAre("p1b"));
  desk.Close("p1b", std::nullopt);
  EXPECT_THAT(desk.pending(), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
