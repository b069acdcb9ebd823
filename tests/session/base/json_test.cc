#include "session/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "session/base/utf8.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;

constexpr char kFffd[] = "\xEF\xBF\xBD";

// A line as a pipe's buffer holds it: something else follows it at once.
class Line {
 public:
  explicit Line(std::string_view text,
                std::string_view after = "\n{\"next\":1}")
      : size_(text.size()), buffer_(new char[size_ + kJsonPadding]) {
    std::memset(buffer_.get(), '}', size_ + kJsonPadding);
    std::memcpy(buffer_.get(), text.data(), size_);
    std::memcpy(buffer_.get() + size_, after.data(), after.size());
  }
  std::string_view view() const { return {buffer_.get(), size_}; }

 private:
  const size_t size_;
  const std::unique_ptr<char[]> buffer_;
};

class JsonTest : public testing::Test {
 protected:
  // The root of `text`; nothing if it is refused.
  JsonValue Read(std::string_view text, std::string_view after = "\n{}") {
    line_ = std::make_unique<Line>(text, after);
    status_ = document_.Parse(line_->view());
    return document_.root();
  }

  JsonDocument document_;
  std::unique_ptr<Line> line_;
  absl::Status status_;
};

TEST_F(JsonTest, FindsMembersInAnyOrderAndAsOftenAsAsked) {
  const JsonValue root =
      Read(R"( { "b" : [1, {"x":"y"} , [] ], "a":{"c":true,"d":null} } )");
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_TRUE(root["a"]["c"].Bool());
  EXPECT_TRUE(root["a"]["d"].IsNull());
  EXPECT_TRUE(root["b"].IsArray());
  EXPECT_TRUE(root["a"]["c"].Bool());
  std::vector<std::string> elements;
  for (const JsonValue element : root["b"]) {
    elements.emplace_back(element.raw());
  }
  EXPECT_THAT(elements, ElementsAre("1", R"({"x":"y"})", "[]"));
  std::vector<std::string> names;
  for (const JsonValue member : root) names.push_back(member.name());
  EXPECT_THAT(names, ElementsAre("b", "a"));
}

TEST_F(JsonTest, WhatIsNotThereAnswersEveryQuestion) {
  const JsonValue nothing = Read(R"({"a":1})")["b"]["c"];
  EXPECT_FALSE(nothing.exists());
  EXPECT_FALSE(nothing.IsObject());
  EXPECT_EQ(nothing.String(), "");
  EXPECT_EQ(nothing.raw(), "");
  EXPECT_EQ(nothing.Int(), std::nullopt);
  EXPECT_FALSE(nothing.Bool());
  EXPECT_TRUE(nothing.empty());
  EXPECT_FALSE(nothing.Is(""));
  for (const JsonValue child : nothing) FAIL() << child.raw();
}

TEST_F(JsonTest, AScalarIsNotTakenForAContainer) {
  const JsonValue root = Read(R"({"s":"{\"a\":1}","n":12})");
  EXPECT_FALSE(root["s"]["a"].exists());
  EXPECT_TRUE(root["n"].empty());
  EXPECT_TRUE(root["s"].empty());
  EXPECT_EQ(root["n"].String(), "");
}

TEST_F(JsonTest, UnescapesStrings) {
  const JsonValue root = Read(
      R"({"t":"a\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00","nul":"a\u0000b"})");
  EXPECT_EQ(root["t"].String(),
            "a\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(root["nul"].String(), std::string("a\0b", 3));
}

TEST_F(JsonTest, HalfASurrogatePairIsAReplacementCharacter) {
  const JsonValue root =
      Read(R"({"high":"x\ud83d","low":"\ude00y","two":"\ud83d\ud83d\ude00",)"
           R"("plain":"\ud83dA","escape":"\ud83d\n"})");
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(root["high"].String(), std::string("x") + kFffd);
  EXPECT_EQ(root["low"].String(), std::string(kFffd) + "y");
  EXPECT_EQ(root["two"].String(), std::string(kFffd) + "\xF0\x9F\x98\x80");
  EXPECT_EQ(root["plain"].String(), std::string(kFffd) + "A");
  EXPECT_EQ(root["escape"].String(), std::string(kFffd) + "\n");
}

TEST_F(JsonTest, BrokenEscapesNeverGiveInvalidUtf8) {
  for (const char* text : {R"({"a":"\u12"})", R"({"a":"\uzzzz"})",
                           R"({"a":"\ud83d\u12"})", R"({"a":"\q"})"}) {
    const JsonValue root = Read(text);
    ASSERT_TRUE(status_.ok()) << text << status_;
    EXPECT_TRUE(IsValidUtf8(root["a"].String())) << text;
  }
}

TEST_F(JsonTest, EscapedNamesAreFound) {
  const JsonValue root = Read(R"({"t\u0079pe":"x","q\"":1})");
  EXPECT_EQ(root["type"].String(), "x");
  EXPECT_EQ(root["q\""].Int(), 1);
}

TEST_F(JsonTest, InvalidUtf8IsReplacedAndTheRestIsRead) {
  const JsonValue root = Read("{\"a\":\"x\xFF\xC3y\",\"b\":\"ok\"}");
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(root["a"].String(), std::string("x") + kFffd + kFffd + "y");
  EXPECT_EQ(root["b"].String(), "ok");
}

TEST_F(JsonTest, NumbersStayAsTheyWereWritten) {
  const JsonValue root = Read(
      R"({"huge":123456789012345678901234567890,"exp":1e999,"i":-42,"d":0.25})");
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(root["huge"].raw(), "123456789012345678901234567890");
  EXPECT_EQ(root["huge"].Int(), std::nullopt);
  EXPECT_EQ(root["exp"].raw(), "1e999");
  EXPECT_EQ(root["exp"].Double(), std::nullopt);
  EXPECT_EQ(root["i"].Int(), -42);
  EXPECT_EQ(root["d"].Double(), 0.25);
  EXPECT_EQ(root["d"].Int(), std::nullopt);
}

TEST_F(JsonTest, WhatIsNotOneObjectOrArrayIsRefused) {
  const std::string nul("{\"a\":\"\0\"}", 9);
  for (std::string_view text :
       {std::string_view(""), std::string_view(" "), std::string_view("null"),
        std::string_view("1"), std::string_view("\"text\""),
        std::string_view("hello"), std::string_view("{"), std::string_view("}"),
        std::string_view("[1,"), std::string_view("{\"a\":1"),
        std::string_view("{\"a\":{\"b\":1}"), std::string_view("[[1]"),
        std::string_view("{\"a\" 1}"), std::string_view("{a:1}"),
        std::string_view("{\"a\":}"), std::string_view("{\"a\":1,}"),
        std::string_view("{\"a\":1}{}"), std::string_view("{} x"),
        std::string_view("x{}"), std::string_view("{\"a\":tru}"),
        std::string_view("{\"a\":truex}"), std::string_view("{\"a\":nul}"),
        std::string_view("{\"a\":01}"), std::string_view("{\"a\":1.}"),
        std::string_view("{\"a\":-}"), std::string_view("{\"a\":+1}"),
        std::string_view("{\"a\":\"b}"), std::string_view("{\"a\":\"b\"c}"),
        std::string_view("[1 2]"), std::string_view("[1]]"),
        std::string_view("{\"a\":[1}"), std::string_view("[\"a\":1]"),
        // Found by tests/fuzz: a value skipped up to a
        // bracket took what stood behind it along.
        std::string_view("{\"a\":\"b\":1},\"c\":2}"),
        std::string_view("{\"a\":1 [2],\"c\":3}"),
        std::string_view("[\"a\" {\"b\":1}, 2]"),
        std::string_view("{\"a\"::1}"), std::string_view("{\"a\":\"\x01\"}"),
        std::string_view(nul)}) {
    for (std::string_view after : {"\n{}", "}}}}", "]]]]", ",1}]", "\"\"}}"}) {
      Read(text, after);
      EXPECT_FALSE(status_.ok()) << "'" << text << "' before " << after;
      EXPECT_FALSE(document_.root().exists()) << text;
    }
  }
}

TEST_F(JsonTest, NestingBeyondReasonIsAnErrorAndNotACrash) {
  for (const int depth : {10'000, 1'000'000}) {
    const std::string open(depth, '[');
    Read(open + std::string(depth, ']'));
    EXPECT_FALSE(status_.ok());
    Read(open);
    EXPECT_FALSE(status_.ok());
    std::string objects;
    for (int i = 0; i < depth; ++i) objects += "{\"a\":";
    Read(objects + "1" + std::string(depth, '}'));
    EXPECT_FALSE(status_.ok());
  }
  Read(std::string(200, '[') + std::string(200, ']'));
  EXPECT_TRUE(status_.ok()) << status_;
}

TEST_F(JsonTest, MoreValuesThanMemoryShouldHoldAreAnError) {
  std::string text = "[0";
  for (int i = 0; i < 2'000'000; ++i) text += ",0";
  Read(text + "]");
  EXPECT_FALSE(status_.ok());
  EXPECT_TRUE(Read("[0]").exists());
}

TEST_F(JsonTest, ALongStringIsReadWhole) {
  const std::string text(8 << 20, 'x');
  EXPECT_EQ(Read("{\"t\":\"" + text + "\"}")["t"].String(), text);
}

TEST_F(JsonTest, ADocumentIsUsedAgain) {
  EXPECT_EQ(Read(R"({"a":"first"})")["a"].String(), "first");
  Read("nonsense");
  EXPECT_FALSE(document_.root().exists());
  EXPECT_EQ(Read(R"({"a":"third"})")["a"].String(), "third");
  EXPECT_EQ(Read("{\"a\":\"\xFF\"}")["a"].String(), kFffd);
  EXPECT_EQ(Read(R"({"a":"fifth"})")["a"].String(), "fifth");
}

TEST_F(JsonTest, ACopyNeedsNoPadding) {
  {
    const std::string text = R"({"a":["b"]})";
    ASSERT_TRUE(document_.ParseCopy(text).ok());
  }
  EXPECT_EQ(document_.root()["a"].raw(), R"(["b"])");
  ASSERT_TRUE(document_.ParseCopy("{\"a\":\"\xFF\"}").ok());
  EXPECT_EQ(document_.root()["a"].String(), kFffd);
}

TEST(JsonStringTest, IsOneLineAndReadsBackAsItWas) {
  std::string text;
  for (int c = 0; c < 128; ++c) text.push_back(static_cast<char>(c));
  text += "\xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80";
  const std::string quoted = JsonString(text);
  EXPECT_EQ(quoted.find_first_of("\n\r"), std::string::npos);
  JsonDocument document;
  ASSERT_TRUE(document.ParseCopy("[" + quoted + "]").ok());
  EXPECT_EQ((*document.root().begin()).String(), text);
}

TEST(JsonStringTest, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(JsonString("a\xFF"), std::string("\"a") + kFffd + "\"");
  EXPECT_EQ(JsonString(""), "\"\"");
}

TEST(CompactJsonTest, LeavesOutSpaceBetweenTokensOnly) {
  EXPECT_EQ(*CompactJson("{ \"a b\" :\n[ 1 ,\t\"c  d\" , { } , [ ] ] }\r\n"),
            R"({"a b":[1,"c  d",{},[]]})");
  EXPECT_EQ(*CompactJson(R"({"n":123456789012345678901234567890})"),
            R"({"n":123456789012345678901234567890})");
}

TEST(CompactJsonTest, RefusesWhatIsNotJsonByTheLetter) {
  for (const char* text : {"", "1", "{", R"({"a":"\q"})", R"({"a":"\u12"})",
                           "{'a':1}", "{\"a\":\"line\nfeed\"}"}) {
    EXPECT_FALSE(CompactJson(text).ok()) << text;
  }
}

}  // namespace
}  // namespace understudy::session
