// Moves that go wrong: every operation, at every step, with every fault. Each
// time four witnesses must agree: the record, the agent that runs, the events,
// and the answer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"
#include "tests/support/history_checker.h"

namespace understudy::session {
namespace {

using ::testing::AnyOf;
using ::testing::Combine;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::Values;

constexpr char kRequest[] = "11111111-1111-4111-8111-111111111111";

absl::Status Down() {
  return MakeError(Reason::kStoreUnavailable, "the disk is gone");
}
absl::Status Doubt() {
  return MakeError(Reason::kStoreUnavailable, "the disk went away",
                   {{"outcome", "unknown"}});
}

// What is asked of a session that has spoken twice: in an earlier conversation
// and in the one it is in.
enum class Ask {
  kSwitch,
  kSwitchByRestart,
  kSwitchBreakingFirst,  // the old process ends before the new one starts
  kClear,
  kClearByRestart,
  kClearDormant,
  kResume,
  kResumeByRestart,
  kClearAndResume,
  kSendWithModel,
};

enum class Fault {
  kNone,
  kStoreDown,          // at the commit; nothing is written
  kStoreFull,          // the same, for another reason
  kAnswerLost,         // at the commit; it was written
  kDoubtNotWritten,    // at the commit; it was not, and nobody knows at first
  kDownFromBefore,     // it fails already when the move comes to its commit
  kRunningDiesBefore,  // the running agent, while the change is made
  kRunningDiesInCommit,
  kNewDiesInStart,
  kNewDiesInCommit,
  kNewNeverAnswers,
  kRefused,  // the running agent refuses, and another process does not start
  kUnsure,   // the running agent is in doubt, and no other starts
  kSilent,   // the running agent never answers
  kLate,     // the running agent answers when it is too late
  kClientGivesUp,
};

std::string NameOf(Ask ask) {
  static const char* const kNames[] = {
      "Switch",       "SwitchByRestart", "SwitchBreakingFirst",
      "Clear",        "ClearByRestart",  "ClearDormant",
      "Resume",       "ResumeByRestart", "ClearAndResume",
      "SendWithModel"};
  return kNames[static_cast<int>(ask)];
}

std::string NameOf(Fault fault) {
  static const char* const kNames[] = {"None",
                                       "StoreDown",
                                       "StoreFull",
                                       "AnswerLost",
                                       "DoubtNotWritten",
                                       "DownFromBefore",
                                       "RunningDiesBefore",
                                       "RunningDiesInCommit",
                                       "NewDiesInStart",
                                       "NewDiesInCommit",
                                       "NewNeverAnswers",
                                       "Refused",
                                       "Unsure",
                                       "Silent",
                                       "Late",
                                       "ClientGivesUp"};
  return kNames[static_cast<int>(fault)];
}

class CommitTableTest
    : public SessionFixture,
      public ::testing::WithParamInterface<std::tuple<Ask, Fault>> {
 protected:
  static bool ByRestart(Ask ask) {
    return ask == Ask::kSwitchByRestart || ask == Ask::kSwitchBreakingFirst ||
           ask == Ask::kClearByRestart || ask == Ask::kResumeByRestart;
  }

  void Prepare(Ask ask) {
    Capabilities& can = engine.world.capabilities;
    can.load_conversation = true;
    s_ = engine.Create();
    engine.SendAndWait(s_, "one");
    earlier_ = engine.Info(s_).record.agent_session_id();
    engine.Clear(s_);
    engine.SendAndWait(s_, "two");
    if (ByRestart(ask)) {
      can.switch_model = can.new_conversation = can.load_conversation = false;
    }
    can.shared_conversation = ask != Ask::kSwitchBreakingFirst;
    if (ask == Ask::kClearDormant) {
      engine.loop.Advance(Engine::FakeProfile().idle_timeout +
                          absl::Seconds(1));
    }
    engine.loop.Advance(absl::Seconds(1));
    before_ = engine.Info(s_).record;
    events_before_ = engine.Events(s_).size();
    processes_before_ = engine.world.started;
  }

  // Asks; the answer, if there is one by now.
  void Request(Ask ask) {
    switch (ask) {
      case Ask::kSwitch:
      case Ask::kSwitchByRestart:
      case Ask::kSwitchBreakingFirst:
        moved_ = engine.Switch(s_, "model-b", TurnPolicy::kAfterTurn, kRequest);
        return;
      case Ask::kClear:
      case Ask::kClearByRestart:
      case Ask::kClearDormant:
        moved_ = engine.Clear(s_);
        return;
      case Ask::kResume:
      case Ask::kResumeByRestart:
        moved_ = engine.Resume(s_, earlier_);
        return;
      case Ask::kClearAndResume:
        moved_ = engine.Clear(s_, earlier_);
        return;
      case Ask::kSendWithModel:
        sent_ = engine.Send(s_, "three", "model-b", kRequest);
        return;
    }
  }

  absl::Status Answer(Ask ask) const {
    return ask == Ask::kSendWithModel ? sent_.status() : moved_.status();
  }

  // Makes the fault happen around the request.
  void RequestWith(Ask ask, Fault fault) {
    auto decide = [&](FakeStep step, FakeFate::Kind kind) {
      decisions_[step] = kind;
      engine.world.decide = [this](FakeStep at, FakeAgent&) {
        const auto it = decisions_.find(at);
        return it == decisions_.end() ? FakeFate{} : Fate(it->second);
      };
    };
    const auto change = [&](FakeFate::Kind kind) {
      decide(FakeStep::kModel, kind);
      decide(FakeStep::kClear, kind);
      decide(FakeStep::kLoad, kind);
    };
    FakeAgent* running =
        engine.world.live().empty() ? nullptr : engine.world.live().front();
    switch (fault) {
      case Fault::kNone:
        Request(ask);
        return;
      case Fault::kStoreDown:
        engine.store.FailWrites(1, Down());
        Request(ask);
        return;
      case Fault::kStoreFull:
        engine.store.FailWrites(1, MakeError(Reason::kStoreFull, "no room"));
        Request(ask);
        return;
      case Fault::kAnswerLost:
        engine.store.LoseAnswers(1);
        Request(ask);
        return;
      case Fault::kDoubtNotWritten:
        engine.store.FailWrites(1, Doubt());
        Request(ask);
        return;
      case Fault::kDownFromBefore:
        // Something else of the session fails to be stored, and goes on to.
        if (running == nullptr) {
          engine.store.FailWrites(1, Down());
        } else {
          engine.world.decide = [](FakeStep step, FakeAgent&) {
            const bool made =
                step == FakeStep::kModel || step == FakeStep::kClear ||
                step == FakeStep::kLoad || step == FakeStep::kStart;
            return FakeFate{.delay = made ? absl::Milliseconds(10)
                                          : absl::ZeroDuration()};
          };
          Request(ask);
          engine.store.FailWrites(3, Down());
          if (ask == Ask::kSwitchBreakingFirst) {
            running = engine.world.live().front();  // the new one
          }
          v1::Event event;
          event.mutable_notice()->set_message("by the way");
          running->Say(std::move(event));
          engine.loop.Advance(absl::Milliseconds(20));
          return;
        }
        Request(ask);
        return;
      case Fault::kRunningDiesBefore:
        if (ByRestart(ask)) {
          // While the other one starts.
          engine.world.decide = [](FakeStep step, FakeAgent&) {
            return FakeFate{.delay = step == FakeStep::kStart
                                         ? absl::Milliseconds(10)
                                         : absl::ZeroDuration()};
          };
          const pid_t pid = running->pid();
          Request(ask);
          // It may have been ended for the new one's sake.
          if (FakeAgent* still = engine.world.live(pid); still != nullptr) {
            still->Crash();
          }
        } else {
          change(FakeFate::Kind::kCrash);
          Request(ask);
        }
        return;
      case Fault::kRunningDiesInCommit:
      case Fault::kNewDiesInCommit: {
        const pid_t pid = running == nullptr ? 0 : running->pid();
        engine.committing.Hold();
        Request(ask);
        if (fault == Fault::kNewDiesInCommit) {
          for (FakeAgent* agent : engine.world.live()) {
            if (agent->pid() != pid) agent->Crash();
          }
        } else if (FakeAgent* still = engine.world.live(pid);
                   still != nullptr) {
          still->Crash();
        }
        engine.Run();
        engine.committing.Release();
        return;
      }
      case Fault::kNewDiesInStart:
        decide(FakeStep::kStart, FakeFate::Kind::kCrash);
        Request(ask);
        return;
      case Fault::kNewNeverAnswers:
        decide(FakeStep::kStart, FakeFate::Kind::kSilent);
        Request(ask);
        return;
      case Fault::kRefused:
        change(FakeFate::Kind::kRefuse);
        decide(FakeStep::kStart, FakeFate::Kind::kRefuse);
        Request(ask);
        return;
      case Fault::kUnsure:
        change(FakeFate::Kind::kUnsure);
        decide(FakeStep::kStart, FakeFate::Kind::kRefuse);
        Request(ask);
        return;
      case Fault::kSilent:
        change(FakeFate::Kind::kSilent);
        Request(ask);
        return;
      case Fault::kLate:
        change(FakeFate::Kind::kLate);
        decide(FakeStep::kStart, FakeFate::Kind::kRefuse);
        Request(ask);
        return;
      case Fault::kClientGivesUp:
        engine.committing.Hold();
        Request(ask);
        engine.manager->Withdraw(ask == Ask::kSendWithModel ? sent_.id
                                                            : moved_.id);
        engine.Run();
        engine.committing.Release();
        return;
    }
  }

  // The part of the record that a move is about.
  static std::string Place(const SessionRecord& record) {
    return absl::StrCat("model=", record.model(),
                        " override=", record.model_override(),
                        " conversation=", record.agent_session_id());
  }

  std::vector<std::string> KindsSince() {
    std::vector<std::string> kinds = engine.Kinds(s_);
    kinds.erase(kinds.begin(),
                kinds.begin() + static_cast<std::ptrdiff_t>(events_before_));
    return kinds;
  }

  std::map<FakeStep, FakeFate::Kind> decisions_;
  std::string s_;
  std::string earlier_;
  SessionRecord before_;
  size_t events_before_ = 0;
  int processes_before_ = 0;
  Pending<MoveResult> moved_;
  Pending<SendResult> sent_;
};

TEST_P(CommitTableTest, B5_B10_RecordAgentEventsAndAnswerAgree) {
  const auto [ask, fault] = GetParam();
  Prepare(ask);
  RequestWith(ask, fault);
  engine.loop.Advance(absl::Minutes(5));
  LetAllBeFine();
  decisions_.clear();

  // It has ended, one way or the other.
  const bool answered =
      ask == Ask::kSendWithModel ? sent_.done() : moved_.done();
  ASSERT_TRUE(answered);
  const absl::Status answer = Answer(ask);
  const SessionRecord record = engine.Info(s_).record;
  const std::vector<std::string> kinds = KindsSince();
  const std::vector<std::string> changes = {
      "model_changed", "conversation_cleared", "conversation_resumed"};
  if (answer.ok()) {
    EXPECT_THAT(kinds, Not(Contains("transition_failed")));
    if (ask == Ask::kSendWithModel) {
      EXPECT_EQ(record.model(), "model-b");
    } else {
      EXPECT_TRUE(moved_->changed);
      EXPECT_EQ(record.model(), moved_->model);
      EXPECT_EQ(record.agent_session_id(), moved_->agent_session_id);
      EXPECT_EQ(moved_->previous_agent_session_id, before_.agent_session_id());
    }
    size_t announced = 0;
    for (const std::string& kind : kinds) {
      announced += std::count(changes.begin(), changes.end(), kind);
    }
    EXPECT_EQ(announced, 1u) << ::testing::PrintToString(kinds);
  } else {
    EXPECT_EQ(Place(record), Place(before_));
    for (const std::string& change : changes) {
      EXPECT_THAT(kinds, Not(Contains(change)));
    }
    EXPECT_THAT(kinds, Contains("transition_failed"));
    EXPECT_EQ(engine.Last(s_, "transition_failed").transition_failed().reason(),
              ReasonName(*ReasonOf(answer)));
    EXPECT_EQ(Count(s_, "message_accepted"), 2u);
  }
  EXPECT_THAT(CheckHistory(engine.Events(s_), /*settled=*/false), IsEmpty());
  // Who runs is where the record says, or nobody runs.
  ASSERT_LE(engine.world.live().size(), 1u);
  for (FakeAgent* agent : engine.world.live()) {
    EXPECT_EQ(agent->current().model, record.model());
    EXPECT_EQ(agent->current().conversation, record.agent_session_id());
  }
  // And the session goes on, on what the record says, with all that was said.
  const Pending<SendResult> next = engine.SendAndWait(s_, "next");
  engine.loop.Advance(absl::Minutes(1));
  ASSERT_TRUE(next.status().ok()) << next.status();
  const FakeDelivery& delivery = engine.world.deliveries.back();
  EXPECT_EQ(delivery.text, "next");
  EXPECT_EQ(delivery.model, record.model());
  if (record.conversation_spoken()) {
    EXPECT_EQ(delivery.conversation, record.agent_session_id());
  }
  EXPECT_THAT(CheckDeliveries(engine.Events(s_), engine.world.deliveries),
              IsEmpty());
}

TEST_P(CommitTableTest, TheSameRequestAgainHasTheSameOutcome) {
  const auto [ask, fault] = GetParam();
  if (ask != Ask::kSwitch && ask != Ask::kSwitchByRestart &&
      ask != Ask::kSendWithModel) {
    return;  // asked for without an id
  }
  Prepare(ask);
  RequestWith(ask, fault);
  engine.loop.Advance(absl::Minutes(5));
  const absl::Status first = Answer(ask);
  const size_t changes = Count(s_, "model_changed");
  LetAllBeFine();
  decisions_.clear();
  const Pending<MoveResult> moved = moved_;
  const Pending<SendResult> sent = sent_;
  Request(ask);
  engine.loop.Advance(absl::Minutes(5));
  const absl::Status again = Answer(ask);
  if (first.ok()) {
    ASSERT_TRUE(again.ok()) << again;
    EXPECT_EQ(Count(s_, "model_changed"), changes);
    if (ask == Ask::kSendWithModel) {
      EXPECT_EQ(sent_->turn_id, sent->turn_id);
    } else {
      EXPECT_EQ(moved_->sequence, moved->sequence);
    }
  } else if (ReasonOf(first) == Reason::kStoreUnavailable ||
             ReasonOf(first) == Reason::kStoreFull) {
    // Nothing was remembered, and now it works.
    EXPECT_TRUE(again.ok()) << again;
    EXPECT_EQ(engine.Info(s_).record.model(), "model-b");
  } else {
    EXPECT_EQ(ReasonOf(again), ReasonOf(first)) << again;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Moves, CommitTableTest,
    Combine(Values(Ask::kSwitch, Ask::kSwitchByRestart,
                   Ask::kSwitchBreakingFirst, Ask::kClear, Ask::kClearByRestart,
                   Ask::kClearDormant, Ask::kResume, Ask::kResumeByRestart,
                   Ask::kClearAndResume, Ask::kSendWithModel),
            Values(Fault::kNone, Fault::kStoreDown, Fault::kStoreFull,
                   Fault::kAnswerLost, Fault::kDoubtNotWritten,
                   Fault::kDownFromBefore, Fault::kRunningDiesBefore,
                   Fault::kRunningDiesInCommit, Fault::kNewDiesInStart,
                   Fault::kNewDiesInCommit, Fault::kNewNeverAnswers,
                   Fault::kRefused, Fault::kUnsure, Fault::kSilent,
                   Fault::kLate, Fault::kClientGivesUp)),
    [](const auto& info) {
      return absl::StrCat(NameOf(std::get<0>(info.param)), "_",
                          NameOf(std::get<1>(info.param)));
    });

// ---- What the table does not say ----

using SessionCommitTest = SessionFixture;

TEST_F(SessionCommitTest, B5_AStoreThatFailsIsTheAnswerAndNothingHasChanged) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  const pid_t pid = Pid(s);
  engine.store.FailWrites(1, Down());
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kStoreUnavailable);
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  // The agent has been brought back: the same process, on the old model.
  ASSERT_THAT(engine.world.live(), SizeIs(1));
  EXPECT_EQ(engine.world.live().front()->pid(), pid);
  EXPECT_EQ(engine.world.live().front()->current().model, "model-a");
}

TEST_F(SessionCommitTest, B6_TheWayBackIsTheOverrideBeforeOrTheDefault) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.store.FailWrites(1, Down());
  engine.Switch(s, "model-b");
  EXPECT_EQ(engine.Info(s).record.model_override(), "");
  EXPECT_EQ(engine.world.live().front()->current().model, "model-a");
  engine.Switch(s, "model-c");
  engine.store.FailWrites(1, Down());
  engine.Switch(s, "model-b");
  EXPECT_EQ(engine.Info(s).record.model_override(), "model-c");
  EXPECT_EQ(engine.world.live().front()->current().model, "model-c");
  engine.store.FailWrites(1, Down());
  engine.Switch(s, "");
  EXPECT_EQ(engine.Info(s).record.model_override(), "model-c");
  EXPECT_EQ(engine.world.live().front()->current().model, "model-c");
}

TEST_F(SessionCommitTest, B7_ARollBackThatFailsIsToldAndTheAgentIsStopped) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  int switches = 0;
  engine.world.decide = [&switches](FakeStep step, FakeAgent&) {
    // The way there works, the way back does not.
    const bool back = step == FakeStep::kModel && ++switches == 2;
    return back ? Fate(FakeFate::Kind::kRefuse) : FakeFate{};
  };
  engine.store.FailWrites(1, Down());
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kStoreUnavailable);
  EXPECT_THAT(std::string(moved.status().message()),
              HasSubstr("could not be brought back"));
  const v1::TransitionFailed failed =
      engine.Last(s, "transition_failed").transition_failed();
  EXPECT_THAT(failed.message(), HasSubstr("could not be brought back"));
  EXPECT_EQ(failed.state(), v1::SESSION_STATE_DORMANT);
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_THAT(engine.world.live(), IsEmpty());
  engine.SendAndWait(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().model, "model-a");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionCommitTest, B7_AWayBackThatIsNotConfirmedIsNoneEither) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  int switches = 0;
  engine.world.decide = [&switches](FakeStep step, FakeAgent&) {
    const bool back = step == FakeStep::kModel && ++switches == 2;
    return back ? Fate(FakeFate::Kind::kLie) : FakeFate{};
  };
  engine.store.FailWrites(1, Down());
  engine.Switch(s, "model-b");
  EXPECT_THAT(engine.world.live(), IsEmpty());
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
}

TEST_F(SessionCommitTest, B8_TheWayBackDoesNotWaitForTheCaller) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.manager->Withdraw(moved.id);  // its deadline has passed
  engine.store.FailWrites(1, Down());
  engine.committing.Release();
  engine.Run();
  EXPECT_EQ(engine.world.live().front()->current().model, "model-a");
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(Count(s, "transition_failed"), 1u);
}

TEST_F(SessionCommitTest, B9_NobodyReadsAModelThatIsNotStored) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  EXPECT_FALSE(moved.done());
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_EQ(engine.Info(s).state, SessionState::kTransitioning);
  EXPECT_EQ(Count(s, "model_changed"), 0u);
  engine.committing.Release();
  engine.Run();
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
}

TEST_F(SessionCommitTest, B10_SwitchesAtOnceAreMadeOneAfterTheOther) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  std::vector<Pending<MoveResult>> moves;
  engine.committing.Hold();
  for (const char* model : {"model-b", "model-c", "model-b", "model-d"}) {
    moves.push_back(engine.Switch(s, model));
  }
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  engine.committing.Release();
  engine.Run();
  std::string model = "model-a";
  for (const Pending<MoveResult>& move : moves) {
    ASSERT_TRUE(move.status().ok()) << move.status();
    EXPECT_EQ(move->previous_model, model);
    model = move->model;
  }
  EXPECT_EQ(engine.Info(s).record.model(), "model-d");
  EXPECT_EQ(engine.world.live().front()->current().model, "model-d");
  EXPECT_EQ(engine.Last(s, "model_changed").model_changed().model(), "model-d");
  ASSERT_TRUE(sent.status().ok());
  EXPECT_EQ(engine.world.deliveries.back().model, "model-d");
}

TEST_F(SessionCommitTest, B11_ASlowStartDelaysNoOtherSession) {
  const std::string slow = engine.Create();
  const std::string other = engine.Create();
  bool first = true;
  engine.world.decide = [&first](FakeStep step, FakeAgent&) {
    const bool one = step == FakeStep::kStart && std::exchange(first, false);
    return FakeFate{.delay = one ? absl::Seconds(20) : absl::ZeroDuration()};
  };
  const Pending<SendResult> waiting = engine.SendAndWait(slow, "one");
  EXPECT_TRUE(engine.SendAndWait(other, "two").status().ok());
  EXPECT_TRUE(engine.Switch(other, "model-b").status().ok());
  EXPECT_FALSE(waiting.done());
}

TEST_F(SessionCommitTest, WhatAnAgentSaysDuringACommitComesBehindIt) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  engine.Switch(s, "model-b");
  engine.world.live().front()->BeginUnsolicitedTurn();
  engine.Run();
  engine.committing.Release();
  engine.Run();
  const std::vector<std::string> kinds = engine.Kinds(s);
  ASSERT_GE(kinds.size(), 2u);
  EXPECT_EQ(kinds[kinds.size() - 2], "model_changed");
  EXPECT_EQ(kinds.back(), "turn_started");
  EXPECT_EQ(engine.Last(s, "turn_started").turn_started().model(), "model-b");
}

TEST_F(SessionCommitTest,
       ACommitInDoubtForTooLongClosesTheSessionUntilItIsUsed) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.store.FailWrites(1000000, Doubt());
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const Pending<SendResult> sent = engine.SendAndWait(s, "two");
  EXPECT_FALSE(moved.done());
  engine.loop.Advance(Engine::FakeProfile().switch_timeout);
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kStoreUnavailable);
  EXPECT_EQ(ReasonOf(sent.status()), Reason::kStoreUnavailable);
  EXPECT_THAT(engine.world.live(), IsEmpty());
  // It was not written, and the store says so when it is back.
  engine.store.FailWrites(0, absl::OkStatus());
  engine.loop.Advance(absl::Seconds(10));
  const std::string model = engine.Info(s).record.model();
  EXPECT_THAT(model, AnyOf("model-a", "model-b"));
  const Pending<SendResult> next = engine.SendAndWait(s, "three");
  ASSERT_TRUE(next.status().ok()) << next.status();
  EXPECT_EQ(engine.world.deliveries.back().model, model);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionCommitTest, AnAgentAtATurnOfItsOwnIsStoppedAndNotBroughtBack) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.world.live().front()->BeginUnsolicitedTurn();
  engine.store.FailWrites(1, Down());
  engine.committing.Release();
  engine.loop.Advance(absl::Seconds(10));
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kStoreUnavailable);
  EXPECT_THAT(engine.world.live(), IsEmpty());
  EXPECT_EQ(engine.Info(s).record.model(), "model-a");
  EXPECT_THAT(CheckHistory(engine.Events(s), /*settled=*/true), IsEmpty());
}

TEST_F(SessionCommitTest, AReplacementThatMissedATurnDuringItsCommitIsNotUsed) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.world.capabilities.switch_model = false;
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  engine.world.live().front()->BeginUnsolicitedTurn();
  engine.committing.Release();
  engine.Run();
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  ASSERT_TRUE(engine.SendAndWait(s, "two").status().ok());
  // The agent's own turn among them.
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 2u);
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
}

TEST_F(SessionCommitTest, ADeletionWaitsForTheCommitThatIsUnderWay) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  const Pending<bool> deleted = engine.Delete(s);
  engine.committing.Release();
  engine.Run();
  EXPECT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_TRUE(deleted.status().ok()) << deleted.status();
  EXPECT_THAT(engine.world.live(), IsEmpty());
}

TEST_F(SessionCommitTest, ADrainDuringACommitAnswersAndLeavesNoAgent) {
  const std::string s = engine.Create();
  engine.SendAndWait(s, "one");
  engine.committing.Hold();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  bool drained = false;
  engine.manager->Drain(absl::Seconds(1), [&drained] { drained = true; });
  engine.loop.Advance(absl::Seconds(2));
  engine.committing.Release();
  engine.loop.Advance(absl::Minutes(1));
  EXPECT_TRUE(drained);
  EXPECT_TRUE(moved.done());
  EXPECT_THAT(engine.world.live(), IsEmpty());
}

}  // namespace
}  // namespace understudy::session
