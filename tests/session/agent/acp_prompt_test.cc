#include "session/agent/acp_prompt.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace understudy::session {
namespace {

nlohmann::json Prompt(const TurnInput& input) {
  return nlohmann::json::parse(AcpPromptParams("c-1", input));
}

TEST(AcpPromptTest, TextIsText) {
  const nlohmann::json params = Prompt({.text = "a \"b\"\n\x01"});
  EXPECT_EQ(params["sessionId"], "c-1");
  EXPECT_EQ(params["prompt"].size(), 1u);
  EXPECT_EQ(params["prompt"][0]["type"], "text");
  EXPECT_EQ(params["prompt"][0]["text"], "a \"b\"\n\x01");
}

TEST(AcpPromptTest, NoTextIsACommand) {
  EXPECT_EQ(Prompt({.text = "/clear"})["prompt"][0]["text"], "\u2060/clear");
  EXPECT_EQ(Prompt({.text = "\n /x"})["prompt"][0]["text"], "\u2060\n /x");
  EXPECT_EQ(Prompt({.text = "a /clear"})["prompt"][0]["text"], "a /clear");
  EXPECT_EQ(Prompt({.text = ""})["prompt"][0]["text"], "");
}

TEST(AcpPromptTest, PartsStayInTheirOrder) {
  auto content = std::make_shared<v1::Content>();
  content->add_parts()->set_text("/look");
  v1::Image& image = *content->add_parts()->mutable_image();
  image.set_mime_type("image/png");
  image.set_data(std::string("\0\xff", 2));
  const nlohmann::json prompt =
      Prompt({.text = "not this", .content = content})["prompt"];
  ASSERT_EQ(prompt.size(), 2u);
  EXPECT_EQ(prompt[0]["text"], "\u2060/look");
  EXPECT_EQ(prompt[1], nlohmann::json({{"type", "image"},
                                       {"mimeType", "image/png"},
                                       {"data", "AP8="}}));
}

}  // namespace
}  // namespace understudy::session
