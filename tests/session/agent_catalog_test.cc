#include "session/agent_catalog.h"

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_agent.h"
#include "tests/fakes/fake_loop.h"

namespace understudy::session {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;

class AgentCatalogTest : public testing::Test {
 protected:
  FakeAgent MakeAgent() { return FakeAgent(world_, {}, {}, nullptr); }

  FakeLoop loop_;
  FakeWorld world_{loop_};
  AgentCatalog catalog_;
};

TEST_F(AgentCatalogTest, KnowsNothingBeforeAHandshake) {
  const AgentCatalog::Row row = catalog_.Find("claude");
  EXPECT_FALSE(row.known);
  EXPECT_THAT(row.models, IsEmpty());
}

TEST_F(AgentCatalogTest, KeepsWhatTheAgentOfAProfileHasTold) {
  world_.capabilities = {.switch_model = true};
  world_.default_model = "haiku";
  const FakeAgent agent = MakeAgent();
  catalog_.Learn("claude", agent);
  const AgentCatalog::Row row = catalog_.Find("claude");
  EXPECT_TRUE(row.known);
  EXPECT_EQ(row.version, agent.version());
  EXPECT_TRUE(row.capabilities.switch_model);
  EXPECT_FALSE(row.capabilities.new_conversation);
  EXPECT_THAT(row.models, ElementsAre(Field(&ModelInfo::model, "haiku")));
  EXPECT_FALSE(catalog_.Find("other").known);
}

TEST_F(AgentCatalogTest, TheNewestHandshakeCounts) {
  catalog_.Learn("claude", MakeAgent());
  world_.default_model = "opus";
  catalog_.Learn("claude", MakeAgent());
  EXPECT_THAT(catalog_.Find("claude").models,
              ElementsAre(Field(&ModelInfo::model, "opus")));
}

TEST_F(AgentCatalogTest, IsReadOnOtherThreadsWhileItLearns) {
  const FakeAgent agent = MakeAgent();
  std::thread reader([this, &agent] {
    AgentCatalog::Row row;
    while (!row.known) row = catalog_.Find("claude");
    EXPECT_EQ(row.version, agent.version());
  });
  catalog_.Learn("claude", agent);
  reader.join();
}

}  // namespace
}  // namespace understudy::session
