// Sessions whose agents cannot do everything: keep a conversation beyond their
// process, let go of one, take pictures or other input, tell what they took up.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// ---- Conversations that end with their process ----

class UnkeptConversationTest : public SessionFixture {
 protected:
  UnkeptConversationTest() {
    engine.world.capabilities.resume_conversation = false;
    engine.world.capabilities.load_conversation = false;
  }

  static std::vector<std::string> Ids(
      const Pending<std::vector<ConversationRow>>& rows) {
    std::vector<std::string> ids;
    for (const ConversationRow& row : *rows)
      ids.push_back(row.agent_session_id);
    return ids;
  }
};

TEST_F(UnkeptConversationTest, AnIdleSessionKeepsItsProcess) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.loop.Advance(absl::Hours(10));
  EXPECT_THAT(engine.world.live(), SizeIs(1));
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(UnkeptConversationTest, ASessionThatHasNotSpokenGivesItsProcessBack) {
  const std::string s = engine.Create();
  engine.Switch(s, "model-b");
  ASSERT_THAT(engine.world.live(), SizeIs(1));
  engine.loop.Advance(absl::Hours(10));
  EXPECT_THAT(engine.world.live(), IsEmpty());
}

TEST_F(UnkeptConversationTest, ItDoesNotGiveWayToWhoWaitsForASlot) {
  engine.options.max_slots = 1;
  engine.Restart();
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const Pending<SendResult> other = engine.SendAndWait(engine.Create(), "two");
  engine.loop.Advance(absl::Minutes(5));
  ASSERT_TRUE(other.done());
  EXPECT_EQ(ReasonOf(other.status()), Reason::kNoSlot);
  engine.Send(s, "three");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(UnkeptConversationTest, AfterADeathItIsFreshAndThatIsSaid) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string before = engine.Info(s).record.agent_session_id();
  engine.world.live().front()->Crash();
  engine.Run();
  ASSERT_TRUE(engine.SendAndWait(s, "two").status().ok());
  const v1::ConversationResumed resumed =
      engine.Last(s, "conversation_resumed").conversation_resumed();
  EXPECT_EQ(resumed.context_restored(), v1::CONTEXT_RESTORED_NONE);
  EXPECT_EQ(resumed.cause(), v1::CAUSE_RECOVERY);
  EXPECT_EQ(resumed.previous_agent_session_id(), before);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 0u);
  // Without another process in between that finds out.
  EXPECT_EQ(engine.world.started, 2);
}

TEST_F(UnkeptConversationTest, AServerThatDoesNotKnowYetFindsOut) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Restart();
  ASSERT_TRUE(engine.SendAndWait(s, "two").status().ok());
  EXPECT_EQ(engine.Last(s, "conversation_resumed")
                .conversation_resumed()
                .context_restored(),
            v1::CONTEXT_RESTORED_NONE);
}

TEST_F(UnkeptConversationTest, ASwitchIsMadeByTheAgentOrNotAtAll) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  EXPECT_EQ(engine.Switch(s, "model-b")->route, v1::ROUTE_NATIVE);
  Let(FakeStep::kModel, FakeFate::Kind::kRefuse);
  const Pending<MoveResult> refused = engine.Switch(s, "model-c");
  EXPECT_FALSE(refused.status().ok());
  LetAllBeFine();
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  EXPECT_EQ(engine.world.started, 1);
}

TEST_F(UnkeptConversationTest, ASwitchThatTheProfileForbidsIsNotMade) {
  engine.world.capabilities.switch_model = false;
  const std::string s = engine.Create();
  engine.Send(s, "one");
  EXPECT_EQ(ReasonOf(engine.Switch(s, "model-b").status()),
            Reason::kCapabilityMissing);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(UnkeptConversationTest, ASwitchOfADormantSessionStartsAFreshOne) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->Crash();
  engine.Run();
  const Pending<MoveResult> moved = engine.Switch(s, "model-b");
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->model, "model-b");
  std::vector<std::string> kinds = engine.Kinds(s);
  kinds.erase(kinds.begin(), kinds.end() - 3);
  EXPECT_THAT(kinds, ElementsAre("conversation_resumed", "model_changed",
                                 "agent_started"));
  EXPECT_EQ(engine.Last(s, "conversation_resumed")
                .conversation_resumed()
                .context_restored(),
            v1::CONTEXT_RESTORED_NONE);
}

TEST_F(UnkeptConversationTest, NoConversationCanBeResumed) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string old = engine.Info(s).record.agent_session_id();
  engine.Clear(s);
  engine.Send(s, "two");
  const std::string now = engine.Info(s).record.agent_session_id();
  EXPECT_EQ(ReasonOf(engine.Resume(s, old).status()),
            Reason::kCapabilityMissing);
  EXPECT_THAT(Ids(engine.Conversations(s)), ElementsAre(now));
  engine.world.live().front()->Crash();
  engine.Run();
  EXPECT_THAT(Ids(engine.Conversations(s)), IsEmpty());
  EXPECT_EQ(ReasonOf(engine.Resume(s, old).status()),
            Reason::kCapabilityMissing);
}

TEST_F(UnkeptConversationTest, ButForOneThatTheProcessHasOpen) {
  engine.world.keeps_open = true;
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string old = engine.Info(s).record.agent_session_id();
  engine.Clear(s);
  engine.Send(s, "two");
  EXPECT_THAT(
      Ids(engine.Conversations(s)),
      UnorderedElementsAre(old, engine.Info(s).record.agent_session_id()));
  const Pending<MoveResult> moved = engine.Resume(s, old);
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(moved->route, v1::ROUTE_NATIVE);
  engine.Send(s, "three");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

// ---- Processes that hold on to what they have opened ----

class HeldConversationTest : public SessionFixture {
 protected:
  HeldConversationTest() {
    engine.world.capabilities.shared_conversation = false;
    engine.world.capabilities.load_conversation = true;
  }
};

TEST_F(HeldConversationTest, AnotherSessionGetsItOnceTheHolderHasEnded) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.Send(a, "one");
  engine.Send(b, "hello");
  const pid_t holder = Pid(a);
  const std::string held = engine.Info(a).record.agent_session_id();
  EXPECT_EQ(ReasonOf(engine.Resume(b, held).status()),
            Reason::kConversationInUse);
  engine.Clear(a);
  engine.Send(a, "two");
  const Pending<MoveResult> moved = engine.Resume(b, held);
  engine.loop.Advance(absl::Seconds(10));
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_EQ(engine.world.live(holder), nullptr);
  engine.Send(b, "three");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
  // Who had it goes on where it was.
  engine.Send(a, "four");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(HeldConversationTest, AHolderThatWorksIsNotEnded) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.Send(a, "one");
  const std::string held = engine.Info(a).record.agent_session_id();
  engine.Clear(a);
  Let(FakeStep::kMiddle, FakeFate::Kind::kSilent);
  engine.Send(a, "slow");
  EXPECT_EQ(ReasonOf(engine.Resume(b, held).status()),
            Reason::kConversationInUse);
  EXPECT_EQ(engine.Info(a).state, SessionState::kRunning);
}

TEST_F(HeldConversationTest, AHolderThatDoesNotEndIsNotWaitedForForEver) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.Send(a, "one");
  const std::string held = engine.Info(a).record.agent_session_id();
  engine.Clear(a);
  Let(FakeStep::kStop, FakeFate::Kind::kDeaf);
  const Pending<MoveResult> moved = engine.Resume(b, held);
  engine.loop.Advance(absl::Minutes(1));
  ASSERT_TRUE(moved.done());
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kConversationInUse);
  LetAllBeFine();
}

TEST_F(HeldConversationTest, ARestartEndsTheOldProcessFirst) {
  engine.world.capabilities.switch_model = false;
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Switch(s, "model-b");
  engine.loop.Advance(absl::Seconds(10));
  EXPECT_EQ(engine.Info(s).record.model(), "model-b");
  EXPECT_EQ(engine.world.most_live, 1);
}

// ---- What else an agent may not do ----

using AgentLimitsTest = SessionFixture;

TEST_F(AgentLimitsTest, OtherInputThanItsOwnIsRefusedWhereTheAgentTakesNone) {
  engine.world.capabilities.edits_input = false;
  engine.world.decide = AskingOnce();
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string permission = engine.Last(s, "permission_requested")
                                     .permission_requested()
                                     .permission_id();
  Pending<bool> resolved;
  engine.manager->ResolvePermission(
      {},
      {.session_id = s,
       .permission_id = permission,
       .answer = {.decision = v1::PERMISSION_DECISION_ALLOW,
                  .updated_input_json = "{}"}},
      resolved.reply());
  engine.Run();
  EXPECT_EQ(ReasonOf(resolved.status()), Reason::kFieldInvalid);
  // It waits still.
  EXPECT_TRUE(engine.Resolve(s, permission, v1::PERMISSION_DECISION_ALLOW)
                  .status()
                  .ok());
}

TEST_F(AgentLimitsTest, AnAgentThatTellsNoReceiptIsNotHeldToOne) {
  engine.world.capabilities.acknowledges = false;
  Let(FakeStep::kTurn, FakeFate::Kind::kDeaf);
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.loop.Advance(absl::Hours(1));
  EXPECT_EQ(engine.Info(s).state, SessionState::kRunning);
  EXPECT_EQ(Count(s, "agent_exited"), 0u);
  LetAllBeFine();
}

TEST_F(AgentLimitsTest, WhatTheAgentItselfListsCanBeResumedToo) {
  engine.world.listed = {{.agent_session_id = kNoSuchConversation,
                          .update_time = absl::FromUnixSeconds(5),
                          .first_prompt = "long ago"}};
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const Pending<std::vector<ConversationRow>> rows = engine.Conversations(s);
  ASSERT_TRUE(rows.done());
  ASSERT_THAT(*rows, SizeIs(2));
  EXPECT_EQ((*rows)[1].agent_session_id, kNoSuchConversation);
  EXPECT_EQ((*rows)[1].first_prompt, "long ago");
}

TEST_F(AgentLimitsTest, AnAgentThatListsNothingIsNotWaitedForForEver) {
  engine.world.lists = false;
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const Pending<std::vector<ConversationRow>> rows = engine.Conversations(s);
  EXPECT_FALSE(rows.done());
  engine.loop.Advance(absl::Seconds(5));
  ASSERT_TRUE(rows.done());
  EXPECT_THAT(*rows, SizeIs(1));
}

}  // namespace
}  // namespace understudy::session
