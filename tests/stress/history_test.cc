// That the checker finds what it is there to find: a history in which
// everything holds, and the same with one thing wrong.

#include "tests/stress/history.h"

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "proto/error.h"

namespace understudy::stress {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kFirst[] = "11111111-1111-4111-8111-111111111111";
constexpr char kSecond[] = "22222222-2222-4222-8222-222222222222";

class HistoryTest : public ::testing::Test {
 protected:
  // A turn, a switch to another process, and a turn in which that is killed.
  HistoryTest() {
    Store("session_created { agent: 'a' model: 'm1' } synthetic: true");
    Store(
        absl::StrCat("message_accepted { text: 'one' request_id: 'r1' } "
                     "synthetic: true turn_id: '",
                     kFirst, "'"));
    Store("agent_started { pid: 7 model: 'm1' } incarnation: 1 synthetic: true",
          1);
    Store(absl::StrCat("turn_started { text: 'one' model: 'm1' request_id: "
                       "'r1' } raw: 'L1' turn_id: '",
                       kFirst, "'"),
          1);
    Store(
        absl::StrCat("message { text: 'x' } raw: 'L2' turn_id: '", kFirst, "'"),
        1);
    Store(absl::StrCat("turn_completed { outcome: TURN_OUTCOME_SUCCEEDED text: "
                       "'done' delivered: DELIVERED_YES } raw: 'L3' turn_id: '",
                       kFirst, "'"),
          1);
    Store("model_changed { previous_model: 'm1' model: 'm2' } synthetic: true",
          2);
    Store("agent_started { pid: 8 model: 'm2' } synthetic: true", 2);
    Store("agent_exited { pid: 7 } synthetic: true", 2);
    Store(absl::StrCat("message_accepted { text: 'two' request_id: 'r2' } "
                       "synthetic: true turn_id: '",
                       kSecond, "'"),
          2);
    Store(absl::StrCat("turn_started { text: 'two' model: 'm2' request_id: "
                       "'r2' } raw: 'M1' turn_id: '",
                       kSecond, "'"),
          2);
    Store(absl::StrCat("turn_completed { outcome: TURN_OUTCOME_AGENT_LOST "
                       "delivered: DELIVERED_YES error { reason: 'AGENT_LOST' "
                       "} } synthetic: true turn_id: '",
                       kSecond, "'"),
          2);
    Store("agent_exited { pid: 8 signal: 9 } synthetic: true", 2);

    history_.seen = history_.stored;
    for (v1::Event& event : history_.seen) event.clear_raw();

    Call sent;
    sent.request_id = "r1";
    sent.text = "one";
    sent.sent.set_turn_id(kFirst);
    sent.sent.set_sequence(2);
    sent.sent.set_outcome(v1::TURN_OUTCOME_SUCCEEDED);
    sent.sent.set_text("done");
    Call moved;
    moved.kind = Call::Kind::kSwitch;
    moved.request_id = "r3";
    moved.moved.set_changed(true);
    moved.moved.set_model("m2");
    moved.moved.set_sequence(7);
    Call lost;
    lost.request_id = "r2";
    lost.text = "two";
    lost.status = MakeError(Reason::kAgentLost, "it died");
    history_.calls = {sent, moved, lost};

    history_.agents = {
        User(7, kFirst, "one"),
        Line(7, "L0"),
        Line(7, "L1"),
        Line(7, "L2"),
        Turn(7, kFirst, "m1", "ok", "done"),
        Line(7, "L3"),
        User(8, kSecond, "two"),
        Line(8, "M1"),
        Line(8, "M2"),
    };
  }

  void Store(const std::string& text, uint64_t incarnation = 0) {
    v1::Event event;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event))
        << text;
    event.set_sequence(history_.stored.size() + 1);
    event.set_epoch(1);
    event.set_incarnation(incarnation);
    history_.stored.push_back(event);
  }
  static AgentEntry User(int pid, const std::string& turn,
                         const std::string& text) {
    AgentEntry entry;
    entry.event = "user";
    entry.pid = pid;
    entry.turns = {turn};
    entry.text = text;
    return entry;
  }
  static AgentEntry Turn(int pid, const std::string& turn,
                         const std::string& model, const std::string& outcome,
                         const std::string& result) {
    AgentEntry entry;
    entry.event = "turn";
    entry.pid = pid;
    entry.turns = {turn};
    entry.model = model;
    entry.outcome = outcome;
    entry.result = result;
    return entry;
  }
  static AgentEntry Line(int pid, const std::string& line) {
    AgentEntry entry;
    entry.event = "line";
    entry.pid = pid;
    entry.line = line;
    return entry;
  }

  v1::Event& stored(uint64_t sequence) { return history_.stored[sequence - 1]; }
  void Erase(uint64_t sequence) {
    history_.stored.erase(history_.stored.begin() +
                          static_cast<ptrdiff_t>(sequence - 1));
  }
  std::vector<std::string> Broken() const { return CheckSession(history_); }

  SessionHistory history_;
};

TEST_F(HistoryTest, FindsNothingWhereEverythingHolds) {
  EXPECT_THAT(Broken(), IsEmpty());
}

struct Mutation {
  const char* name;
  // What the checker says to it.
  const char* said;
  std::function<void(SessionHistory&)> mutate;
};

void PrintTo(const Mutation& mutation, std::ostream* out) {
  *out << mutation.name;
}

class MutationTest : public HistoryTest,
                     public ::testing::WithParamInterface<Mutation> {};

v1::Event& At(SessionHistory& history, size_t sequence) {
  return history.stored[sequence - 1];
}

const Mutation kMutations[] = {
    {"AnEventThatIsMissing", "sequence 6 follows 4",
     [](SessionHistory& h) { h.stored.erase(h.stored.begin() + 4); }},
    {"AnEventThatIsThereTwice", "follows",
     [](SessionHistory& h) {
       h.stored.insert(h.stored.begin() + 4, h.stored[4]);
     }},
    {"EventsInTheWrongOrder", "wrote no such line there",
     [](SessionHistory& h) {
       std::swap(*At(h, 4).mutable_raw(), *At(h, 5).mutable_raw());
     }},
    {"AnEpochThatGoesBack", "the epoch goes back",
     [](SessionHistory& h) { At(h, 3).set_epoch(2); }},
    {"AnAcknowledgedMessageThatIsLost", "its message_accepted is lost",
     [](SessionHistory& h) { At(h, 2).set_turn_id(kSecond); }},
    {"ARequestThatIsAcceptedTwice", "was accepted twice",
     [](SessionHistory& h) {
       At(h, 10).mutable_message_accepted()->set_request_id("r1");
     }},
    {"AnAnswerThatIsNotTheStoredOne", "was told another end of its turn",
     [](SessionHistory& h) { h.calls[0].sent.set_text("other"); }},
    {"AnAcknowledgedChangeThatIsLost", "was told another change",
     [](SessionHistory& h) { h.calls[1].moved.set_model("m3"); }},
    {"ACallWithoutAnAnswer", "was not answered in time",
     [](SessionHistory& h) {
       h.calls[2].status = absl::DeadlineExceededError("");
     }},
    {"AnInternalError", "INTERNAL",
     [](SessionHistory& h) { h.calls[2].status = absl::InternalError(""); }},
    {"ARefusedMessageThatWasAccepted", "was refused, and accepted",
     [](SessionHistory& h) {
       h.calls[2].status = MakeError(Reason::kQueueFull, "full");
     }},
    {"AReaderThatMissesAnEvent", "a reader saw 4 after 2",
     [](SessionHistory& h) { h.seen.erase(h.seen.begin() + 2); }},
    {"AReaderThatSeesAnEventTwice", "a reader saw 3 after 3",
     [](SessionHistory& h) { h.seen.insert(h.seen.begin() + 2, h.seen[2]); }},
    {"AReaderThatSeesSomethingElse", "a reader saw another event at 5",
     [](SessionHistory& h) { h.seen[4].mutable_message()->set_text("y"); }},
    {"AReaderThatSeesTheFuture", "which is not stored",
     [](SessionHistory& h) {
       h.seen.push_back(h.seen.back());
       h.seen.back().set_sequence(h.seen.size());
     }},
    {"AReaderThatIsNotToldTheEnd", "a reader saw only 12 of 13",
     [](SessionHistory& h) { h.seen.pop_back(); }},
    {"ALineThatNobodyWrote", "wrote no such line there",
     [](SessionHistory& h) { At(h, 5).set_raw("forged"); }},
    {"ALineOfAnotherProcess", "wrote no such line there",
     [](SessionHistory& h) { At(h, 11).set_raw("L2"); }},
    {"ALineThatIsStoredTwice", "wrote no such line there",
     [](SessionHistory& h) { At(h, 5).set_raw("L1"); }},
    {"AMessageThatIsDeliveredTwice", "was delivered twice",
     [](SessionHistory& h) { h.agents.push_back(h.agents[0]); }},
    {"AMessageThatIsDeliveredToTheNextAgentAgain", "was delivered twice",
     [](SessionHistory& h) {
       h.agents.push_back(h.agents[0]);
       h.agents.back().pid = 8;
     }},
    {"AMessageThatIsDeliveredWithAnotherText", "with another text",
     [](SessionHistory& h) { h.agents[0].text = "onf"; }},
    {"UndeliveredThatWasDelivered", "is told undelivered",
     [](SessionHistory& h) {
       At(h, 12).mutable_turn_completed()->set_delivered(v1::DELIVERED_NO);
     }},
    {"DeliveredThatWasNot", "is told delivered",
     [](SessionHistory& h) { h.agents.erase(h.agents.begin() + 6); }},
    {"ASuccessThatItsAgentDoesNotKnow", "another end than its agent's",
     [](SessionHistory& h) { h.agents.erase(h.agents.begin() + 4); }},
    {"ASuccessWithAnotherText", "another end than its agent's",
     [](SessionHistory& h) { h.agents[4].result = "no"; }},
    {"ATurnOnAnotherModel", "ran on m2",
     [](SessionHistory& h) { h.agents[4].model = "m2"; }},
    {"AChangeThatIsNotInTheLog", "was told another change than",
     [](SessionHistory& h) {
       At(h, 7).Clear();
       At(h, 7).mutable_notice();
       At(h, 7).set_sequence(7);
       At(h, 7).set_epoch(1);
       At(h, 7).set_incarnation(2);
     }},
    {"ATurnWithoutAnEnd", "has no end",
     [](SessionHistory& h) {
       At(h, 12).clear_turn_completed();
       At(h, 12).mutable_notice();
     }},
    {"ATurnWithTwoEnds", "after its turn_completed",
     [](SessionHistory& h) {
       At(h, 5) = At(h, 6);
       At(h, 5).set_sequence(5);
     }},
    {"AProcessWithoutAnEnd", "has no agent_exited",
     [](SessionHistory& h) {
       h.stored.pop_back();
       h.seen.pop_back();
     }},
    {"AProcessWithTwoEnds", "which does not serve",
     [](SessionHistory& h) { At(h, 13).mutable_agent_exited()->set_pid(7); }},
};

TEST_P(MutationTest, IsFound) {
  GetParam().mutate(history_);
  EXPECT_THAT(Broken(), Contains(HasSubstr(GetParam().said)));
}

INSTANTIATE_TEST_SUITE_P(All, MutationTest, ::testing::ValuesIn(kMutations),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(AgentLogTest, ReadsWhatAgentsWrite) {
  const std::vector<AgentEntry> entries = ReadAgentLog(
      "{\"time\":1.5,\"pid\":3,\"session_id\":\"s\",\"event\":\"user\","
      "\"uuid\":\"u\",\"text\":\"hello\"}\n"
      "{\"time\":1.5,\"pid\":3,\"session_id\":\"s\",\"event\":\"turn\","
      "\"uuids\":[\"u\",\"v\"],\"model\":\"m\",\"outcome\":\"ok\","
      "\"result\":\"r\"}\n");
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].pid, 3);
  EXPECT_EQ(entries[0].text, "hello");
  EXPECT_THAT(entries[0].turns, testing::ElementsAre("u"));
  EXPECT_THAT(entries[1].turns, testing::ElementsAre("u", "v"));
  EXPECT_EQ(entries[1].result, "r");
}

TEST(AgentLogTest, LeavesOutWhatAnAgentWasKilledInTheMiddleOf) {
  const std::vector<AgentEntry> entries = ReadAgentLog(
      "{\"time\":1,\"pid\":3,\"event\":\"us"
      "{\"time\":2,\"pid\":4,\"event\":\"user\",\"uuid\":null}\n"
      "{\"time\":3,\"pid\":5,\"ev");
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(entries[0].pid, 4);
}

}  // namespace
}  // namespace understudy::stress
