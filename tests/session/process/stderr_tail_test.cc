#include "session/process/stderr_tail.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

TEST(StderrTailTest, KeepsAllOfALittle) {
  StderrTail tail;
  EXPECT_EQ(tail.Text(), "");
  tail.Append("first\nsec");
  tail.Append("ond\n\n");
  EXPECT_EQ(tail.Text(), "first\nsecond");
}

TEST(StderrTailTest, KeepsTheEndOfMuchFromTheBeginningOfALine) {
  StderrTail tail;
  for (int i = 0; i < 100'000; ++i) {
    tail.Append("line " + std::to_string(i) + "\n");
  }
  const std::string text = tail.Text();
  EXPECT_LE(text.size(), StderrTail::kMaxBytes);
  EXPECT_GT(text.size(), StderrTail::kMaxBytes - 20);
  EXPECT_EQ(text.substr(0, 5), "line ");
  EXPECT_EQ(text.substr(text.size() - 10), "line 99999");
}

TEST(StderrTailTest, BoundsOneEndlessLineAndOneHugeWrite) {
  StderrTail tail;
  tail.Append(absl::StrCat(std::string(1 << 20, 'x'), " y z\n"));
  EXPECT_LE(tail.Text().size(), StderrTail::kMaxBytes);
  EXPECT_EQ(tail.Text(), "z");
}

TEST(StderrTailTest, IsRedactedEvenWhereItWasCut) {
  // Wherever the cut falls, no part of a secret is left over.
  for (size_t filler = 0; filler < 64; ++filler) {
    StderrTail tail;
    std::string text(filler, 'x');
    while (text.size() < 40'000) {
      text += "Bearer hunterhunterhunter sk-ant-hunterhunter KEY=hunter\n";
    }
    for (size_t at = 0; at < text.size(); at += 1000) {
      tail.Append(std::string_view(text).substr(at, 1000));
    }
    EXPECT_EQ(tail.Text().find("unter"), std::string::npos) << filler;
  }
}

TEST(StderrTailTest, IsValidUtf8WhateverWasWritten) {
  for (size_t filler = 0; filler < 4; ++filler) {
    StderrTail tail;
    std::string text(filler, 'x');
    while (text.size() < 10'000) text += "\xF0\x9F\x98\x80\xFF\x1b ";
    tail.Append(text);
    EXPECT_TRUE(IsValidUtf8(tail.Text()));
    EXPECT_LE(tail.Text().size(), StderrTail::kMaxBytes);
    EXPECT_FALSE(tail.Text().empty());
  }
}

}  // namespace
}  // namespace understudy::session
