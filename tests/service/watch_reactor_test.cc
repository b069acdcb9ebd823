#include "service/watch_reactor.h"

#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "tests/service/rpc_fixture.h"
#include "tests/support/status_matchers.h"

namespace understudy::service {
namespace {

using session::HasReason;
using session::IsOk;
using ::testing::IsEmpty;

session::SessionManager::Options Options() {
  session::SessionManager::Options options;
  options.max_window_bytes = 4 << 10;
  return options;
}

class WatchReactorTest : public RpcFixture {
 protected:
  WatchReactorTest() : RpcFixture(Options()), session_(CreateSession()) {}

  v1::WatchEventsRequest Request() const {
    v1::WatchEventsRequest request;
    request.set_session_id(session_);
    return request;
  }
  v1::WatchEventsRequest After(uint64_t sequence) const {
    v1::WatchEventsRequest request = Request();
    request.set_after_sequence(sequence);
    return request;
  }

  void ExpectDense(const WatchClient& client, uint64_t first) {
    const uint64_t newest = engine_.Info(session_).newest_sequence;
    Await(
        [&] {
          const auto got = Sequences(client.events());
          return !got.empty() && got.back() >= newest;
        },
        "the newest event");
    std::vector<uint64_t> expected(newest + 1 - first);
    std::iota(expected.begin(), expected.end(), first);
    EXPECT_EQ(Sequences(client.events()), expected);
  }

  absl::Status EndOf(const v1::WatchEventsRequest& request) {
    WatchClient client(*stub_, request);
    Await([&] { return client.ended(); }, "the end of the stream");
    EXPECT_THAT(client.events(), IsEmpty());
    return client.status();
  }

  const std::string session_;
};

TEST_F(WatchReactorTest, E3_ShowsARequestThatWaitsFirst) {
  engine_.world.decide = [](session::FakeStep step, session::FakeAgent&) {
    return session::FakeFate{.kind = step == session::FakeStep::kMiddle
                                         ? session::FakeFate::Kind::kAsk
                                         : session::FakeFate::Kind::kFine};
  };
  engine_.Send(session_, "use a tool");
  const session::SessionInfo info = engine_.Info(session_);
  WatchClient client(*stub_, After(info.newest_sequence));
  Await([&] { return !client.events().empty(); }, "the request");
  const v1::Event copy = client.events().front();
  EXPECT_EQ(copy.permission_requested().permission_id(),
            info.pending_permission_ids.front());
  EXPECT_EQ(copy.sequence(), 0u);
  EXPECT_EQ(copy.after_sequence(), info.newest_sequence);
}

TEST_F(WatchReactorTest, ShowsHistoryAndWhatComes) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, "hello");
  WatchClient all(*stub_, After(0));
  WatchClient some(*stub_, After(7));
  WatchClient none(*stub_, After(engine_.Info(session_).newest_sequence));
  ExpectDense(all, 1);
  const uint64_t next = engine_.Info(session_).newest_sequence + 1;
  SendMessage(session_, "more");
  ExpectDense(all, 1);
  ExpectDense(some, 8);
  ExpectDense(none, next);
}

TEST_F(WatchReactorTest, SaysWhenItWatchesFromNowOn) {
  const uint64_t next = engine_.Info(session_).newest_sequence + 1;
  WatchClient client(*stub_, Request());
  Await([&] { return client.watching(); }, "the headers");
  SendMessage(session_, "hello");
  ExpectDense(client, next);
}

TEST_F(WatchReactorTest, SendsDeltasToThoseWhoAsk) {
  v1::WatchEventsRequest request = Request();
  request.set_include_deltas(true);
  WatchClient client(*stub_, request);
  Await([&] { return client.watching(); }, "the headers");
  SendMessage(session_, "hello");
  Await(
      [&] {
        return !client.events().empty() &&
               client.events().back().has_turn_completed();
      },
      "the end of the turn");
  uint64_t last = 0;
  int deltas = 0;
  for (const v1::Event& event : client.events()) {
    if (event.sequence() == 0) {
      ++deltas;
      EXPECT_LE(event.after_sequence(), last) << "before what it follows";
    } else {
      last = event.sequence();
    }
  }
  EXPECT_GT(deltas, 0);
}

TEST_F(WatchReactorTest, SendsRawLinesOnlyToThoseWhoAsk) {
  for (int i = 0; i < 20; ++i) SendMessage(session_, "hello");
  v1::WatchEventsRequest request = After(0);
  // Of what is stored, and of what comes.
  WatchClient without(*stub_, request);
  request.set_include_raw(true);
  WatchClient with(*stub_, request);
  ExpectDense(with, 1);
  ExpectDense(without, 1);
  SendMessage(session_, "more");
  ExpectDense(with, 1);
  ExpectDense(without, 1);
  int messages = 0;
  for (const v1::Event& event : with.events()) {
    if (!event.has_message()) continue;
    ++messages;
    EXPECT_EQ(event.raw(), "{}");
  }
  EXPECT_EQ(messages, 21);
  for (const v1::Event& event : without.events()) {
    EXPECT_EQ(event.raw(), "") << event.ShortDebugString();
  }
}

TEST_F(WatchReactorTest, EndsWithNotFoundWhenTheSessionIsDeleted) {
  WatchClient client(*stub_, After(0));
  ExpectDense(client, 1);
  EXPECT_THAT(engine_.Delete(session_).status(), IsOk());
  Await([&] { return client.ended(); }, "the end of the stream");
  EXPECT_THAT(client.status(), HasReason(Reason::kSessionNotFound));
  EXPECT_TRUE(client.events().back().has_session_deleted());
}

TEST_F(WatchReactorTest, RefusesWhatCannotBegin) {
  v1::WatchEventsRequest request;
  request.set_session_id("x");
  EXPECT_THAT(EndOf(request), HasReason(Reason::kFieldInvalid));
  request.set_session_id(session::NewUuid());
  EXPECT_THAT(EndOf(request), HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(EndOf(After(1000)), HasReason(Reason::kSequenceOutOfRange));
}

TEST_F(WatchReactorTest, EndsWithTheLastSequenceWhenTheServerStops) {
  WatchClient client(*stub_, After(0));
  ExpectDense(client, 1);
  Drain();
  server_->EndStreams();
  Await([&] { return client.ended(); }, "the end of the stream");
  EXPECT_THAT(client.status(), HasReason(Reason::kDraining));
  EXPECT_EQ(MetadataOf(client.status())["last_sequence"], "1");
  EXPECT_THAT(EndOf(After(0)), HasReason(Reason::kDraining));
}

TEST_F(WatchReactorTest, EndsWhenTheClientGoes) {
  WatchClient client(*stub_, After(0));
  ExpectDense(client, 1);
  client.Cancel();
  Await([&] { return client.ended(); }, "the end of the stream");
  EXPECT_EQ(client.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace understudy::service
