// An AcpAgent and an agent of no make, line by line.

#include "absl/strings/match.h"
#include "tests/session/agent/acp_fixture.h"

namespace understudy::session {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::StartsWith;

using AcpTest = AcpFixture;

// --- The handshake ---

TEST_F(AcpTest, ItOffersNothingAndSpeaksVersionOne) {
  MustStart();
  const Json params = Written("initialize").at(0)["params"];
  EXPECT_EQ(params["protocolVersion"], 1);
  EXPECT_EQ(params["clientCapabilities"]["fs"]["readTextFile"], false);
  EXPECT_EQ(params["clientCapabilities"]["terminal"], false);
  EXPECT_EQ(Written("session/new").at(0)["params"],
            Json({{"cwd", "/work"}, {"mcpServers", Json::array()}}));
  EXPECT_EQ(agent().version(), "1.0");
  EXPECT_EQ(agent().current().model, "a");
  EXPECT_TRUE(agent().current().verified);
  ASSERT_THAT(agent().models(), SizeIs(3));
  EXPECT_TRUE(agent().models()[0].is_default);
  EXPECT_EQ(agent().models()[1].name, "The b");
}

TEST_F(AcpTest, AnotherVersionIsRefused) {
  for (const Json& version : {Json(2), Json("1"), Json()}) {
    initialize_["protocolVersion"] = version;
    EXPECT_THAT(Start(), Optional(HasReason(Reason::kAgentStartFailed)));
    ASSERT_TRUE(owner_.loss.has_value());
    EXPECT_THAT(std::string(owner_.loss->why.message()), HasSubstr("version"));
    EXPECT_THAT(Written("session/new"), IsEmpty());
  }
}

TEST_F(AcpTest, ItLogsInWhereTheProfileSaysHow) {
  profile_.auth_method = "by-key";
  MustStart();
  EXPECT_EQ(Written("authenticate").at(0)["params"]["methodId"], "by-key");

  refused_["authenticate"] = {{"code", -32000}, {"message", "no key"}};
  EXPECT_THAT(Start(), Optional(HasReason(Reason::kAgentStartFailed)));
  EXPECT_THAT(std::string(ready_->message()),
              HasSubstr("authenticate by by-key: no key"));
}

TEST_F(AcpTest, WhoMustLogInHasNotLostAConversation) {
  opening_.conversation = "old";
  refused_["session/load"] = {{"code", -32000}, {"message", "log in first"}};
  EXPECT_THAT(Start(), Optional(HasReason(Reason::kAgentStartFailed)));
}

TEST_F(AcpTest, AConversationThatAnotherProcessHoldsIsInUse) {
  opening_.conversation = "old";
  refused_["session/load"] = {{"code", -32600},
                              {"message", "no"},
                              {"data", {{"reason", "thread_active_writer"}}}};
  EXPECT_THAT(Start(), Optional(HasReason(Reason::kConversationInUse)));
}

TEST_F(AcpTest, WhatItCannotDoIsNotAskedOfIt) {
  initialize_["agentCapabilities"] = Json::object();
  MustStart();
  EXPECT_FALSE(agent().capabilities().load_conversation);
  EXPECT_FALSE(agent().capabilities().resume_conversation);
  EXPECT_FALSE(agent().capabilities().images);
  EXPECT_THAT(Apply({.conversation = "old"}),
              Optional(HasReason(Reason::kCapabilityMissing)));
  opening_.conversation = "old";
  EXPECT_THAT(Start(), Optional(HasReason(Reason::kCapabilityMissing)));
}

TEST_F(AcpTest, AProfileWithoutResumeNeverLoads) {
  profile_.native_resume = false;
  MustStart();
  EXPECT_FALSE(agent().capabilities().resume_conversation);
  opening_.conversation = "old";
  EXPECT_THAT(Start(), Optional(HasReason(Reason::kCapabilityMissing)));
  EXPECT_THAT(Written("session/load"), IsEmpty());
}

TEST_F(AcpTest, APastThatIsReplayedIsNotHeard) {
  opening_.conversation = "old";
  before_ = {Chunk("old", "long ago").dump()};
  MustStart();
  EXPECT_EQ(conversation(), "old");
  before_ = {Chunk("older", "longer ago").dump()};
  // It is the next answer that has it before it: that of the load.
  ASSERT_THAT(Apply({.conversation = "older"}), Optional(IsOk()));
  EXPECT_EQ(conversation(), "older");
  EXPECT_THAT(owner_.log, IsEmpty());
}

// --- The model ---

TEST_F(AcpTest, TheModelIsSaidAgainInEachConversation) {
  opening_.model = "b";
  MustStart();
  EXPECT_THAT(Settings(), ElementsAre("c-1 b"));
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  EXPECT_THAT(Settings(), ElementsAre("c-1 b", "c-2 b"));
  EXPECT_EQ(agent().current().model, "b");
  // What a load reports is not believed.
  begins_with_ = "b";
  ASSERT_THAT(Apply({.conversation = "old"}), Optional(IsOk()));
  EXPECT_THAT(Settings(), ElementsAre("c-1 b", "c-2 b", "old b", "old ask"));
}

TEST_F(AcpTest, ADefaultIsKnownFromANewConversation) {
  MustStart();
  ASSERT_THAT(Apply({.model = "b"}), Optional(IsOk()));
  ASSERT_THAT(Apply({.model = ""}), Optional(IsOk()));
  EXPECT_EQ(agent().current().model, "a");
  EXPECT_THAT(Written("session/new"), SizeIs(1));
}

TEST_F(AcpTest, ADefaultThatIsNotKnownIsLearnt) {
  opening_.conversation = "old";
  MustStart();
  EXPECT_EQ(conversation(), "old");
  EXPECT_THAT(Written("session/new"), SizeIs(1));
  EXPECT_THAT(Closed(), ElementsAre("c-1"));
  EXPECT_THAT(Settings(), ElementsAre("old a", "old ask"));
  // What comes of it is nobody's to hear.
  Say(Update("c-1", {{"sessionUpdate", "available_commands_update"}}));
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_F(AcpTest, ARefusedModelLeavesAllAsItWas) {
  MustStart();
  no_models_ = {"c"};
  EXPECT_THAT(Apply({.model = "c"}),
              Optional(HasReason(Reason::kModelRejected)));
  EXPECT_EQ(agent().current().model, "a");
  ASSERT_THAT(Apply({.model = "b"}), Optional(IsOk()));

  no_models_ = {"b"};
  EXPECT_THAT(Apply({.conversation = ""}),
              Optional(HasReason(Reason::kModelRejected)));
  EXPECT_EQ(conversation(), "c-1");
  EXPECT_EQ(agent().current().model, "b");
  EXPECT_THAT(Closed(), ElementsAre("c-2"));
  Send();
  EXPECT_EQ(Written("session/prompt").at(0)["params"]["sessionId"], "c-1");
}

TEST_F(AcpTest, AnUpdateBeforeTheAnswerIsOfTheSameChange) {
  MustStart();
  Json update = Options("b", "ask");
  update["sessionUpdate"] = "config_option_update";
  before_ = {Update("c-1", update).dump()};
  ASSERT_THAT(Apply({.model = "bee"}), Optional(IsOk()));
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_F(AcpTest, AModelThatItStaysWithoutIsRefused) {
  MustStart();
  unanswered_ = {"session/set_config_option"};
  ASSERT_EQ(Apply({.model = "b"}), std::nullopt);
  Say(Result(LastWritten()["id"], Options("a", "ask")));
  EXPECT_THAT(changed_, Optional(HasReason(Reason::kModelRejected)));
  // Another name of the one that it has is none of the others on offer.
  ASSERT_EQ(Apply({.model = "alias-of-a"}), std::nullopt);
  Say(Result(LastWritten()["id"], Options("a", "ask")));
  EXPECT_THAT(changed_, Optional(IsOk()));
  EXPECT_EQ(agent().current().model, "a");
}

TEST_F(AcpTest, AModelThatChangesByItselfIsTold) {
  MustStart();
  Json update = Options("c", "ask");
  update["sessionUpdate"] = "config_option_update";
  Say(Update("c-1", update));
  EXPECT_THAT(owner_.log, ElementsAre("state c c-1"));
}

TEST_F(AcpTest, AnAnswerThatComesTooLateChangesNothing) {
  MustStart();
  unanswered_ = {"session/set_config_option"};
  ASSERT_EQ(Apply({.model = "b"}), std::nullopt);
  const Json id = LastWritten()["id"];
  loop_.Advance(profile_.switch_timeout);
  EXPECT_THAT(changed_, Optional(HasReason(Reason::kAgentUnresponsive)));
  Say(Result(id, Options("b", "ask")));
  EXPECT_EQ(agent().current().model, "a");

  ASSERT_EQ(SetMode("trust"), std::nullopt);
  const Json mode_id = LastWritten()["id"];
  loop_.Advance(profile_.switch_timeout);
  EXPECT_THAT(changed_, Optional(HasReason(Reason::kAgentUnresponsive)));
  EXPECT_THAT(owner_.log, IsEmpty());
  // But a mode that it is in is the mode that it is in.
  Say(Result(mode_id, Options("a", "trust")));
  EXPECT_THAT(owner_.log, ElementsAre("notice MODE \"trust\""));
}

// --- The mode ---

TEST_F(AcpTest, AModeHoldsInEachConversationAndIsToldOnce) {
  opening_.permission_mode = "trust";
  MustStart();
  EXPECT_THAT(Settings(), ElementsAre("c-1 trust"));
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  EXPECT_THAT(Settings(), ElementsAre("c-1 trust", "c-2 trust"));
  EXPECT_THAT(owner_.log, IsEmpty());
  ASSERT_THAT(SetMode(""), Optional(IsOk()));
  EXPECT_THAT(owner_.log, ElementsAre("notice MODE \"ask\""));
  EXPECT_THAT(SetMode("nonsense"), Optional(HasReason(Reason::kFieldInvalid)));
}

// --- Conversations ---

TEST_F(AcpTest, AConversationThatWasLeftIsClosedAWhileAfter) {
  MustStart();
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  EXPECT_TRUE(agent().Holds("c-1"));
  EXPECT_THAT(Closed(), IsEmpty());
  // One stays open, however many are left.
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  EXPECT_THAT(Closed(), ElementsAre("c-1"));
  EXPECT_TRUE(agent().Holds("c-2"));
  loop_.Advance(absl::Seconds(15));
  EXPECT_THAT(Closed(), ElementsAre("c-1", "c-2"));
  EXPECT_FALSE(agent().Holds("c-2"));
  EXPECT_EQ(conversation(), "c-3");
}

TEST_F(AcpTest, GoingBackNeedsNoLoad) {
  MustStart();
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  ASSERT_THAT(Apply({.conversation = "c-1"}), Optional(IsOk()));
  EXPECT_EQ(conversation(), "c-1");
  EXPECT_THAT(Written("session/load"), IsEmpty());
}

TEST_F(AcpTest, AConversationThatIsBeingGoneBackToIsNotClosed) {
  MustStart();
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  loop_.Advance(absl::Seconds(14));
  unanswered_ = {"session/set_config_option"};
  ASSERT_EQ(Apply({.conversation = "c-1"}), std::nullopt);
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(Closed(), IsEmpty());
  unanswered_.clear();
  Say(Result(Written("session/set_config_option").back()["id"],
             Options("a", "ask")));
  EXPECT_THAT(changed_, Optional(IsOk()));
  EXPECT_EQ(conversation(), "c-1");
}

TEST_F(AcpTest, AListHasManyPagesAndManyReaders) {
  MustStart();
  listed_ = {{"sessions",
              {{{"sessionId", "one"}, {"cwd", "/work"}, {"title", "first"}},
               {{"sessionId", "two"}, {"cwd", "/elsewhere"}}}},
             {"nextCursor", "more"}};
  std::vector<size_t> listed;
  const auto list = [&] {
    agent().ListConversations([&](std::vector<LocalConversation> all) {
      listed.push_back(all.size());
    });
  };
  // A page may have nothing of this directory.
  unanswered_ = {"session/list"};
  list();
  list();
  loop_.RunUntilIdle();
  ASSERT_THAT(Written("session/list"), SizeIs(2));
  Say(Result(Written("session/list")[0]["id"], listed_));
  ASSERT_THAT(Written("session/list"), SizeIs(3));
  EXPECT_EQ(Written("session/list")[2]["params"]["cursor"], "more");
  listed_.erase("nextCursor");
  Say(Result(Written("session/list")[1]["id"], listed_));
  EXPECT_THAT(listed, ElementsAre(1));
  Say(Result(Written("session/list")[2]["id"], listed_));
  EXPECT_THAT(listed, ElementsAre(1, 2));
  list();
  loop_.RunUntilIdle();
  Say(Result(Written("session/list")[3]["id"],
             {{"sessions", Json::array()}, {"nextCursor", "second"}}));
  EXPECT_THAT(Written("session/list"), SizeIs(5));
}

TEST_F(AcpTest, WhatALoadDoesNotTellIsLearntFromANewConversation) {
  opening_.conversation = "old";
  opening_.model = "b";
  load_tells_ = false;
  MustStart();
  EXPECT_EQ(agent().current().model, "b");
  EXPECT_THAT(Written("session/new"), SizeIs(1));
  EXPECT_EQ(agent().current().conversation, "old");
}

TEST_F(AcpTest, AConversationThatIsBeingClosedIsLoadedWhenItIs) {
  MustStart();
  ASSERT_THAT(Apply({.conversation = ""}), Optional(IsOk()));
  unanswered_ = {"session/close"};
  loop_.Advance(absl::Seconds(16));
  ASSERT_THAT(Closed(), ElementsAre("c-1"));
  std::optional<absl::Status> done;
  agent().Apply({.conversation = "c-1"},
                [&](absl::Status status) { done = std::move(status); });
  loop_.RunUntilIdle();
  EXPECT_THAT(Written("session/load"), IsEmpty());
  Say(Result(Written("session/close")[0]["id"], Json::object()));
  EXPECT_THAT(Written("session/load"), SizeIs(1));
  EXPECT_THAT(done, Optional(IsOk()));
}

// --- Turns ---

TEST_F(AcpTest, ATurnIsTakenUpWhenWhatIsBehindItIsAnswered) {
  MustStart();
  ASSERT_TRUE(agent().capabilities().acknowledges);
  unanswered_ = {"_understudy/ping"};
  Send();
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_MAYBE);
  EXPECT_THAT(owner_.log, IsEmpty());
  // Most turns say something by themselves.
  EXPECT_THAT(Written("_understudy/ping"), SizeIs(1));
  loop_.Advance(absl::Seconds(5));
  Say(Error(LastWritten()["id"], -32601, "no such method"));
  EXPECT_EQ(agent().delivered(), v1::DELIVERED_YES);
  EXPECT_THAT(owner_.log, ElementsAre(absl::StrCat("started ", kTurn)));
  Say(Chunk("c-1", "hi"));
  EndTurn();
  EXPECT_THAT(owner_.log, SizeIs(4));
  EXPECT_EQ(owner_.ends.back().text, "hi");
}

TEST_F(AcpTest, ATurnThatSpeaksIsNotAskedAfter) {
  MustStart();
  Send();
  Say(Chunk("c-1", "hi"));
  loop_.Advance(absl::Seconds(10));
  EXPECT_THAT(Written("_understudy/ping"), SizeIs(1));
}

TEST_F(AcpTest, WhoDoesNotAnswerSuchIsNotAskedAgain) {
  unanswered_ = {"_understudy/ping"};
  MustStart();
  EXPECT_FALSE(agent().capabilities().acknowledges);
  Send();
  EXPECT_THAT(Written("_understudy/ping"), SizeIs(1));
  // An answer to nothing of ours is none of a request that was not made.
  Say(Result(7, Json::object()));
  EXPECT_THAT(owner_.log, IsEmpty());
  Say(Chunk("c-1", "hi"));
  EXPECT_EQ(owner_.log.front(), absl::StrCat("started ", kTurn));
}

TEST_F(AcpTest, ACancelIsSaidAgainUntilTheTurnEnds) {
  MustStart();
  Send();
  agent().Interrupt();
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_THAT(Written("session/cancel"), SizeIs(1));
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(Written("session/cancel"), SizeIs(3));
  EndTurn("cancelled");
  EXPECT_EQ(owner_.ends.back().outcome, v1::TURN_OUTCOME_INTERRUPTED);
  loop_.Advance(absl::Seconds(20));
  EXPECT_THAT(Written("session/cancel"), SizeIs(3));
  EXPECT_FALSE(owner_.loss.has_value());
}

TEST_F(AcpTest, ACancelEndsWhatWasAsked) {
  MustStart();
  Send();
  Say(AsksPermission(0, "c-1"));
  const std::string asked = owner_.permission.permission_id();
  agent().Interrupt();
  loop_.RunUntilIdle();
  EXPECT_EQ(LastWritten(),
            Result(0, {{"outcome", {{"outcome", "cancelled"}}}}));
  // One that comes later is not shown to anybody.
  Say(AsksPermission(1, "c-1"));
  EXPECT_EQ(LastWritten()["id"], 1);
  EXPECT_EQ(LastWritten()["result"]["outcome"]["outcome"], "cancelled");
  EXPECT_THAT(owner_.log, Not(Contains("withdrawn " + asked)));
  EndTurn("cancelled");
  EXPECT_THAT(owner_.log, Contains("withdrawn " + asked));
  EXPECT_EQ(owner_.permission.permission_id(), asked);
}

TEST_F(AcpTest, PermissionsOfTwoProcessesAreTwo) {
  std::set<std::string> ids;
  for (int i = 0; i < 2; ++i) {
    MustStart();
    Send();
    const std::string asked_in = conversation();
    Say(AsksPermission(0, asked_in));
    ids.insert(owner_.permission.permission_id());
  }
  EXPECT_THAT(ids, SizeIs(2));
}

TEST_F(AcpTest, APermissionThatTheAgentTakesBackIsWithdrawn) {
  MustStart();
  Send();
  Say(AsksPermission(0, "c-1"));
  Say(Json{{"jsonrpc", "2.0"},
           {"method", "$/cancel_request"},
           {"params", {{"requestId", 0}}}});
  EXPECT_EQ(owner_.log.back(),
            "withdrawn " + owner_.permission.permission_id());
  const size_t lines = child().lines().size();
  agent().AnswerPermission(owner_.permission.permission_id(),
                           {.decision = v1::PERMISSION_DECISION_ALLOW});
  loop_.RunUntilIdle();
  EXPECT_EQ(child().lines().size(), lines);
}

TEST_F(AcpTest, WhatWasNotOfferedIsRefused) {
  MustStart();
  for (const char* method :
       {"fs/read_text_file", "terminal/create", "elicitation/create"}) {
    Say(Json{{"jsonrpc", "2.0"},
             {"id", "x"},
             {"method", method},
             {"params", {{"sessionId", "c-1"}}}});
    EXPECT_EQ(LastWritten()["id"], "x");
    EXPECT_EQ(LastWritten()["error"]["code"], -32601);
    EXPECT_EQ(owner_.log.back(), absl::StrCat("unknown ", method));
  }
}

TEST_F(AcpTest, WhatIsNotKnownIsPassedOnWithItsLine) {
  MustStart();
  Send();
  owner_.Take();
  const Json line = Update("c-1", {{"sessionUpdate", "brand_new"}});
  Say(line);
  EXPECT_THAT(owner_.log, ElementsAre("unknown brand_new"));
  EXPECT_THAT(owner_.raws, ElementsAre(line.dump()));
  Say(Json{{"jsonrpc", "2.0"}, {"method", "_their/own"}});
  Say(Json{{"neither", "this"}});
  Say(Update("of-a-subagent", {{"sessionUpdate", "plan"}}));
  Say(Update("c-1", {{"sessionUpdate", "tool_call"}, {"title", "no id"}}));
  EXPECT_THAT(owner_.log,
              ElementsAre("unknown brand_new", "unknown _their/own", "unknown ",
                          "unknown plan", "unknown tool_call"));
}

TEST_F(AcpTest, ALostConversationEndsTheAgent) {
  for (const auto& [code, text] : std::vector<std::pair<int, std::string>>{
           {-32002, "Resource not found"},
           {-32602, "Session not found: c-1"},
           {-32602, "Invalid params: session not found: c-1"}}) {
    owner_.loss.reset();
    MustStart();
    Send();
    Say(Error(Prompt(), code, text));
    EXPECT_EQ(owner_.ends.back().outcome, v1::TURN_OUTCOME_FAILED);
    ASSERT_TRUE(owner_.loss.has_value()) << text;
    EXPECT_THAT(owner_.loss->why, HasReason(Reason::kAgentProtocol));
  }
}

TEST_F(AcpTest, AFailedTurnEndsNothingElse) {
  MustStart();
  Send();
  Say(Error(Prompt(), -32602, "Invalid params: no text"));
  EXPECT_EQ(owner_.ends.back().outcome, v1::TURN_OUTCOME_FAILED);
  EXPECT_FALSE(owner_.loss.has_value());
}

TEST_F(AcpTest, CostIsTheTotalOfTheConversation) {
  MustStart();
  EXPECT_THAT(agent().current().total_cost_usd, Optional(0.0));
  Send();
  Say(Update("c-1", {{"sessionUpdate", "usage_update"},
                     {"cost", {{"amount", 0.5}, {"currency", "USD"}}}}));
  EndTurn();
  EXPECT_THAT(owner_.ends.back().total_cost_usd, Optional(0.5));
  ASSERT_THAT(Apply({.conversation = "old"}), Optional(IsOk()));
  EXPECT_EQ(agent().current().total_cost_usd, std::nullopt);
}

TEST_F(AcpTest, ItsOwnerMayDestroyItFromInsideEachCall) {
  for (const char* call : {"started", "text", "permission", "tool_call",
                           "message", "withdrawn", "ended", "unknown"}) {
    owner_.on_call = nullptr;
    MustStart();
    owner_.on_call = [&](const std::string& line) {
      if (absl::StartsWith(line, call)) owner_.agent.reset();
    };
    Send();
    if (owner_.agent == nullptr) continue;
    const std::string to = absl::StrCat("c-", conversations_);
    child().Say(Lines{Chunk(to, "hi").dump(), AsksPermission(0, to).dump(),
                      Update(to, {{"sessionUpdate", "brand_new"}}).dump(),
                      Result(Prompt(), {{"stopReason", "end_turn"}}).dump()});
    loop_.RunUntilIdle();
    EXPECT_EQ(owner_.agent, nullptr) << call;
  }
}

}  // namespace
}  // namespace understudy::session
