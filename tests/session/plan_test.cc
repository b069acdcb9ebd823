#include "session/plan.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;

constexpr Route kNative = Route::kNative;
constexpr Route kRestart = Route::kRestart;

const Target kOtherModel{.model = "opus", .conversation = {}};
const Target kDefaultModel{.model = "", .conversation = {}};
const Target kFresh{.model = {}, .conversation = ""};
const Target kOtherConversation{.model = {}, .conversation = "c2"};
const Target kOtherConversationAndModel{.model = "opus", .conversation = "c2"};
const Target kAsItIs{.model = {}, .conversation = {}};

const Capabilities kNone{};
const Capabilities kAll{
    .switch_model = true, .new_conversation = true, .load_conversation = true};
const Capabilities kSwitches{.switch_model = true};
const Capabilities kClears{.new_conversation = true};
const Capabilities kLoads{.load_conversation = true};

struct Row {
  const char* name;
  Target wanted;
  std::optional<Capabilities> running;
  bool background;
  std::vector<Route> routes;
};

TEST(PlanTest, TriesWhatTheAgentCanDoItselfFirstAndARestartLast) {
  const std::vector<Row> rows = {
      {"other model, can", kOtherModel, kSwitches, false, {kNative, kRestart}},
      {"default model, can",
       kDefaultModel,
       kSwitches,
       false,
       {kNative, kRestart}},
      {"other model, cannot", kOtherModel, kNone, false, {kRestart}},
      {"other model, only clears", kOtherModel, kClears, false, {kRestart}},
      {"other model, all", kOtherModel, kAll, false, {kNative, kRestart}},
      {"other model beside a task",
       kOtherModel,
       kAll,
       true,
       {kNative, kRestart}},
      {"fresh, can", kFresh, kClears, false, {kNative, kRestart}},
      {"fresh, cannot", kFresh, kNone, false, {kRestart}},
      {"fresh, only loads", kFresh, kLoads, false, {kRestart}},
      {"fresh beside a task", kFresh, kAll, true, {kRestart}},
      {"other conversation, can",
       kOtherConversation,
       kLoads,
       false,
       {kNative, kRestart}},
      {"other conversation, cannot",
       kOtherConversation,
       kNone,
       false,
       {kRestart}},
      {"other conversation, only clears",
       kOtherConversation,
       kClears,
       false,
       {kRestart}},
      {"other conversation beside a task",
       kOtherConversation,
       kAll,
       true,
       {kRestart}},
      {"both, can",
       kOtherConversationAndModel,
       kAll,
       false,
       {kNative, kRestart}},
      {"both, only loads",
       kOtherConversationAndModel,
       kLoads,
       false,
       {kRestart}},
      {"both, only switches",
       kOtherConversationAndModel,
       kSwitches,
       false,
       {kRestart}},
      {"nothing runs, as it is", kAsItIs, {}, false, {kRestart}},
      {"nothing runs, fresh", kFresh, {}, false, {kRestart}},
      {"nothing runs, conversation", kOtherConversation, {}, false, {kRestart}},
      {"nothing runs, other model", kOtherModel, {}, false, {kRestart}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Plan plan = MakePlan(
        row.wanted, {.running = row.running, .background = row.background});
    EXPECT_THAT(plan.routes, ElementsAreArray(row.routes));
    EXPECT_FALSE(plan.break_before_make);
  }
}

TEST(PlanTest, EndsTheOldAgentFirstWhereTwoCannotBe) {
  Capabilities alone = kAll;
  alone.shared_conversation = false;
  EXPECT_TRUE(MakePlan(kOtherModel, {.running = alone}).break_before_make);
  EXPECT_TRUE(MakePlan(kOtherModel, {.running = kAll, .room = false})
                  .break_before_make);
  EXPECT_FALSE(MakePlan(kOtherModel, {.running = kAll}).break_before_make);
  // Nothing runs that could be ended: it waits for room.
  EXPECT_FALSE(MakePlan(kOtherModel, {.room = false}).break_before_make);
}

TEST(PlanTest, DoesNotRestartWhereTheConversationWouldBeLost) {
  Capabilities forgets = kAll;
  forgets.resume_conversation = false;
  forgets.load_conversation = false;
  const Situation spoken{.running = forgets, .spoken = true};
  EXPECT_THAT(MakePlan(kOtherModel, spoken).routes, ElementsAre(kNative));
  EXPECT_THAT(MakePlan(kFresh, spoken).routes, ElementsAre(kNative, kRestart));
  EXPECT_THAT(MakePlan(kOtherConversation, spoken).routes, IsEmpty());
  // Nothing has been said yet that could be lost.
  EXPECT_THAT(MakePlan(kOtherModel, {.running = forgets}).routes,
              ElementsAre(kNative, kRestart));
}

TEST(PlanTest, GoesBackToAConversationThatTheAgentHasOpen) {
  Capabilities forgets = kClears;
  forgets.resume_conversation = false;
  EXPECT_THAT(MakePlan(kOtherConversation, {.running = forgets,
                                            .holds = true,
                                            .spoken = true})
                  .routes,
              ElementsAre(kNative));
}

}  // namespace
}  // namespace understudy::session
