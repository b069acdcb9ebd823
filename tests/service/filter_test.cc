#include "service/filter.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace understudy::service {
namespace {

using session::SessionState;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

TEST(FilterTest, TakesEverySessionWithoutTerms) {
  for (const char* text : {"", "  "}) {
    const auto params = ParseFilter(text);
    ASSERT_TRUE(params.ok()) << params.status();
    EXPECT_EQ(params->agent, "");
    EXPECT_FALSE(params->state.has_value());
    EXPECT_THAT(params->labels, IsEmpty());
  }
}

TEST(FilterTest, ReadsTermsInAnyOrder) {
  for (const char* text :
       {"agent=claude state=IDLE label.team=a label.k.v=\"two \\\"words\\\"\"",
        "label.team=a AND state=SESSION_STATE_IDLE AND agent=claude AND "
        "label.k.v=\"two \\\"words\\\"\"",
        " label.k.v=\"two \\\"words\\\"\"  agent=claude AND label.team=a  "
        "state=IDLE "}) {
    const auto params = ParseFilter(text);
    ASSERT_TRUE(params.ok()) << text << ": " << params.status();
    EXPECT_EQ(params->agent, "claude");
    EXPECT_THAT(params->state, Optional(SessionState::kIdle));
    EXPECT_THAT(params->labels,
                ElementsAre(Pair("k.v", "two \"words\""), Pair("team", "a")));
  }
}

TEST(FilterTest, KnowsEveryState) {
  EXPECT_THAT(ParseFilter("state=DORMANT")->state,
              Optional(SessionState::kDormant));
  EXPECT_THAT(ParseFilter("state=RUNNING")->state,
              Optional(SessionState::kRunning));
  EXPECT_THAT(ParseFilter("state=TRANSITIONING")->state,
              Optional(SessionState::kTransitioning));
}

TEST(FilterTest, TakesAnEmptyQuotedValueAndSignsInValues) {
  EXPECT_THAT(ParseFilter("label.a=\"\" label.b=x=y")->labels,
              ElementsAre(Pair("a", ""), Pair("b", "x=y")));
}

}  // namespace
}  // namespace understudy::service
