#include "client/cli/turn_text.h"

#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace understudy::client {
namespace {

class TurnTextTest : public testing::Test {
 protected:
  void Delta(const std::string& text) {
    v1::TextDelta delta;
    delta.set_text(text);
    text_.Add(delta);
  }
  void Message(const std::string& text, bool last_part = true) {
    v1::Message message;
    message.set_text(text);
    message.set_last_part(last_part);
    text_.Add(message);
  }
  std::string Output() {
    text_.EndLine();
    return out_.str();
  }

  std::ostringstream out_;
  TurnText text_{out_, /*to_terminal=*/false};
};

TEST_F(TurnTextTest, WritesAMessageWithoutDeltas) {
  Message("hello");
  EXPECT_EQ(Output(), "hello\n");
}

TEST_F(TurnTextTest, DoesNotRepeatWhatDeltasHaveShown) {
  Delta("hel");
  EXPECT_EQ(out_.str(), "hel");
  Delta("lo");
  Message("hello");
  EXPECT_EQ(Output(), "hello\n");
}

TEST_F(TurnTextTest, AddsTheEndThatDeltasHaveNotShown) {
  Delta("hel");
  Message("hello");
  EXPECT_EQ(Output(), "hello\n");
}

TEST_F(TurnTextTest, WritesTheWholeTextIfDeltasWereDropped) {
  Delta("he");
  Delta("o");
  Message("hello");
  EXPECT_EQ(Output(), "heo\nhello\n");
}

TEST_F(TurnTextTest, PutsEachMessageOnALineOfItsOwn) {
  Delta("one");
  Message("one");
  Message("two\n");
  Delta("three");
  Message("three");
  EXPECT_EQ(Output(), "one\ntwo\nthree\n");
}

TEST_F(TurnTextTest, JoinsThePartsOfALongMessage) {
  Delta("abcdef");
  Message("abc", false);
  Message("def", false);
  Message("ghi");
  Message("next");
  EXPECT_EQ(Output(), "abcdefghi\nnext\n");
}

TEST_F(TurnTextTest, KeepsControlCharactersFromATerminal) {
  v1::Message message;
  message.set_text(
      "a\x1b[31mb\xc2\x9b"
      "c\n\td\xc3\xa9");
  message.set_last_part(true);
  TurnText terminal(out_, /*to_terminal=*/true);
  terminal.Add(message);
  text_.Add(message);
  EXPECT_EQ(Output(), "a?[31mb?c\n\td\xc3\xa9" + message.text() + "\n");
}

TEST_F(TurnTextTest, LeavesOutDeltasThatMayBeginAnywhere) {
  Delta("You ");
  text_.Interrupted();
  Delta("ello.");
  Message("You said: hello.");
  Delta("And");
  Message("And more.");
  text_.EndLine();
  EXPECT_EQ(out_.str(), "You said: hello.\nAnd more.\n");
}

}  // namespace
}  // namespace understudy::client
