#include "session/model_names.h"

#include <gtest/gtest.h>

namespace understudy::session {
namespace {

const std::vector<ModelInfo> kModels = {
    {.model = "opus", .resolved = "claude-opus-5-5"},
    {.model = "plain"},
};

TEST(ModelNamesTest, AnAgentsListDecidesWhatAnAliasMeans) {
  EXPECT_TRUE(MayName(kModels, "opus", "claude-opus-5-5"));
  EXPECT_FALSE(MayName(kModels, "opus", "claude-opus-4-1"));
  EXPECT_TRUE(MayName(kModels, "plain", "anything"));
}

TEST(ModelNamesTest, WithoutAListAPartOfTheNameWillDo) {
  EXPECT_TRUE(MayName({}, "sonnet", "claude-sonnet-5-5"));
  EXPECT_FALSE(MayName({}, "sonnet", "claude-haiku-5-5"));
}

TEST(ModelNamesTest, TheAgentsOwnDefaultMayHaveAnyName) {
  EXPECT_TRUE(MayName(kModels, "", "claude-opus-5-5"));
}

}  // namespace
}  // namespace understudy::session
