#include "session/base/redact.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "session/base/utf8.h"

namespace understudy::session {
namespace {

TEST(RedactTest, TakesOutWhatLooksLikeASecret) {
  const struct {
    std::string_view text;
    std::string_view wanted;
  } cases[] = {
      {"key sk-ant-api03-AbC_123-xyz rejected", "key sk-[redacted] rejected"},
      {"(sk-0123456789abcdef)", "(sk-[redacted])"},
      {"Authorization: Bearer eyJhbGciOi.J9.abc-_=",
       "Authorization: Bearer [redacted]"},
      {"bearer\tabcdef", "bearer\t[redacted]"},
      {"id AKIAIOSFODNN7EXAMPLE.", "id AKIA[redacted]."},
      {"fetch https://user:pa55@example.com/x?q=a@b",
       "fetch https://[redacted]@example.com/x?q=a@b"},
      {"postgres://me@db:5432/x", "postgres://[redacted]@db:5432/x"},
      {"ANTHROPIC_API_KEY=hunter2 next", "ANTHROPIC_API_KEY=[redacted] next"},
      {"{\"x-api-key\": \"hunter 2\", \"a\": 1}",
       "{\"x-api-key\": \"[redacted]\", \"a\": 1}"},
      {"password: hunter2\nnext", "password: [redacted]\nnext"},
      {"GITHUB_TOKEN='x y'", "GITHUB_TOKEN='[redacted]'"},
      {"two sk-aaaaaaaaaaaa sk-bbbbbbbbbbbb",
       "two sk-[redacted] sk-[redacted]"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Redact(c.text), c.wanted);
  }
}

TEST(RedactTest, LeavesOrdinaryTextAsItIs) {
  for (std::string_view text :
       {"", "Error: ask-somebody-else", "task-force", "sk-short",
        "https://example.com/a@b", "mail a@b.org", "the bearer", "AKIA short",
        "press any key to continue", "tokens: 12", "keyboard: x",
        "line one\nline two\ttabbed", "gr\xC3\xBC\xC3\x9F dich"}) {
    EXPECT_EQ(Redact(text), text);
  }
}

TEST(RedactTest, EscapesControlCharactersAndKeepsTheRestValid) {
  EXPECT_EQ(Redact("\x1b[31mred\x1b[0m\r\n"), "\\x1b[31mred\\x1b[0m\\x0d\n");
  EXPECT_EQ(Redact(std::string_view("a\0b\x7f", 4)), "a\\x00b\\x7f");
  EXPECT_EQ(Redact("\xC2\x9B"
                   "31m"),
            "\\x9b31m");
  EXPECT_EQ(Redact("bad \xFF byte"), "bad \xEF\xBF\xBD byte");
}

TEST(RedactTest, TakesNoLongerThanTheTextIsLong) {
  // Shapes that begin everywhere and never end.
  for (std::string_view part :
       {"sk-", "a:", "key ", "http://", "Bearer", "x@", "\"", "-"}) {
    std::string text;
    while (text.size() < 16384) text.append(part);
    EXPECT_TRUE(IsValidUtf8(Redact(text)));
  }
}

}  // namespace
}  // namespace understudy::session
