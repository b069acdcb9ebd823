// The whole engine under random calls and random faults, in one thread and
// with a fake clock, held to the rules of the API. A seed that fails is
// printed; UNDERSTUDY_SIMULATION_SEED=N runs one,
// UNDERSTUDY_SIMULATION_SEEDS=N that many. They are dealt out to several tests,
// which ctest runs side by side.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "proto/error.h"
#include "tests/support/engine.h"
#include "tests/support/history_checker.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed), engine_(RandomOptions()) {
    engine_.world.capabilities.switch_model = Chance(80);
    engine_.world.capabilities.new_conversation = Chance(80);
    engine_.world.capabilities.load_conversation = Chance(30);
    engine_.world.capabilities.shared_conversation = Chance(80);
    if (Chance(15)) {
      engine_.world.capabilities.resume_conversation = false;
      engine_.world.capabilities.load_conversation = false;
    }
    engine_.world.keeps_open = Chance(50);
    engine_.world.verifies = Chance(80);
    engine_.world.bad_models = {"model-bad"};
    trouble_ = static_cast<int>(Up(25));
    engine_.world.decide = [this](FakeStep step, FakeAgent&) {
      return Decide(step);
    };
  }

  void Run() {
    const uint64_t sessions = 1 + Up(3);
    for (uint64_t i = 0; i < sessions; ++i) {
      sessions_.push_back(engine_.Create());
    }
    if (Chance(70)) TakeTime();
    const uint64_t steps = 20 + Up(80);
    for (uint64_t i = 0; i < steps; ++i) Step();
    // A server may be stopped in the middle of everything.
    if (Chance(60)) Settle();
    Drain();
    Check();
  }

 private:
  SessionManager::Options RandomOptions() {
    SessionManager::Options options;
    options.max_slots = static_cast<int>(1 + Up(3));
    options.max_queued_messages = 4;
    Profile profile = Engine::FakeProfile();
    profile.native_switch = true;
    profile.turn_timeout = absl::Minutes(3);
    if (Chance(30)) profile.permission_timeout = absl::Seconds(20);
    if (Chance(20)) profile.default_model = "";
    options.profiles.push_back(std::move(profile));
    return options;
  }

  // The store is slower than calls come, and what is read overtakes what is
  // written.
  void TakeTime() {
    engine_.reading.delay = [this] {
      return absl::Milliseconds(Chance(50) ? 0 : static_cast<int>(Up(300)));
    };
    engine_.committing.delay = [this] {
      return absl::Milliseconds(Chance(30) ? 0 : static_cast<int>(Up(150)));
    };
  }

  // From 0 to n - 1.
  uint64_t Up(uint64_t n) { return random_() % n; }
  bool Chance(int percent) { return Up(100) < static_cast<uint64_t>(percent); }

  FakeFate Decide(FakeStep step) {
    FakeFate fate;
    fate.delay = absl::Milliseconds(static_cast<int64_t>(Up(500)));
    if (step == FakeStep::kMiddle && Chance(5)) {
      fate.kind = FakeFate::Kind::kAsk;
    }
    if (!Chance(trouble_)) return fate;
    switch (Up(7)) {
      case 0:
        fate.kind = FakeFate::Kind::kCrash;
        break;
      case 4:
        fate.kind = FakeFate::Kind::kLate;
        break;
      case 1:
        fate.kind = FakeFate::Kind::kSilent;
        break;
      case 2:
        fate.kind = FakeFate::Kind::kUnsure;
        break;
      case 3:
        fate.kind = FakeFate::Kind::kLie;
        break;
      default:
        fate.kind = FakeFate::Kind::kRefuse;
        break;
    }
    if (step == FakeStep::kEnd && fate.kind != FakeFate::Kind::kCrash &&
        fate.kind != FakeFate::Kind::kSilent) {
      fate.kind = FakeFate::Kind::kFail;
    }
    return fate;
  }

  std::string Model() {
    static const char* const kModels[] = {"model-a", "model-b", "model-c",
                                          "model-bad", ""};
    return kModels[Up(5)];
  }

  TurnPolicy Policy() {
    static const TurnPolicy kPolicies[] = {
        TurnPolicy::kAfterTurn, TurnPolicy::kInterrupt, TurnPolicy::kFail};
    return kPolicies[Up(3)];
  }

  std::string Conversation() {
    std::vector<std::string> known;
    for (const auto& [id, unused] : engine_.world.transcripts) {
      known.push_back(id);
    }
    if (known.empty() || Chance(10)) {
      return "00000000-0000-4000-8000-000000000000";
    }
    return known[Up(known.size())];
  }

  FakeAgent* Agent() {
    const std::vector<FakeAgent*>& live = engine_.world.live();
    return live.empty() ? nullptr : live[Up(live.size())];
  }

  void Step() {
    ForgetDeleted();
    if (sessions_.empty()) return;
    const std::string s = sessions_[Up(sessions_.size())];
    switch (Up(18)) {
      case 0:
      case 1:
      case 2:
        sends_.push_back(
            engine_.Send(s, absl::StrCat("message ", ++messages_)));
        break;
      case 3:
        sends_.push_back(engine_.SendAndWait(
            s, absl::StrCat("message ", ++messages_),
            Chance(50) ? std::optional<std::string>(Model()) : std::nullopt));
        break;
      case 4:
      case 5:
        moves_.push_back(engine_.Switch(s, Model(), Policy()));
        break;
      case 6:
        moves_.push_back(engine_.Clear(
            s, Chance(30) ? Conversation() : std::string(), Policy()));
        break;
      case 7:
        moves_.push_back(engine_.Resume(
            s, Conversation(),
            Chance(30) ? std::optional<std::string>(Model()) : std::nullopt));
        break;
      case 8:
        interrupts_.push_back(engine_.Interrupt(s));
        break;
      case 9:
        if (!moves_.empty()) {
          engine_.manager->Withdraw(moves_[Up(moves_.size())].id);
        }
        break;
      case 10:
        if (FakeAgent* agent = Agent(); agent != nullptr && Chance(50)) {
          agent->Crash();
        } else if (agent != nullptr && !agent->in_turn() && Chance(50)) {
          agent->ChangeModel("model-of-its-own");
        }
        break;
      case 11:
        if (FakeAgent* agent = Agent();
            agent != nullptr && agent->ready() && !agent->in_turn()) {
          agent->BeginUnsolicitedTurn();
        } else if (agent != nullptr && agent->unsolicited()) {
          agent->EndUnsolicitedTurn();
        }
        break;
      case 12:
        if (Chance(50)) {
          engine_.store.FailWrites(static_cast<int>(1 + Up(3)),
                                   MakeError(Reason::kStoreUnavailable, "no"));
        } else {
          engine_.store.LoseAnswers(1);
        }
        break;
      case 13:
        for (const std::string& id : Asked(s)) {
          engine_.Resolve(s, id,
                          Chance(50) ? v1::PERMISSION_DECISION_ALLOW
                                     : v1::PERMISSION_DECISION_DENY);
        }
        break;
      case 14:
        if (Chance(10)) {
          engine_.Restart();
          sends_.clear();
          moves_.clear();
          interrupts_.clear();
          creations_.clear();
          deletions_.clear();
        }
        break;
      case 15:
        Repeat(s);
        break;
      case 16:
        if (Chance(20)) ComeAndGo(sessions_[Up(sessions_.size())]);
        break;
      default:
        engine_.loop.Advance(absl::Milliseconds(
            static_cast<int64_t>(Chance(20) ? Up(60000) : Up(2000))));
        break;
    }
    engine_.Run();
  }

  // The permissions that a session waits for; it may have been deleted.
  std::vector<std::string> Asked(const std::string& session) {
    Pending<SessionInfo> info;
    engine_.manager->GetSession({}, session, /*prewarm=*/false, info.reply());
    engine_.Run();
    if (!info.status().ok()) return {};
    return info->pending_permission_ids;
  }

  // The same request, again and again, is one.
  void Repeat(const std::string& session) {
    const std::string id =
        absl::StrCat("11111111-1111-4111-8111-11111111111", Up(4));
    std::string& of = repeated_[id];
    if (of.empty()) of = session;
    sends_.push_back(engine_.Send(of, absl::StrCat("message ", id), {}, id));
    if (Chance(30)) {
      sends_.push_back(engine_.Send(of, absl::StrCat("message ", id), {}, id));
    }
  }

  // A session that is made, used and deleted by several at a time.
  void ComeAndGo(const std::string& session) {
    static const std::string kSpare = "22222222-2222-4222-8222-222222222222";
    const bool spare = Chance(60);
    const std::string id = spare ? kSpare : session;
    for (uint64_t i = 0; i < 1 + Up(4); ++i) {
      switch (Up(spare ? 4 : 3)) {
        case 0:
          moves_.push_back(engine_.Switch(id, Model(), Policy()));
          break;
        case 1:
          sends_.push_back(engine_.SendAndWait(id, "message of the moment"));
          break;
        case 2:
          if (spare || sessions_.size() > 1) {
            doomed_.insert(id);
            deletions_.push_back({id, engine_.Delete(id)});
          }
          break;
        default: {
          Pending<SessionInfo> created;
          CreateParams params;
          params.session_id = id;
          params.agent = "fake";
          params.working_directory = "/tmp";
          engine_.manager->CreateSession({}, params, created.reply());
          creations_.push_back(created);
          break;
        }
      }
    }
    engine_.Run();
  }

  // What has been deleted is looked at no more.
  void ForgetDeleted() {
    for (const auto& [id, call] : deletions_) {
      if (!call.status().ok()) continue;
      std::erase(sessions_, id);
    }
    // Of a deletion that was under way when the server was killed nobody knows.
    for (const std::string& id : doomed_) {
      if (!engine_.memory->Get(id).ok()) std::erase(sessions_, id);
    }
  }

  // No more trouble, and time enough for every bound.
  void Settle() {
    trouble_ = 0;
    engine_.loop.Advance(absl::Minutes(10));
    ForgetDeleted();
    for (int i = 0; i < 10; ++i) {
      for (const std::string& s : sessions_) {
        for (const std::string& id : Asked(s)) {
          engine_.Resolve(s, id, v1::PERMISSION_DECISION_DENY);
        }
      }
      while (FakeAgent* agent = Unsolicited()) agent->EndUnsolicitedTurn();
      engine_.loop.Advance(absl::Minutes(10));
    }
    for (const std::string& s : sessions_) {
      EXPECT_NE(engine_.Info(s).state, SessionState::kRunning);
      EXPECT_NE(engine_.Info(s).state, SessionState::kTransitioning);
      EXPECT_EQ(engine_.Info(s).queued_messages, 0);
    }
  }

  void Drain() {
    engine_.loop.Advance(absl::Milliseconds(static_cast<int>(Up(200))));
    bool drained = false;
    engine_.manager->Drain(absl::Seconds(1), [&drained] { drained = true; });
    engine_.loop.Advance(absl::Minutes(5));
    EXPECT_TRUE(drained);
    ForgetDeleted();
  }

  FakeAgent* Unsolicited() {
    for (FakeAgent* agent : engine_.world.live()) {
      if (agent->unsolicited()) return agent;
    }
    return nullptr;
  }

  template <typename T>
  static void CheckAnswered(const char* what,
                            const std::vector<Pending<T>>& calls) {
    for (const Pending<T>& call : calls) {
      EXPECT_EQ(call.answers(), 1u) << what << " " << &call - calls.data();
      EXPECT_NE(ReasonOf(call.status()), Reason::kInternal) << call.status();
    }
  }

  void Check() {
    CheckAnswered("sends", sends_);
    CheckAnswered("moves", moves_);
    CheckAnswered("interrupts", interrupts_);
    CheckAnswered("creations", creations_);
    for (const auto& [unused, call] : deletions_) {
      EXPECT_EQ(call.answers(), 1u);
    }
    EXPECT_THAT(engine_.world.violations, IsEmpty());
    EXPECT_THAT(engine_.world.live(), IsEmpty());
    EXPECT_LE(engine_.world.most_live, engine_.options.max_slots);
    for (const std::string& s : sessions_) {
      const std::vector<v1::Event> events = engine_.Events(s);
      EXPECT_THAT(CheckHistory(events, /*settled=*/true), IsEmpty())
          << Tell(events);
      EXPECT_THAT(CheckDeliveries(events, engine_.world.deliveries), IsEmpty());
      const SessionRecord record = engine_.Info(s).record;
      EXPECT_EQ(record.open_turns_size(), 0);
      EXPECT_EQ(record.processes_size(), 0);
      std::string model;
      for (const v1::Event& event : events) {
        if (event.has_session_created()) {
          model = event.session_created().model();
        }
        if (event.has_agent_started()) model = event.agent_started().model();
        if (event.has_model_changed()) model = event.model_changed().model();
      }
      EXPECT_EQ(record.model(), model);
    }
    for (const auto& call : moves_) {
      if (!call.status().ok() || !call->changed) continue;
      EXPECT_GT(call->sequence, 0u);
    }
  }

  static std::string Tell(const std::vector<v1::Event>& events) {
    std::string told;
    for (const v1::Event& event : events) {
      v1::Event brief = event;
      brief.clear_session_id();
      brief.clear_time();
      absl::StrAppend(&told, brief.ShortDebugString(), "\n");
    }
    return told;
  }

  std::mt19937_64 random_;
  Engine engine_;
  int trouble_ = 0;  // per cent of an agent's steps that go wrong
  int messages_ = 0;
  std::vector<std::string> sessions_;
  std::vector<Pending<SendResult>> sends_;
  std::vector<Pending<MoveResult>> moves_;
  std::vector<Pending<InterruptResult>> interrupts_;
  std::vector<Pending<SessionInfo>> creations_;
  std::vector<std::pair<std::string, Pending<bool>>> deletions_;
  std::set<std::string> doomed_;  // somebody has wanted them deleted
  std::map<std::string, std::string> repeated_;  // request id -> session
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

void RunSeed(uint64_t seed) {
  SCOPED_TRACE(absl::StrCat("UNDERSTUDY_SIMULATION_SEED=", seed));
  Simulation(seed).Run();
  if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
}

constexpr uint64_t kShards = 8;

class SimulationTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(SimulationTest, TheRulesHoldWhateverGoesWrong) {
  const uint64_t one = FromEnvironment("UNDERSTUDY_SIMULATION_SEED", 0);
  if (one != 0) {
    if (GetParam() == 0) RunSeed(one);
    return;
  }
  const uint64_t seeds = FromEnvironment("UNDERSTUDY_SIMULATION_SEEDS", 500);
  for (uint64_t seed = 1 + GetParam(); seed <= seeds && !HasFatalFailure();
       seed += kShards) {
    RunSeed(seed);
  }
}

INSTANTIATE_TEST_SUITE_P(Shard, SimulationTest,
                         ::testing::Range<uint64_t>(0, kShards));

// Those that have found something once. Seeds mean what they meant only as long
// as the simulation draws the same numbers, so a bug has a test of its own,
// too.
constexpr uint64_t kSeedsThatOnceFailed[] = {324, 512};

TEST(SimulationSeedsTest, WhatOnceFailedHolds) {
  for (const uint64_t seed : kSeedsThatOnceFailed) {
    RunSeed(seed);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace understudy::session
