#include "service/attach_reactor.h"

#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "proto/rpc_status.h"
#include "session/base/id.h"
#include "tests/fakes/fake_agent.h"
#include "tests/service/rpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace understudy::service {
namespace {

using session::Engine;
using session::FakeAgent;
using session::FakeFate;
using session::FakeStep;
using session::HasReason;
using session::IsOk;
using session::NewUuid;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

session::SessionManager::Options Options() {
  session::SessionManager::Options options;
  options.max_slots = 1000;
  // So small that a reader that begins at the start reads the store.
  options.max_window_bytes = 4 << 10;
  return options;
}

class AttachReactorTest : public RpcFixture {
 protected:
  AttachReactorTest() : RpcFixture(Options()), session_(CreateSession()) {}

  // Subscribes under `id` and waits until that has happened.
  void Subscribe(uint64_t id, const std::string& more = "after_sequence: 0") {
    client_.Write(absl::StrCat("subscribe { subscription_id: ", id,
                               " session_id: '", session_, "' ", more, " }"));
    Await([&] { return !client_.Subscribed(id).empty(); }, "subscribed");
  }

  // Waits for the result of a command.
  v1::Result Result(const std::string& request_id) {
    Await([&] { return !client_.Results(request_id).empty(); }, "a result");
    return client_.Results(request_id).front();
  }

  v1::Closed Closed(uint64_t id) {
    Await([&] { return !client_.Closed(id).empty(); }, "closed");
    return client_.Closed(id).front();
  }

  // Everything up to the session's newest event, once and in order.
  void ExpectDense(uint64_t id, uint64_t first = 1) {
    const uint64_t newest = engine_.Info(session_).newest_sequence;
    Await(
        [&] {
          const auto got = Sequences(client_.Events(id));
          return !got.empty() && got.back() >= newest;
        },
        "the newest event");
    std::vector<uint64_t> expected(newest + 1 - first);
    std::iota(expected.begin(), expected.end(), first);
    EXPECT_EQ(Sequences(client_.Events(id)), expected);
  }

  const std::string session_;
  AttachClient client_{*channel_};
};

absl::Status StatusOf(const v1::Result& result) {
  return FromRpcStatus(result.status());
}

TEST_F(AttachReactorTest, SubscribesThenShowsHistoryAndWhatComes) {
  SendMessage(session_, "one");
  const uint64_t newest = engine_.Info(session_).newest_sequence;
  Subscribe(1);
  EXPECT_EQ(client_.Subscribed(1).front().oldest_sequence(), 1u);
  EXPECT_EQ(client_.Subscribed(1).front().newest_sequence(), newest);
  ExpectDense(1);

  SendMessage(session_, "two");
  ExpectDense(1);
  EXPECT_THAT(client_.Subscribed(1), SizeIs(1));
  EXPECT_THAT(client_.Closed(1), IsEmpty());
}

TEST_F(AttachReactorTest, SubscribesFromNowOnWithoutAfterSequence) {
  SendMessage(session_, "one");
  const uint64_t newest = engine_.Info(session_).newest_sequence;
  Subscribe(1, "");
  EXPECT_EQ(client_.Subscribed(1).front().newest_sequence(), newest);
  SendMessage(session_, "two");
  ExpectDense(1, newest + 1);
}

TEST_F(AttachReactorTest, E3_ShowsARequestThatWaitsToWhoeverAttaches) {
  bool asked = false;
  engine_.world.decide = [&asked](FakeStep step, FakeAgent&) {
    const bool asks = step == FakeStep::kMiddle && !std::exchange(asked, true);
    return FakeFate{.kind =
                        asks ? FakeFate::Kind::kAsk : FakeFate::Kind::kFine};
  };
  engine_.Send(session_, "use a tool");
  const session::SessionInfo info = engine_.Info(session_);
  ASSERT_THAT(info.pending_permission_ids, SizeIs(1));
  const std::string& id = info.pending_permission_ids.front();
  Subscribe(1, "");
  Subscribe(2, absl::StrCat("after_sequence: ", info.newest_sequence));
  Subscribe(3);
  ExpectDense(3);
  for (const uint64_t subscription : {1, 2}) {
    Await([&] { return !client_.Events(subscription).empty(); }, "the request");
    ASSERT_THAT(client_.Events(subscription), SizeIs(1));
    const v1::Event copy = client_.Events(subscription).front();
    EXPECT_EQ(copy.permission_requested().permission_id(), id);
    EXPECT_EQ(copy.sequence(), 0u);
    EXPECT_EQ(copy.after_sequence(), info.newest_sequence);
    EXPECT_EQ(copy.turn_id(), info.running_turn_id);
  }
  EXPECT_TRUE(engine_.Resolve(session_, id, v1::PERMISSION_DECISION_ALLOW)
                  .status()
                  .ok());
  Subscribe(4, "");
  SendMessage(session_, "more");
  for (const uint64_t subscription : {1, 2, 3, 4}) {
    Await(
        [&] {
          const auto got = client_.Events(subscription);
          return !got.empty() && got.back().sequence() ==
                                     engine_.Info(session_).newest_sequence;
        },
        "the newest event");
  }
  for (const v1::Event& event : client_.Events(4)) {
    EXPECT_NE(event.sequence(), 0u) << "it is settled";
  }
  EXPECT_EQ(client_.Events(1)[1].sequence(), info.newest_sequence + 1);
}

TEST_F(AttachReactorTest, GoesOnAfterASequenceWithoutASeam) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, absl::StrCat("m", i));
  const uint64_t newest = engine_.Info(session_).newest_sequence;
  // The first of these are no longer in the window, the last is.
  uint64_t id = 0;
  for (uint64_t after = 0; after <= newest; after += 3) {
    Subscribe(++id, absl::StrCat("after_sequence: ", after));
  }
  SendMessage(session_, "more");
  id = 0;
  for (uint64_t after = 0; after <= newest; after += 3) {
    ExpectDense(++id, after + 1);
  }
}

TEST_F(AttachReactorTest, SendsDeltasOnlyToThoseWhoAsk) {
  Subscribe(1, "include_deltas: true");
  Subscribe(2, "");
  SendMessage(session_, "hello");
  Await(
      [&] {
        const auto events = client_.Events(1);
        return !events.empty() && events.back().has_turn_completed();
      },
      "the end of the turn");
  int deltas = 0;
  for (const v1::Event& event : client_.Events(1)) {
    deltas += event.has_text_delta();
  }
  EXPECT_GT(deltas, 0);
  Await([&] { return client_.Events(2).back().has_turn_completed(); },
        "the end of the turn");
  for (const v1::Event& event : client_.Events(2)) {
    EXPECT_NE(event.sequence(), 0u);
  }
}

TEST_F(AttachReactorTest, SendsRawLinesOnlyToThoseWhoAsk) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, "hello");
  // Of what is stored, and of what comes.
  Subscribe(1, "after_sequence: 0 include_raw: true");
  Subscribe(2, "after_sequence: 0");
  ExpectDense(1);
  SendMessage(session_, "more");
  ExpectDense(1);
  ExpectDense(2);
  for (const v1::Event& event : client_.Events(1)) {
    if (event.has_message()) {
      EXPECT_EQ(event.raw(), "{}");
    }
  }
  for (const v1::Event& event : client_.Events(2)) {
    EXPECT_EQ(event.raw(), "") << event.ShortDebugString();
  }
}

TEST_F(AttachReactorTest, AnswersEachCommandOnce) {
  Subscribe(1);
  const std::string send = NewUuid(), move = NewUuid(), clear = NewUuid(),
                    interrupt = NewUuid();
  client_.Write(absl::StrCat("request_id: '", send, "' send_message {",
                             "session_id: '", session_,
                             "' text: 'hi' wait_until: WAIT_UNTIL_COMPLETED}"));
  const v1::Result sent = Result(send);
  EXPECT_THAT(StatusOf(sent), IsOk());
  EXPECT_EQ(sent.send_message().outcome(), v1::TURN_OUTCOME_SUCCEEDED);
  EXPECT_NE(sent.send_message().turn_id(), "");

  client_.Write(absl::StrCat("request_id: '", move, "' switch_model {",
                             "session_id: '", session_, "' model: 'model-b'}"));
  EXPECT_EQ(Result(move).transition().model(), "model-b");
  EXPECT_EQ(Result(move).transition().session_id(), session_);
  EXPECT_TRUE(Result(move).transition().changed());

  client_.Write(absl::StrCat("request_id: '", clear, "' clear {",
                             "session_id: '", session_, "'}"));
  EXPECT_TRUE(Result(clear).transition().changed());

  client_.Write(absl::StrCat("request_id: '", interrupt, "' interrupt {",
                             "session_id: '", session_, "'}"));
  EXPECT_THAT(StatusOf(Result(interrupt)), IsOk());
  EXPECT_TRUE(Result(interrupt).has_interrupt());
  EXPECT_FALSE(Result(interrupt).interrupt().interrupted());
  for (const std::string& id : {send, move, clear, interrupt}) {
    EXPECT_THAT(client_.Results(id), SizeIs(1));
  }
  ExpectDense(1);
}

TEST_F(AttachReactorTest, TakesTheCommandsOfASessionInTheOrderSent) {
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) {
    ids.push_back(NewUuid());
    client_.Write(absl::StrCat("request_id: '", ids.back(),
                               "' send_message { session_id: '", session_,
                               "' text: 'm", i, "' }"));
  }
  uint64_t sequence = 0;
  for (const std::string& id : ids) {
    const v1::Result result = Result(id);
    EXPECT_THAT(StatusOf(result), IsOk());
    EXPECT_GT(result.send_message().sequence(), sequence);
    sequence = result.send_message().sequence();
  }
  Await([&] { return engine_.world.deliveries.size() == ids.size(); },
        "all messages");
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(engine_.world.deliveries[i].text, absl::StrCat("m", i));
  }
}

TEST_F(AttachReactorTest, ReturnsTheFirstAnswerForARequestIdOfAnyCase) {
  const std::string id = NewUuid();
  const std::string command =
      absl::StrCat("send_message { session_id: '", session_, "' text: 'hi' }");
  client_.Write(absl::StrCat("request_id: '", id, "' ", command));
  const std::string turn = Result(id).send_message().turn_id();
  client_.Write(
      absl::StrCat("request_id: '", absl::AsciiStrToUpper(id), "' ", command));
  Await([&] { return client_.Results(id).size() == 2; }, "the repeat");
  EXPECT_EQ(client_.Results(id).back().send_message().turn_id(), turn);
  EXPECT_THAT(engine_.world.deliveries, SizeIs(1));
}

TEST_F(AttachReactorTest, RefusesMalformedCommandsAndGoesOn) {
  const std::string id = NewUuid();
  const std::string in_session = absl::StrCat("session_id: '", session_, "' ");
  Subscribe(7);
  struct Row {
    std::string request;
    std::string request_id;  // of the result
    std::string field;
  };
  const std::vector<Row> rows = {
      {"", "", "command"},
      {absl::StrCat("request_id: '", id, "'"), id, "command"},
      {"subscribe {" + in_session + "}", "", "subscription_id"},
      {"subscribe { subscription_id: 2 }", "", "session_id"},
      {"subscribe { subscription_id: 2 session_id: 'x' }", "", "session_id"},
      {"subscribe { subscription_id: 7 " + in_session + "}", "",
       "subscription_id"},
      {absl::StrCat("request_id: '", id, "' subscribe { subscription_id: 7 ",
                    in_session, "}"),
       id, "subscription_id"},
      {"request_id: 'x' subscribe { subscription_id: 3 " + in_session + "}",
       "x", "request_id"},
      {"unsubscribe {}", "", "subscription_id"},
      {"send_message {" + in_session + " text: 'x' }", "", "request_id"},
      {"send_message {" + in_session + " text: 'x' request_id: '" + id + "' }",
       "", "request_id"},
      {"request_id: 'nonsense' send_message {" + in_session + " text: 'x' }",
       "nonsense", "request_id"},
      {absl::StrCat("request_id: '", id, "' send_message {", in_session,
                    " text: 'x' request_id: '", NewUuid(), "' }"),
       id, "request_id"},
      {absl::StrCat("request_id: '", id, "' switch_model {", in_session,
                    " model: '-x' }"),
       id, "model"},
      {absl::StrCat("request_id: '", id, "' switch_model { model: 'x' }"), id,
       "session_id"},
      {absl::StrCat("request_id: '", id, "' clear {", in_session,
                    " turn_policy: 99 }"),
       id, "turn_policy"},
      {absl::StrCat("request_id: '", id, "' resume {", in_session, "}"), id,
       "agent_session_id"},
      {absl::StrCat("request_id: '", id, "' interrupt {", in_session,
                    " turn_id: '-1' }"),
       id, "turn_id"},
      {absl::StrCat("request_id: '", id, "' resolve_permission {", in_session,
                    " permission_id: 'p' }"),
       id, "decision"},
  };
  size_t results = 0;
  for (const Row& row : rows) {
    SCOPED_TRACE(row.request);
    client_.Write(row.request);
    ++results;
    std::vector<v1::Result> all;
    Await(
        [&] {
          all.clear();
          for (const v1::AttachResponse& response : client_.responses()) {
            if (response.has_result()) all.push_back(response.result());
          }
          return all.size() == results;
        },
        "a result");
    EXPECT_EQ(all.back().request_id(), row.request_id);
    const absl::Status status = StatusOf(all.back());
    EXPECT_THAT(status, HasReason(Reason::kFieldInvalid));
    ASSERT_FALSE(FieldViolationsOf(status).empty());
    EXPECT_EQ(FieldViolationsOf(status).front().field, row.field);
  }
  // What is not even a message.
  client_.WriteBytes("\xff\xff\xff");
  Await([&] { return client_.Results("").size() >= 9; }, "a result");
  EXPECT_THAT(StatusOf(client_.Results("").back()),
              HasReason(Reason::kFieldInvalid));
  EXPECT_THAT(engine_.world.deliveries, IsEmpty());

  const std::string good = NewUuid();
  client_.Write(absl::StrCat("request_id: '", good, "' send_message {",
                             in_session, " text: 'x' }"));
  EXPECT_THAT(StatusOf(Result(good)), IsOk());
}

TEST_F(AttachReactorTest, ClosesAtOnceWhatCannotBegin) {
  client_.Write(absl::StrCat("subscribe { subscription_id: 1 session_id: '",
                             NewUuid(), "' }"));
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_NOT_FOUND);
  client_.Write(absl::StrCat("subscribe { subscription_id: 2 session_id: '",
                             session_, "' after_sequence: 1000 }"));
  EXPECT_EQ(Closed(2).reason(), v1::CLOSED_REASON_OUT_OF_RANGE);
  EXPECT_EQ(Closed(2).oldest_sequence(), 1u);
  EXPECT_THAT(client_.Subscribed(1), IsEmpty());
  EXPECT_THAT(client_.Subscribed(2), IsEmpty());
  // Both are free again.
  Subscribe(1);
  Subscribe(2);
}

TEST_F(AttachReactorTest, ClosesForGoodWhatTheStoreHasDamaged) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, "hello");
  engine_.store.FailOthers(1, MakeError(Reason::kStoreCorrupt, "page 7"));
  Subscribe(1);
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_NOT_FOUND);
  EXPECT_EQ(Closed(1).message(), "page 7");
}

TEST_F(AttachReactorTest, SaysToSubscribeAgainWhenTheStoreIsAway) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, "hello");
  engine_.store.FailOthers(1, MakeError(Reason::kStoreUnavailable, "away"));
  Subscribe(1);
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_SLOW_CONSUMER);
  EXPECT_EQ(Closed(1).message(), "away");
}

TEST_F(AttachReactorTest, RefusesOneSubscriptionTooManyForNow) {
  const std::string request_id = NewUuid();
  const auto subscribe = [&](size_t id) {
    client_.Write(absl::StrCat("request_id: '", request_id,
                               "' subscribe { subscription_id: ", id,
                               " session_id: '", session_, "' }"));
  };
  for (size_t i = 0; i <= AttachReactor::kMaxSubscriptions; ++i) {
    subscribe(i + 1);
  }
  const absl::Status refused = StatusOf(Result(request_id));
  EXPECT_THAT(refused, HasReason(Reason::kQuotaExceeded));
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
}

TEST_F(AttachReactorTest, AnswersACommandDuringADelete) {
  engine_.committing.Hold();
  const auto deleted = engine_.Delete(session_);
  EXPECT_FALSE(deleted.done());
  const std::string move = NewUuid();
  client_.Write(absl::StrCat("request_id: '", move, "' switch_model {",
                             "session_id: '", session_, "' model: 'model-b'}"));
  EXPECT_THAT(StatusOf(Result(move)), HasReason(Reason::kSessionNotFound));
  engine_.committing.Release();
  engine_.Run();
  EXPECT_THAT(deleted.status(), IsOk());
}

TEST_F(AttachReactorTest, AnswersACommandThatTheEngineHasDropped) {
  HoldTurns();
  const std::string id = NewUuid();
  client_.Write(absl::StrCat("request_id: '", id, "' send_message {",
                             "session_id: '", session_,
                             "' text: 'hi' wait_until: WAIT_UNTIL_COMPLETED}"));
  Await([&] { return engine_.world.deliveries.size() == 1; }, "the message");
  engine_.manager = nullptr;
  EXPECT_THAT(StatusOf(Result(id)), HasReason(Reason::kInternal));
  client_.CloseInput();
  Await([&] { return client_.ended(); }, "the end of the stream");
  EXPECT_THAT(client_.status(), IsOk());
}

TEST_F(AttachReactorTest, ClosesOnUnsubscribeOnceAndSendsNothingMore) {
  Subscribe(1);
  ExpectDense(1);
  client_.Write("unsubscribe { subscription_id: 1 }");
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_UNSUBSCRIBED);
  const size_t events = client_.Events(1).size();
  Subscribe(2);
  SendMessage(session_, "more");
  ExpectDense(2);
  EXPECT_THAT(client_.Events(1), SizeIs(events));
  EXPECT_THAT(client_.Closed(1), SizeIs(1));

  // Its id is free; one that is not in use is answered, too.
  client_.Write("unsubscribe { subscription_id: 9 }");
  EXPECT_EQ(Closed(9).reason(), v1::CLOSED_REASON_UNSUBSCRIBED);
  client_.Write(absl::StrCat("subscribe { subscription_id: 1 session_id: '",
                             session_, "' }"));
  Await([&] { return client_.Subscribed(1).size() == 2; }, "subscribed");
}

TEST_F(AttachReactorTest, TellsOfADeletedSession) {
  Subscribe(1);
  EXPECT_THAT(engine_.Delete(session_).status(), IsOk());
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_SESSION_DELETED);
  const v1::Event last = client_.Events(1).back();
  EXPECT_TRUE(last.has_session_deleted());
  EXPECT_EQ(last.sequence(), 0u);
  EXPECT_EQ(last.session_id(), session_);
  EXPECT_THAT(client_.Closed(1), SizeIs(1));
}

TEST_F(AttachReactorTest, GivesASignOfLifeAfterSilence) {
  Subscribe(1);
  ExpectDense(1);
  const uint64_t newest = engine_.Info(session_).newest_sequence;
  for (size_t times = 1; times <= 3; ++times) {
    engine_.loop.Advance(kProgressInterval);
    Await([&] { return client_.Progress(1).size() == times; }, "progress");
    EXPECT_EQ(client_.Progress(1).back().sequence(), newest);
  }
  // Half of the time passes, an event comes, and the silence begins anew.
  engine_.loop.Advance(kProgressInterval / 2);
  SendMessage(session_, "hello");
  ExpectDense(1);
  engine_.loop.Advance(kProgressInterval / 2);
  Subscribe(2);  // what was to be sent before has been
  EXPECT_THAT(client_.Progress(1), SizeIs(3));
  engine_.loop.Advance(kProgressInterval / 2);
  Await([&] { return client_.Progress(1).size() == 4; }, "progress");
  EXPECT_EQ(client_.Progress(1).back().sequence(),
            engine_.Info(session_).newest_sequence);
}

TEST_F(AttachReactorTest, AnswersEverythingAndEndsWhenTheClientHasClosed) {
  const std::string id = NewUuid();
  client_.Write(absl::StrCat("subscribe { subscription_id: 1 session_id: '",
                             session_, "' after_sequence: 0 }"));
  client_.Write(absl::StrCat("request_id: '", id, "' send_message {",
                             "session_id: '", session_,
                             "' text: 'hi' wait_until: WAIT_UNTIL_COMPLETED}"));
  client_.CloseInput();
  Await([&] { return client_.ended(); }, "the end of the stream");
  EXPECT_THAT(client_.status(), IsOk());
  EXPECT_THAT(StatusOf(Result(id)), IsOk());
  // With all that the command caused.
  ExpectDense(1);
  EXPECT_TRUE(client_.Events(1).back().has_turn_completed());
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_UNSUBSCRIBED);
}

TEST_F(AttachReactorTest, EndsAnEmptyStreamWhenTheClientHasClosed) {
  client_.CloseInput();
  Await([&] { return client_.ended(); }, "the end of the stream");
  EXPECT_THAT(client_.status(), IsOk());
}

TEST_F(AttachReactorTest, LeavesTheAgentAloneWhenTheClientGoes) {
  HoldTurns();
  Subscribe(1);
  const std::string id = NewUuid();
  client_.Write(absl::StrCat("request_id: '", id, "' send_message {",
                             "session_id: '", session_,
                             "' text: 'hi' wait_until: WAIT_UNTIL_COMPLETED}"));
  Await([&] { return engine_.world.deliveries.size() == 1; }, "the message");
  client_.Cancel();
  Await([&] { return client_.ended(); }, "the end of the stream");
  // The turn goes on, and its answer finds nobody.
  EXPECT_EQ(engine_.Info(session_).state, session::SessionState::kRunning);
  session::FakeAgent& agent = *engine_.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  engine_.Run();
  EXPECT_EQ(engine_.Info(session_).state, session::SessionState::kIdle);
  EXPECT_EQ(engine_.world.started, 1);
}

TEST_F(AttachReactorTest, ClosesWithDrainingWhenTheServerStops) {
  Subscribe(1);
  ExpectDense(1);
  const std::string other = CreateSession();
  client_.Write(absl::StrCat("subscribe { subscription_id: 2 session_id: '",
                             other, "' }"));
  Await([&] { return !client_.Subscribed(2).empty(); }, "subscribed");
  Drain();
  server_->EndStreams();
  Await([&] { return client_.ended(); }, "the end of the stream");
  EXPECT_THAT(client_.status(), HasReason(Reason::kDraining));
  EXPECT_TRUE(RetryAfterOf(client_.status()).has_value());
  EXPECT_EQ(Closed(1).reason(), v1::CLOSED_REASON_DRAINING);
  EXPECT_EQ(Closed(2).reason(), v1::CLOSED_REASON_DRAINING);
  EXPECT_THAT(client_.Closed(1), SizeIs(1));

  AttachClient late(*channel_);
  Await([&] { return late.ended(); }, "the end of the stream");
  EXPECT_THAT(late.status(), HasReason(Reason::kDraining));
}

TEST_F(AttachReactorTest, KeepsMessagesBelowTheBoundOfDefaultClients) {
  // Texts of nearly a megabyte, in large batches for one who begins late.
  const std::string text(900 << 10, 'x');
  for (int i = 0; i < 6; ++i) SendMessage(session_, text);
  Subscribe(1);
  ExpectDense(1);
  EXPECT_GT(client_.largest(), 900u << 10);
  EXPECT_LE(client_.largest(), 3u << 20);
}

TEST_F(AttachReactorTest, E4_ShowsAReaderThatStoppedReadingEverythingLater) {
  AttachClient slow(*channel_);
  slow.Pause();
  slow.Write(absl::StrCat("subscribe { subscription_id: 1 session_id: '",
                          session_, "' after_sequence: 0 }"));
  Subscribe(1);
  const std::string text(100 << 10, 'x');
  for (int i = 0; i < 50; ++i) {
    SendMessage(session_, text);
    // The other reader is not kept waiting.
    ExpectDense(1);
  }
  slow.Continue();
  const size_t all = Sequences(client_.Events(1)).size();
  Await([&] { return Sequences(slow.Events(1)).size() >= all; }, "all events");
  EXPECT_EQ(Sequences(slow.Events(1)), Sequences(client_.Events(1)));
}

TEST_F(AttachReactorTest, StopsReadingWhileManyCommandsAreOutstanding) {
  HoldTurns();
  const size_t bound = AttachReactor::kMaxOutstanding;
  std::vector<std::string> sessions;
  for (size_t i = 0; i < bound; ++i) {
    sessions.push_back(engine_.Create());
    client_.Write(absl::StrCat("request_id: '", NewUuid(), "' send_message {",
                               "session_id: '", sessions.back(),
                               "' text: 'x' wait_until: "
                               "WAIT_UNTIL_COMPLETED }"));
  }
  Await([&] { return engine_.world.deliveries.size() == bound; },
        "all messages");
  // Within a process a write ends when the server has read it.
  const std::string next = NewUuid();
  std::thread writer([&] {
    client_.Write(absl::StrCat("request_id: '", next, "' interrupt {",
                               "session_id: '", session_, "' }"));
  });
  // Another stream's commands are read, this one's are not.
  AttachClient other(*channel_);
  const std::string there = NewUuid();
  other.Write(absl::StrCat("request_id: '", there, "' interrupt {",
                           "session_id: '", session_, "' }"));
  Await([&] { return !other.Results(there).empty(); }, "a result");
  EXPECT_THAT(client_.Results(next), IsEmpty());

  session::FakeAgent& agent = *engine_.world.live().front();
  agent.FinishTurn({.turn_id = agent.turn_id()});
  EXPECT_THAT(StatusOf(Result(next)), IsOk());
  writer.join();
}

}  // namespace
}  // namespace understudy::service
