#include "session/base/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace understudy::session {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

TEST(Utf8Test, AcceptsWhatTheStandardAllows) {
  for (std::string_view good :
       {std::string_view(""), std::string_view("plain"),
        std::string_view("nul \0 is fine", 13), std::string_view("\x7F"),
        std::string_view("\xC2\x80"), std::string_view("\xDF\xBF"),
        std::string_view("\xE0\xA0\x80"), std::string_view("\xED\x9F\xBF"),
        std::string_view("\xEE\x80\x80"), std::string_view("\xEF\xBF\xBF"),
        std::string_view("\xF0\x90\x80\x80"),
        std::string_view("\xF4\x8F\xBF\xBF"),
        std::string_view("long enough for words, then \xE2\x82\xAC")}) {
    EXPECT_TRUE(IsValidUtf8(good)) << testing::PrintToString(good);
    EXPECT_EQ(ToValidUtf8(good), good);
  }
}

TEST(Utf8Test, ReplacesEachMaximalInvalidPart) {
  const std::string r = kReplacement;
  const struct {
    std::string_view bytes;
    std::string wanted;
  } cases[] = {
      {"\x80", r},
      {"a\xFF"
       "b",
       "a" + r + "b"},
      {"\xC0\xAF", r + r},          // overlong
      {"\xC1\xBF", r + r},          // overlong
      {"\xE0\x80\x80", r + r + r},  // overlong
      {"\xF0\x80\x80\x80", r + r + r + r},
      {"\xED\xA0\x80", r + r + r},          // a surrogate
      {"\xF4\x90\x80\x80", r + r + r + r},  // above U+10FFFF
      {"\xF5\x80", r + r},
      {"\xE2\x82", r},      // cut off
      {"\xF0\x9F\x98", r},  // cut off
      {"\xE2\x82"
       "A",
       r + "A"},
      {"\xE2\x82\xE2\x82\xAC", r + "\xE2\x82\xAC"},
      {"abcdefgh\xFFijklmnop", "abcdefgh" + r + "ijklmnop"},
      {"\xC3", r},
  };
  for (const auto& c : cases) {
    EXPECT_FALSE(IsValidUtf8(c.bytes)) << testing::PrintToString(c.bytes);
    const std::string valid = ToValidUtf8(c.bytes);
    EXPECT_EQ(valid, c.wanted) << testing::PrintToString(c.bytes);
    EXPECT_TRUE(IsValidUtf8(valid));
  }
}

TEST(Utf8Test, EveryPairAndTripleOfBytesBecomesValid) {
  const unsigned char interesting[] = {
      0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
      0xDF, 0xE0, 0xE1, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
  for (const unsigned char a : interesting) {
    for (const unsigned char b : interesting) {
      for (const unsigned char c : interesting) {
        const std::string bytes = {static_cast<char>(a), static_cast<char>(b),
                                   static_cast<char>(c)};
        const std::string valid = ToValidUtf8(bytes);
        EXPECT_TRUE(IsValidUtf8(valid));
        EXPECT_EQ(valid == bytes, IsValidUtf8(bytes));
      }
    }
  }
}

TEST(Utf8Test, CutsBetweenCodePoints) {
  const std::string_view text = "a\xE2\x82\xAC\xF0\x9F\x98\x80";  // 1 + 3 + 4
  EXPECT_EQ(Utf8Prefix(text, 0), "");
  EXPECT_EQ(Utf8Prefix(text, 1), "a");
  EXPECT_EQ(Utf8Prefix(text, 3), "a");
  EXPECT_EQ(Utf8Prefix(text, 4), "a\xE2\x82\xAC");
  EXPECT_EQ(Utf8Prefix(text, 7), "a\xE2\x82\xAC");
  EXPECT_EQ(Utf8Prefix(text, 8), text);
  EXPECT_EQ(Utf8Prefix(text, 99), text);
  EXPECT_EQ(Utf8Suffix(text, 0), "");
  EXPECT_EQ(Utf8Suffix(text, 3), "");
  EXPECT_EQ(Utf8Suffix(text, 4), "\xF0\x9F\x98\x80");
  EXPECT_EQ(Utf8Suffix(text, 6), "\xF0\x9F\x98\x80");
  EXPECT_EQ(Utf8Suffix(text, 7), "\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(Utf8Suffix(text, 8), text);
}

}  // namespace
}  // namespace understudy::session
