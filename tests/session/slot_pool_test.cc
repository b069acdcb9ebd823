#include "session/slot_pool.h"

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "tests/fakes/fake_agent.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// How many agents are not even launched, from now on.
int failing_launches = 0;

absl::StatusOr<std::unique_ptr<Agent>> MakeOrFail(EventLoop& loop,
                                                  Launcher& launcher,
                                                  const Profile& profile,
                                                  const Opening& opening,
                                                  Agent::Observer* observer) {
  if (failing_launches > 0) {
    --failing_launches;
    return MakeError(Reason::kAgentStartFailed, "start fake: no such program");
  }
  return FakeWorld::FindKind("fake")->make(loop, launcher, profile, opening,
                                           observer);
}

struct OwnerOfAgent final : Agent::Observer {
  void OnDelta(DeltaKind, std::string_view, std::string_view,
               std::string_view) override {}
  void OnEvent(v1::Event, std::string_view) override {}
  void OnTurnStarted(std::string_view, std::string_view) override {}
  void OnTurnEnded(TurnEnd, std::string_view) override {}
  void OnPermissionWithdrawn(std::string_view) override {}
  void OnStateChanged() override {}
  void OnQuiet() override {}
  void OnLost(const Loss& loss) override { lost.push_back(loss.why); }
  std::vector<absl::Status> lost;
};

// Someone who wants an agent.
struct Client {
  std::unique_ptr<SlotPool::Request> request;
  std::unique_ptr<Slot> slot;
  absl::Status error;
  int answers = 0;
};

class SlotPoolTest : public testing::Test {
 protected:
  static constexpr int kMaxSlots = 3;

  SlotPoolTest() {
    failing_launches = 0;
    few_.max_slots = 2;
  }

  static Profile ProfileOf(const std::string& name) {
    Profile profile;
    profile.name = name;
    profile.start_timeout = absl::Seconds(30);
    return profile;
  }

  std::unique_ptr<Client> Start(const Profile& profile,
                                const std::string& model = "") {
    auto client = std::make_unique<Client>();
    client->request = pool_.Start(
        kind_, profile, {.model = model}, /*beside=*/nullptr,
        [client = client.get()](absl::StatusOr<std::unique_ptr<Slot>> slot) {
          ++client->answers;
          if (slot.ok()) {
            client->slot = *std::move(slot);
          } else {
            client->error = slot.status();
          }
          client->request = nullptr;
        });
    EXPECT_EQ(client->answers, 0) << "answered from inside the call";
    return client;
  }
  std::vector<std::unique_ptr<Client>> Start(const Profile& profile,
                                             int count) {
    std::vector<std::unique_ptr<Client>> clients;
    while (count-- > 0) clients.push_back(Start(profile));
    return clients;
  }

  FakeLoop loop_;
  FakeWorld world_{loop_};
  FakeLauncher launcher_{loop_};
  AgentKind kind_{.name = "fake", .make = &MakeOrFail};
  const Profile any_ = ProfileOf("any");
  Profile few_ = ProfileOf("few");
  std::function<void()> give_way_;
  int asked_to_give_way_ = 0;
  SlotPool pool_{loop_, launcher_, kMaxSlots, [this](const Profile*) {
                   ++asked_to_give_way_;
                   if (give_way_) give_way_();
                 }};
};

TEST_F(SlotPoolTest, StartsAnAgentWithItsHandshake) {
  world_.decide = [](FakeStep, FakeAgent&) {
    return FakeFate{.delay = absl::Seconds(2)};
  };
  const std::unique_ptr<Client> client = Start(any_, "opus");
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(client->answers, 0);
  EXPECT_EQ(pool_.live(), 1);
  loop_.Advance(absl::Seconds(1));
  ASSERT_NE(client->slot, nullptr);
  EXPECT_EQ(client->answers, 1);
  EXPECT_EQ(client->slot->agent().current().model, "opus");
  EXPECT_EQ(asked_to_give_way_, 0);
  client->slot = nullptr;
  EXPECT_EQ(pool_.live(), 0);
  EXPECT_THAT(world_.live(), IsEmpty());
}

TEST_F(SlotPoolTest, NeverRunsMoreAgentsThanItHasSlots) {
  std::vector<std::unique_ptr<Client>> clients = Start(any_, 10);
  for (int served = 0; served < 10; ++served) {
    loop_.RunUntilIdle();
    EXPECT_LE(pool_.live(), kMaxSlots);
    ASSERT_NE(clients[served]->slot, nullptr) << "in the order of asking";
    if (served + kMaxSlots < 10) {
      EXPECT_EQ(clients[served + kMaxSlots]->answers, 0);
    }
    clients[served]->slot = nullptr;
  }
  EXPECT_EQ(world_.started, 10);
  EXPECT_EQ(world_.most_live, kMaxSlots);
  EXPECT_EQ(asked_to_give_way_, 10 - kMaxSlots);
}

TEST_F(SlotPoolTest, AProfileHasItsOwnBoundToo) {
  std::vector<std::unique_ptr<Client>> few = Start(few_, 4);
  EXPECT_TRUE(pool_.Full(few_));
  EXPECT_FALSE(pool_.Full(any_));
  // Passes by those who wait for their profile.
  const std::unique_ptr<Client> other = Start(any_);
  loop_.RunUntilIdle();
  EXPECT_NE(other->slot, nullptr);
  EXPECT_NE(few[1]->slot, nullptr);
  EXPECT_EQ(few[2]->answers, 0);
  EXPECT_TRUE(pool_.Full(any_));
  // A slot of another profile is not one for them.
  other->slot = nullptr;
  loop_.RunUntilIdle();
  EXPECT_EQ(few[2]->answers, 0);
  few[0]->slot = nullptr;
  loop_.RunUntilIdle();
  EXPECT_NE(few[2]->slot, nullptr);
  EXPECT_EQ(few[3]->answers, 0);
}

TEST_F(SlotPoolTest, WhoGetsNoneInTimeIsTold) {
  const std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots);
  const std::unique_ptr<Client> late = Start(any_);
  loop_.Advance(absl::Seconds(29));
  EXPECT_EQ(late->answers, 0);
  loop_.Advance(absl::Seconds(1));
  EXPECT_EQ(late->answers, 1);
  EXPECT_THAT(late->error, HasReason(Reason::kNoSlot));
  EXPECT_TRUE(RetryAfterOf(late->error).has_value());
  // It has left the line.
  clients[0]->slot = nullptr;
  loop_.Advance(absl::Minutes(10));
  EXPECT_EQ(late->answers, 1);
  EXPECT_EQ(pool_.live(), kMaxSlots - 1);
}

TEST_F(SlotPoolTest, TheTimeInLineIsNotTheTimeToStart) {
  const std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots);
  const std::unique_ptr<Client> late = Start(any_);
  loop_.Advance(absl::Seconds(29));
  world_.decide = [](FakeStep, FakeAgent&) {
    return FakeFate{.delay = absl::Seconds(20)};
  };
  clients[0]->slot = nullptr;
  loop_.Advance(absl::Seconds(20));
  EXPECT_NE(late->slot, nullptr);
}

TEST_F(SlotPoolTest, IsServedAtOnceBySomebodyWhoGivesWay) {
  std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots);
  loop_.RunUntilIdle();
  give_way_ = [&clients] { clients[0]->slot = nullptr; };
  const std::unique_ptr<Client> late = Start(any_);
  EXPECT_EQ(asked_to_give_way_, 1);
  loop_.RunUntilIdle();
  EXPECT_NE(late->slot, nullptr);
  EXPECT_EQ(world_.most_live, kMaxSlots);
}

// ---- Cancelling ----

TEST_F(SlotPoolTest, WhoLeavesTheLineIsNotServed) {
  std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots + 2);
  clients[kMaxSlots]->request = nullptr;
  loop_.RunUntilIdle();
  clients[0]->slot = nullptr;
  loop_.Advance(absl::Minutes(1));
  EXPECT_EQ(clients[kMaxSlots]->answers, 0);
  EXPECT_NE(clients[kMaxSlots + 1]->slot, nullptr);
}

TEST_F(SlotPoolTest, AnAgentThatNobodyWaitsForAnyMoreIsKilled) {
  world_.decide = [](FakeStep, FakeAgent&) {
    return FakeFate{.delay = absl::Seconds(5)};
  };
  std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots + 1);
  loop_.Advance(absl::Seconds(1));
  clients[1]->request = nullptr;
  loop_.RunUntilIdle();
  // Its slot is the next one's.
  EXPECT_EQ(world_.started, kMaxSlots + 1);
  EXPECT_THAT(world_.live(), SizeIs(kMaxSlots));
  EXPECT_EQ(world_.most_live, kMaxSlots);
  loop_.Advance(absl::Seconds(10));
  EXPECT_EQ(clients[1]->answers, 0);
  EXPECT_NE(clients[kMaxSlots]->slot, nullptr);
}

// ---- Starts that fail ----

TEST_F(SlotPoolTest, AFailedHandshakeIsAnsweredAndItsSlotIsFree) {
  int started = 0;
  world_.decide = [&started](FakeStep, FakeAgent&) {
    return FakeFate{.kind = ++started == 1 ? FakeFate::Kind::kRefuse
                                           : FakeFate::Kind::kFine};
  };
  std::vector<std::unique_ptr<Client>> clients = Start(any_, kMaxSlots + 1);
  loop_.RunUntilIdle();
  EXPECT_THAT(clients[0]->error, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(clients[0]->answers, 1);
  EXPECT_NE(clients[kMaxSlots]->slot, nullptr);
  EXPECT_EQ(pool_.live(), kMaxSlots);
  EXPECT_THAT(world_.live(), SizeIs(kMaxSlots));
}

TEST_F(SlotPoolTest, AnAgentThatDiesOrHangsInItsHandshakeIsAnError) {
  std::vector<FakeFate::Kind> fates = {FakeFate::Kind::kCrash,
                                       FakeFate::Kind::kSilent};
  world_.decide = [&fates](FakeStep, FakeAgent&) {
    const FakeFate fate{.kind = fates.front()};
    fates.erase(fates.begin());
    return fate;
  };
  std::vector<std::unique_ptr<Client>> clients = Start(any_, 2);
  loop_.Advance(absl::Seconds(30));
  EXPECT_THAT(clients[0]->error, HasReason(Reason::kAgentLost));
  EXPECT_FALSE(clients[1]->error.ok());
  EXPECT_EQ(pool_.live(), 0);
}

TEST_F(SlotPoolTest, AnAgentThatCannotBeLaunchedIsAnError) {
  failing_launches = 1;
  const std::unique_ptr<Client> client = Start(any_);
  loop_.RunUntilIdle();
  EXPECT_THAT(client->error, HasReason(Reason::kAgentStartFailed));
  EXPECT_EQ(pool_.live(), 0);
  failing_launches = 1;
  const std::unique_ptr<Client> cancelled = Start(any_);
  cancelled->request = nullptr;
  loop_.RunUntilIdle();
  EXPECT_EQ(cancelled->answers, 0);
  EXPECT_EQ(pool_.live(), 0);
}

TEST_F(SlotPoolTest, ManyInLineThatCannotBeLaunchedAreAnsweredOneByOne) {
  std::vector<std::unique_ptr<Client>> clients = Start(any_, 1000 + kMaxSlots);
  loop_.RunUntilIdle();
  failing_launches = 999;
  clients[0]->slot = nullptr;
  loop_.RunUntilIdle();
  // Those who come after the circuit has opened are not even tried.
  const int tried = 999 - failing_launches;
  constexpr int kEnough = ProfileBreaker::kStarts - kMaxSlots;
  EXPECT_GE(tried, kEnough);
  EXPECT_LE(tried, kEnough + kMaxSlots);
  for (int i = kMaxSlots; i < 1000 + kMaxSlots; ++i) {
    ASSERT_EQ(clients[i]->answers, 1);
    EXPECT_THAT(clients[i]->error,
                HasReason(i < tried + kMaxSlots ? Reason::kAgentStartFailed
                                                : Reason::kCircuitOpen));
  }
  EXPECT_EQ(pool_.live(), kMaxSlots - 1);
}

// ---- Profiles whose agents do not start ----

TEST_F(SlotPoolTest, AProfileWhoseAgentsDoNotStartIsLeftAloneForAWhile) {
  failing_launches = ProfileBreaker::kStarts;
  for (size_t i = 0; i < ProfileBreaker::kStarts; ++i) {
    const std::unique_ptr<Client> client = Start(any_);
    loop_.RunUntilIdle();
    EXPECT_THAT(client->error, HasReason(Reason::kAgentStartFailed));
  }
  EXPECT_THAT(pool_.Circuit(any_), HasReason(Reason::kCircuitOpen));
  EXPECT_EQ(RetryAfterOf(pool_.Circuit(any_)), ProfileBreaker::kOpenFor);
  const std::unique_ptr<Client> refused = Start(any_);
  const std::unique_ptr<Client> other = Start(few_);
  loop_.RunUntilIdle();
  EXPECT_THAT(refused->error, HasReason(Reason::kCircuitOpen));
  EXPECT_NE(other->slot, nullptr) << "another profile is another matter";
  EXPECT_EQ(pool_.live(), 1);

  // Then one is tried, and the others hear that it is.
  loop_.Advance(ProfileBreaker::kOpenFor);
  world_.decide = [](FakeStep, FakeAgent&) {
    return FakeFate{.delay = absl::Seconds(5)};
  };
  const std::unique_ptr<Client> probe = Start(any_);
  const std::unique_ptr<Client> second = Start(any_);
  loop_.RunUntilIdle();
  EXPECT_THAT(second->error, HasReason(Reason::kCircuitOpen));
  loop_.Advance(absl::Seconds(5));
  EXPECT_NE(probe->slot, nullptr);
  EXPECT_TRUE(pool_.Circuit(any_).ok());
}

TEST_F(SlotPoolTest, AProbeThatIsGivenUpLeavesTheWayToTheNext) {
  failing_launches = ProfileBreaker::kStarts;
  for (size_t i = 0; i < ProfileBreaker::kStarts; ++i) {
    const std::unique_ptr<Client> client = Start(any_);
    loop_.RunUntilIdle();
  }
  loop_.Advance(ProfileBreaker::kOpenFor);
  Start(any_)->request = nullptr;
  const std::unique_ptr<Client> next = Start(any_);
  loop_.RunUntilIdle();
  EXPECT_NE(next->slot, nullptr);
}

// ---- A slot ----

TEST_F(SlotPoolTest, TheOwnerOfASlotHearsItsAgent) {
  const std::unique_ptr<Client> client = Start(any_);
  loop_.RunUntilIdle();
  OwnerOfAgent owner;
  client->slot->Adopt(&owner);
  world_.live()[0]->Crash();
  EXPECT_THAT(owner.lost, ElementsAre(HasReason(Reason::kAgentLost)));
}

TEST_F(SlotPoolTest, KeepsItsBoundsWhateverHappens) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    world_.decide = [&random](FakeStep, FakeAgent&) {
      return FakeFate{.kind = random() % 5 == 0 ? FakeFate::Kind::kRefuse
                                                : FakeFate::Kind::kFine,
                      .delay = absl::Seconds(random() % 3)};
    };
    std::vector<std::unique_ptr<Client>> clients;
    for (int step = 0; step < 300; ++step) {
      const size_t chosen = clients.empty() ? 0 : random() % clients.size();
      switch (random() % 6) {
        case 0:
        case 1:
          failing_launches = random() % 4 == 0;
          clients.push_back(Start(random() % 2 == 0 ? few_ : any_));
          break;
        case 2:
          // Gives up, or gives back.
          if (!clients.empty()) clients.erase(clients.begin() + chosen);
          break;
        case 3:
          loop_.Advance(absl::Seconds(random() % 10));
          break;
        case 4:
          if (!world_.live().empty()) world_.live()[0]->Crash();
          break;
        default:
          loop_.RunUntilIdle();
      }
      EXPECT_LE(pool_.live(), kMaxSlots);
      EXPECT_LE(static_cast<int>(world_.live().size()), pool_.live());
    }
    EXPECT_LE(world_.most_live, kMaxSlots);
    // Everybody gets an answer, once.
    loop_.Advance(absl::Minutes(2));
    for (const auto& client : clients) EXPECT_EQ(client->answers, 1);
    clients.clear();
    loop_.RunUntilIdle();
    EXPECT_EQ(pool_.live(), 0);
    EXPECT_THAT(world_.live(), IsEmpty());
  }
}

}  // namespace
}  // namespace understudy::session
