// What is remembered of an answer for the session, and how it is said again.

#include "session/agent/claude_grants.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/agent/agent.h"
#include "session/base/json.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Grants(const std::string& suggestions) {
  JsonDocument document;
  EXPECT_TRUE(document.ParseCopy(suggestions).ok()) << suggestions;
  return ClaudeGrants(document.root());
}

std::string Rule(const std::string& members) {
  return R"([{"type":"addRules","behavior":"allow","rules":[)" + members +
         "]}]";
}

TEST(ClaudeGrantsTest, AreRulesAndDirectories) {
  EXPECT_THAT(Grants(R"([
      {"type":"addRules","behavior":"allow","destination":"localSettings",
       "rules":[{"toolName":"Bash","ruleContent":"npm test *"},
                {"toolName":"WebSearch"}]},
      {"type":"addDirectories","directories":["/a","/b c"]},
      {"type":"setMode","mode":"acceptEdits"}])"),
              ElementsAre("allow:Bash(npm test *)", "allow:WebSearch",
                          "directory:/a", "directory:/b c"));
}

TEST(ClaudeGrantsTest, WhatDoesNotAllowIsNone) {
  EXPECT_THAT(Grants(R"([{"type":"addRules","behavior":"deny","rules":[
                  {"toolName":"Bash"}]},
                 {"type":"removeRules","behavior":"allow","rules":[
                  {"toolName":"Bash"}]},
                 {"type":"addRules","behavior":"allow","rules":[{}, 7]},
                 {"type":"addDirectories","directories":[""]}, "x"])"),
              IsEmpty());
  EXPECT_THAT(Grants("{}"), IsEmpty());
}

TEST(ClaudeGrantsTest, ARuleEndsWhereItsParenthesesEnd) {
  EXPECT_THAT(
      Grants(Rule(R"({"toolName":"Bash","ruleContent":"echo ) Bash(rm \\*"})")),
      ElementsAre(R"(allow:Bash(echo \) Bash\(rm \\*))"));
}

TEST(ClaudeGrantsTest, ARuleThatIsTooLongIsForgotten) {
  const std::string longest(Agent::kMaxGrantBytes - sizeof("allow:Bash()") + 1,
                            'x');
  EXPECT_THAT(
      Grants(Rule(R"({"toolName":"Bash","ruleContent":")" + longest + "\"}"))
          .size(),
      1u);
  EXPECT_THAT(
      Grants(Rule(R"({"toolName":"Bash","ruleContent":")" + longest + "x\"}")),
      IsEmpty());
}

TEST(ClaudeGrantsTest, AreSaidAsSettings) {
  EXPECT_EQ(ClaudeGrantSettings(
                {R"(allow:Bash(echo "a"))", "directory:/a", "allow:Read"}),
            R"json({"permissions":{"allow":["Bash(echo \"a\")","Read"],)json"
            R"json("additionalDirectories":["/a"]}})json");
  EXPECT_EQ(ClaudeGrantSettings({"directory:/a"}),
            R"({"permissions":{"additionalDirectories":["/a"]}})");
  EXPECT_EQ(ClaudeGrantSettings({"allow:", "directory:", "", "mode:plan"}), "");
}

}  // namespace
}  // namespace understudy::session
