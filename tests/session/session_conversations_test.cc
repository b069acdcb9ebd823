// A session's conversations: clears, resumes, and whose a conversation is.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using SessionConversationsTest = SessionFixture;

TEST_F(SessionConversationsTest, D1_ANativeClearKeepsTheProcessAndForgets) {
  engine.options.profiles.front().permission_mode = "plan";
  engine.Restart();
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.Switch(s, "model-b");
  const pid_t pid = Pid(s);
  const std::string before = engine.Info(s).record.agent_session_id();
  const Pending<MoveResult> moved = engine.Clear(s);
  ASSERT_TRUE(moved.status().ok());
  EXPECT_TRUE(moved->changed);
  EXPECT_EQ(moved->route, v1::ROUTE_NATIVE);
  EXPECT_EQ(moved->previous_agent_session_id, before);
  EXPECT_NE(moved->agent_session_id, before);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 0u);
  EXPECT_EQ(engine.world.deliveries.back().pid, pid);
  EXPECT_EQ(engine.world.deliveries.back().model, "model-b");
  EXPECT_EQ(engine.Info(s).record.permission_mode(), "plan");
  EXPECT_EQ(engine.world.openings.size(), 1u);
  EXPECT_EQ(engine.world.openings.front().permission_mode, "plan");
}

TEST_F(SessionConversationsTest, A13_AClearByRestartResumesNothing) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  Let(FakeStep::kClear, FakeFate::Kind::kRefuse);
  const Pending<MoveResult> moved = engine.Clear(s);
  ASSERT_TRUE(moved.status().ok());
  EXPECT_EQ(moved->route, v1::ROUTE_RESTART);
  EXPECT_EQ(engine.world.openings.back().conversation, "");
}

TEST_F(SessionConversationsTest, ABackgroundTaskMakesAClearReplaceTheProcess) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->set_background(true);
  EXPECT_EQ(engine.Clear(s)->route, v1::ROUTE_RESTART);
}

TEST_F(SessionConversationsTest, AConversationThatHasNotSpokenIsClearAlready) {
  const std::string s = engine.Create();
  EXPECT_FALSE(engine.Clear(s)->changed);
  engine.Switch(s, "model-b");
  EXPECT_FALSE(engine.Clear(s)->changed);
  EXPECT_EQ(Count(s, "conversation_cleared"), 0u);
}

TEST_F(SessionConversationsTest, ClearingADormantSessionIsAMatterOfTheRecord) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.live().front()->Crash();
  engine.Run();
  const Pending<MoveResult> moved = engine.Clear(s);
  ASSERT_TRUE(moved.status().ok());
  EXPECT_TRUE(moved->changed);
  EXPECT_EQ(moved->route, v1::ROUTE_NONE);
  EXPECT_EQ(engine.world.started, 1);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 0u);
}

TEST_F(SessionConversationsTest, D3_D5_AnEarlierConversationGoesOn) {
  const std::string s = engine.Create();
  engine.Send(s, "the number is 4711");
  const std::string first = engine.Info(s).record.agent_session_id();
  engine.Clear(s);
  engine.Send(s, "something else");
  const Pending<MoveResult> moved = engine.Resume(s, first);
  ASSERT_TRUE(moved.status().ok()) << moved.status();
  EXPECT_TRUE(moved->changed);
  EXPECT_EQ(moved->agent_session_id, first);
  EXPECT_EQ(engine.Last(s, "conversation_resumed")
                .conversation_resumed()
                .agent_session_id(),
            first);
  engine.Send(s, "what is the number?");
  EXPECT_EQ(engine.world.deliveries.back().conversation, first);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionConversationsTest, D2_ClearAndResumeAreOneStep) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string first = engine.Info(s).record.agent_session_id();
  engine.Clear(s);
  engine.Send(s, "two");
  const Pending<MoveResult> moved = engine.Clear(s, first);
  ASSERT_TRUE(moved.status().ok());
  EXPECT_EQ(Count(s, "conversation_cleared"), 1u);
  EXPECT_EQ(Count(s, "conversation_resumed"), 1u);
}

TEST_F(SessionConversationsTest,
       D9_AnUnknownConversationIsNotFoundAndHarmsNothing) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const pid_t pid = Pid(s);
  const Pending<MoveResult> moved = engine.Resume(s, kNoSuchConversation);
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kConversationNotFound);
  EXPECT_THAT(std::string(moved.status().message()),
              HasSubstr("No conversation found"));
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().pid, pid);
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionConversationsTest,
       AConversationOfAnotherWorkingDirectoryIsNotFound) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  engine.world.elsewhere.insert(kNoSuchConversation);
  const int started = engine.world.started;
  const Pending<MoveResult> moved = engine.Resume(s, kNoSuchConversation);
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kConversationNotFound);
  EXPECT_THAT(std::string(moved.status().message()),
              HasSubstr("another working directory"));
  EXPECT_EQ(engine.world.started, started);
  engine.Send(s, "two");
  EXPECT_EQ(engine.world.deliveries.back().messages_before, 1u);
}

TEST_F(SessionConversationsTest,
       ListsItsOwnConversationsAndWhatTheAgentKeepsBesides) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string own = engine.Info(s).record.agent_session_id();
  const absl::Time now = engine.loop.Now();
  engine.world.local[engine.Info(s).record.working_directory()] = {
      {.agent_session_id = kNoSuchConversation,
       .update_time = now + absl::Hours(1),
       .first_prompt = "of the terminal"},
      {.agent_session_id = own,
       .update_time = now + absl::Hours(2),
       .first_prompt = "twice"},
  };
  const std::vector<ConversationRow> rows = *engine.Conversations(s);
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0].agent_session_id, kNoSuchConversation);
  EXPECT_EQ(rows[0].first_prompt, "of the terminal");
  EXPECT_EQ(rows[1].agent_session_id, own);
  EXPECT_EQ(rows[1].first_prompt, "one");
}

TEST_F(SessionConversationsTest, ResumingTheCurrentConversationIsNoChange) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string current = engine.Info(s).record.agent_session_id();
  EXPECT_FALSE(engine.Resume(s, current)->changed);
}

TEST_F(SessionConversationsTest, ResumingWithAModelTellsOfBoth) {
  const std::string s = engine.Create();
  engine.Send(s, "one");
  const std::string first = engine.Info(s).record.agent_session_id();
  engine.Clear(s);
  engine.Send(s, "two");
  const Pending<MoveResult> moved = engine.Resume(s, first, "model-b");
  ASSERT_TRUE(moved.status().ok());
  const uint64_t resumed = engine.Last(s, "conversation_resumed").sequence();
  EXPECT_EQ(engine.Last(s, "model_changed").sequence(), resumed + 1);
  EXPECT_EQ(moved->sequence, resumed + 1);
  EXPECT_EQ(moved->model, "model-b");
}

TEST_F(SessionConversationsTest,
       D11_AnAgentCannotNameItselfIntoAnothersConversation) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.SendAndWait(a, "a secret");
  engine.SendAndWait(b, "two");
  const std::string secret = engine.Info(a).record.agent_session_id();
  const std::string own = engine.Info(b).record.agent_session_id();
  engine.world.live().back()->ChangeConversation(secret);
  EXPECT_EQ(engine.Info(b).record.agent_session_id(), own);
  engine.world.live().back()->Crash();
  engine.SendAndWait(b, "three");
  EXPECT_EQ(engine.world.deliveries.back().conversation, own);
}

TEST_F(SessionConversationsTest,
       A9_AConversationHeldByAnotherSessionIsRefused) {
  const std::string a = engine.Create();
  const std::string b = engine.Create();
  engine.Send(a, "one");
  engine.Send(b, "two");
  const Pending<MoveResult> moved =
      engine.Resume(b, engine.Info(a).record.agent_session_id());
  EXPECT_EQ(ReasonOf(moved.status()), Reason::kConversationInUse);
}

}  // namespace
}  // namespace understudy::session
