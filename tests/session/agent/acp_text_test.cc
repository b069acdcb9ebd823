#include "session/agent/acp_text.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace understudy::session {
namespace {

constexpr DeltaKind kText = DeltaKind::kText;
constexpr DeltaKind kThought = DeltaKind::kThought;

TEST(AcpTextTest, ChunksOfAMessageAreOneMessage) {
  AcpText text;
  EXPECT_FALSE(text.End().has_value());
  EXPECT_FALSE(text.Add(kText, "m", "a ").has_value());
  EXPECT_FALSE(text.Add(kText, "m", "b").has_value());
  EXPECT_EQ(text.answer(), "") << "it has not ended";
  EXPECT_EQ(text.End()->message().text(), "a b");
  EXPECT_FALSE(text.End().has_value());
  EXPECT_EQ(text.answer(), "a b");
}

TEST(AcpTextTest, AnotherKindOrIdIsAnotherMessage) {
  AcpText text;
  EXPECT_FALSE(text.Add(kThought, "1", "hm").has_value());
  EXPECT_EQ(text.Add(kText, "1", "one")->thought().text(), "hm");
  EXPECT_EQ(text.Add(kText, "2", "two")->message().text(), "one");
  EXPECT_EQ(text.Add(kThought, "2", "hm")->message().text(), "two");
  EXPECT_EQ(text.End()->thought().text(), "hm");
  EXPECT_EQ(text.answer(), "two");
  text.BeginTurn();
  EXPECT_EQ(text.answer(), "");
}

TEST(AcpTextTest, AVeryLongMessageIsSeveral) {
  AcpText text;
  const std::string piece(AcpText::kMaxBytes, 'x');
  EXPECT_FALSE(text.Add(kText, "m", piece).has_value());
  EXPECT_EQ(text.Add(kText, "m", "y")->message().text().size(), piece.size());
  EXPECT_EQ(text.End()->message().text(), "y");
}

}  // namespace
}  // namespace understudy::session
