// What the lines of Claude Code become, version by version; and the shortcut
// for the most frequent of them.

#include "session/agent/claude_events.h"

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/agent/claude_delta.h"
#include "session/base/json.h"
#include "session/base/utf8.h"
#include "tests/session/agent/claude_fixture.h"

namespace understudy::session {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

class ClaudeEventsTest : public ClaudeFixture {};
class ClaudeEventsVersionsTest : public EachClaude {};
INSTANTIATE_TEST_SUITE_P(Versions, ClaudeEventsVersionsTest,
                         ::testing::Values(kNewClaude, kOldClaude),
                         VersionName);

TEST_P(ClaudeEventsVersionsTest, ATurnInItsOrder) {
  MustStart();
  Send(kTurn1);
  Say(Data("turn", kTurn1));
  EXPECT_THAT(
      owner_.log,
      ElementsAre(
          absl::StrCat("started ", kTurn1), "thought \"A greeting.\"",
          "thought \"A greeting.\"", "text \"hi \"", "text \"there\"",
          "message \"hi there\"", "usage 100 10",
          absl::StrCat("ended ", kTurn1, " SUCCEEDED end_turn \"hi there\"")));
  EXPECT_EQ(owner_.quiet, 3) << "two answers of the handshake, one turn";
}

TEST_P(ClaudeEventsVersionsTest, EveryEventHasTheLineItWasMadeOf) {
  MustStart();
  Send(kTurn1);
  const Lines lines = Data("turn", kTurn1);
  Say(lines);
  for (size_t i = 0; i < owner_.log.size(); ++i) {
    if (owner_.log[i].rfind("usage", 0) == 0) continue;  // comes with the end
    EXPECT_THAT(lines, Contains(owner_.raws[i])) << owner_.log[i];
  }
}

TEST_P(ClaudeEventsVersionsTest, ToolsAndTheirResults) {
  MustStart();
  Send(kTurn1);
  Say(Data("permission", kTurn1));
  Say(Data("tool_result", kTurn1));
  EXPECT_THAT(
      owner_.log,
      ElementsAre(
          absl::StrCat("started ", kTurn1),
          "tool_call toolu_1 Bash "
          R"({"command":"touch made","n":12345678901234567890123})",
          "permission permission-1 Bash", "tool_result toolu_1 \"made\"",
          "tool_result toolu_2 error \"one\n[image]\ntwo\"", "message \"done\"",
          "usage 100 10",
          absl::StrCat("ended ", kTurn1, " SUCCEEDED end_turn \"done\"")));
}

TEST_F(ClaudeEventsTest, NoticesSayWhatAPersonShouldKnow) {
  MustStart();
  Say(Data("notices"));
  EXPECT_THAT(
      owner_.log,
      ElementsAre(
          "notice RETRYING \"attempt 1 of 2 in 571 ms: overloaded 529\"",
          "notice RETRYING \"attempt 2 of 2 in 900 ms: connection_error\"",
          "notice RATE_LIMITED \"rejected, until 2027-01-15T08:00:00+00:00\"",
          "notice STATUS \"compacting\"",
          "notice COMPACTED \"auto, from 12974 to 2928 tokens\"",
          "notice MODE \"plan\"", "notice WARNING \"Not allowed here.\""));
}

TEST_F(ClaudeEventsTest, WhatOnlyTheProtocolNeedsIsNoEvent) {
  MustStart();
  Say(Data("silent"));
  EXPECT_THAT(owner_.log, IsEmpty());
}

TEST_F(ClaudeEventsTest, E7_WhatIsNotKnownIsPassedOnWithItsLine) {
  MustStart();
  const Lines lines = Data("unknown");
  Say(lines);
  EXPECT_THAT(owner_.log,
              ElementsAre("unknown system/something_new", "unknown brand_new",
                          "unknown stream_event/content_block_delta",
                          "message \"seen\"", "unknown assistant/hologram",
                          "unknown assistant", "unknown "));
  EXPECT_THAT(owner_.raws, ElementsAre(lines[0], lines[1], lines[2], lines[3],
                                       lines[3], lines[4], lines[5]));
}

TEST_F(ClaudeEventsTest, E7_ALineThatIsNotJsonIsPassedOn) {
  MustStart();
  const Lines lines = {"Segmentation fault",
                       "{\"type\":",
                       "[1,2]",
                       "null",
                       std::string("{\"a\":\"\0\"}", 9),
                       std::string(10'000, '[')};
  Say(lines);
  EXPECT_THAT(owner_.log, Each(std::string("unknown ")));
  EXPECT_EQ(owner_.raws, lines);
  EXPECT_EQ(owner_.loss, std::nullopt);
}

TEST_F(ClaudeEventsTest, TenLinesOfNonsenseInARowEndIt) {
  MustStart();
  const Lines nine(9, "nonsense");
  Say(nine);
  Say(Data("silent"));
  Say(nine);
  EXPECT_EQ(owner_.loss, std::nullopt);
  owner_.Take();
  Say(Lines{"nonsense", "nonsense", Init("").dump()});
  EXPECT_THAT(owner_.log, ElementsAre("unknown ", "lost AGENT_PROTOCOL"))
      << "and what it says after that is not listened to";
}

TEST_F(ClaudeEventsTest, OnlyValidUtf8LeavesIt) {
  MustStart();
  Send(kTurn1);
  Begin(kTurn1);
  owner_.Take();
  Say(Lines{
      "{\"type\":\"stream_event\",\"event\":{\"type\":\"content_block_delta\","
      "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\xFF"
      "b\\ud83d\"}},\"uuid\":\"u\"}",
      "{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\","
      "\"text\":\"c\xC3\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"N\","
      "\"input\":{\"x\":\"\xFE\"}}]}}"});
  EXPECT_THAT(owner_.log,
              ElementsAre("text \"a\xEF\xBF\xBD"
                          "b\xEF\xBF\xBD\"",
                          "message \"c\xEF\xBF\xBD\"",
                          "tool_call t N {\"x\":\"\xEF\xBF\xBD\"}"));
}

TEST_F(ClaudeEventsTest, CommandsAndModeAreToldWhenTheyChange) {
  MustStart();
  Say(Init(""));
  owner_.Take();
  Json init = Init("");
  init["slash_commands"] = {"clear", "deploy"};
  init["permissionMode"] = "acceptEdits";
  Say(init);
  Say(init);
  EXPECT_THAT(owner_.log, ElementsAre("notice MODE \"acceptEdits\"",
                                      "notice COMMANDS \"clear, deploy\""));
}

// --- current() --------------------------------------------------------------

TEST_F(ClaudeEventsTest, WhatCannotBeTheNameOfAModeIsNoNews) {
  MustStart();
  Json init = Init("");
  Say(init);
  owner_.Take();
  for (const char* mode : {"", "--resume=x", "two words"}) {
    init["permissionMode"] = mode;
    Say(init);
  }
  EXPECT_THAT(owner_.log, Not(Contains(::testing::StartsWith("notice"))));
}

TEST_P(ClaudeEventsVersionsTest, C9_AModelThatChangesByItselfIsNews) {
  MustStart();
  Send(kTurn1);
  model_ = "claude-fallback-1";
  Begin(kTurn1);
  EXPECT_THAT(owner_.log, Contains("state claude-fallback-1 " + conversation_));
  EXPECT_EQ(agent().current().model, "claude-fallback-1");
  owner_.Take();
  Say(Init(kTurn1));
  EXPECT_THAT(owner_.log, IsEmpty()) << "told once";
}

TEST_P(ClaudeEventsVersionsTest, A6_TheConversationIsTheOneThatItLastNamed) {
  MustStart();
  Send(kTurn1);
  conversation_ = kNext;
  Begin(kTurn1);
  EXPECT_EQ(agent().current().conversation, kNext);
  EXPECT_THAT(owner_.Take(),
              Contains(absl::StrCat("state claude-sonnet-5-5 ", kNext)));
  Json result = Result(kTurn1, "hi");
  result["session_id"] = kEarlier;
  Say(result);
  EXPECT_EQ(agent().current().conversation, kEarlier);
  EXPECT_EQ(owner_.log.front(),
            absl::StrCat("state claude-sonnet-5-5 ", kEarlier));
}

TEST_P(ClaudeEventsVersionsTest, C9_WhatItSaidBeforeOurRequestIsNoNews) {
  unanswered_ = {"set_model"};
  MustStart();
  Apply({.model = "haiku"});
  Say(Init(""));  // of a turn of its own, still on the old model
  EXPECT_THAT(owner_.log, ElementsAre("started -"));
  EXPECT_EQ(agent().current().model, "claude-sonnet-5-5");
}

TEST_F(ClaudeEventsTest, BackgroundTasksAreKnownAsItListsThem) {
  MustStart();
  EXPECT_FALSE(agent().has_background_tasks());
  Json tasks = {{"type", "system"},
                {"subtype", "background_tasks_changed"},
                {"tasks", {{{"task_id", "t1"}}}}};
  Say(tasks);
  EXPECT_TRUE(agent().has_background_tasks());
  tasks["tasks"] = Json::array();
  Say(tasks);
  EXPECT_FALSE(agent().has_background_tasks());
  // One that is in the foreground is no matter.
  Say(Json{{"type", "system"},
           {"subtype", "task_started"},
           {"is_backgrounded", false},
           {"task_id", "t2"}});
  EXPECT_FALSE(agent().has_background_tasks());
}

TEST_P(ClaudeEventsVersionsTest, BackgroundTasksAreKnownByBeginningAndEnd) {
  MustStart();
  Say(Json{{"type", "system"},
           {"subtype", "task_started"},
           {"task_id", "task1"},
           {"task_type", "local_bash"}});
  EXPECT_TRUE(agent().has_background_tasks());
  Say(Data("unsolicited"));
  EXPECT_FALSE(agent().has_background_tasks());
}

TEST(ClaudeVersionTest, KnowsWhichTakeTextAsText) {
  for (const char* version : {"2.1.329", "2.1.330", "2.2.0", "3.0.0"}) {
    EXPECT_TRUE(ClaudeKnowsComposed(version)) << version;
  }
  for (const char* version :
       {"2.1.328", "2.0.999", "1.9.9", "", "2", "2.1", "x"}) {
    EXPECT_FALSE(ClaudeKnowsComposed(version)) << version;
  }
}

// --- The shortcut -----------------------------------------------------------

class ClaudeDeltaTest : public ::testing::Test {
 protected:
  static std::string Line(std::string_view text,
                          std::string_view rest =
                              R"(,"session_id":"a3dfd948","parent_tool_use_id")"
                              R"(:null,"uuid":"953e34f8")") {
    return absl::StrCat(
        R"({"type":"stream_event","event":{"type":"content_block_delta",)"
        R"("index":0,"delta":{"type":"text_delta","text":")",
        std::string(text), R"("}})", std::string(rest), "}");
  }

  // What the shortcut reads; "-" if it leaves the line to the JSON reader.
  // Never more than is there, and never anything but what JSON says.
  std::string Read(const std::string& line) {
    const auto exact = std::make_unique<char[]>(line.size());
    std::memcpy(exact.get(), line.data(), line.size());
    std::string scratch;
    const std::optional<ClaudeDelta> delta =
        ReadClaudeDelta({exact.get(), line.size()}, scratch);
    if (!delta.has_value()) return "-";
    JsonDocument document;
    EXPECT_TRUE(document.ParseCopy(line).ok()) << line;
    const JsonValue event = document.root()["event"];
    EXPECT_TRUE(document.root()["type"].Is("stream_event")) << line;
    EXPECT_TRUE(event["type"].Is("content_block_delta")) << line;
    const bool is_text = event["delta"]["type"].Is("text_delta");
    EXPECT_EQ(is_text, delta->kind == DeltaKind::kText);
    EXPECT_EQ(event["delta"][is_text ? "text" : "thinking"].String(),
              delta->text)
        << line;
    EXPECT_TRUE(IsValidUtf8(delta->text));
    return std::string(delta->text);
  }
};

TEST_F(ClaudeDeltaTest, ReadsWhatTheProcessWrites) {
  EXPECT_EQ(Read(Line("hello")), "hello");
  EXPECT_EQ(Read(Line("")), "");
  EXPECT_EQ(Read(Line(R"(a\nb\"c\"\u00e9\ud83d)")),
            "a\nb\"c\"\xC3\xA9\xEF\xBF\xBD");
  EXPECT_EQ(Read(Line("caf\xC3\xA9 \xF0\x9F\x98\x80")),
            "caf\xC3\xA9 \xF0\x9F\x98\x80");
  EXPECT_EQ(Read(Line("x", R"(,"session_id":"s","ttft_ms":48,"b":true)")), "x");
  EXPECT_EQ(Read(Line("x", "")), "x");
  EXPECT_EQ(Read(R"({"type":"stream_event","event":{"type":"content_block_)"
                 R"(delta","index":12,"delta":{"type":"thinking_delta",)"
                 R"("thinking":"hm"}},"uuid":"u"})"),
            "hm");
}

TEST_F(ClaudeDeltaTest, FindsTheEndOfATextOfEveryLength) {
  std::string text;
  for (int i = 0; i < 70; ++i) {
    EXPECT_EQ(Read(Line(text)), text);
    EXPECT_EQ(Read(Line(text + R"(\\)")), text + "\\");
    EXPECT_EQ(Read(Line(text + R"(\"")")), "-");
    EXPECT_EQ(Read(Line(text + "\\\xFF")), "-");
    text.push_back(static_cast<char>('a' + i % 26));
  }
}

TEST_F(ClaudeDeltaTest, LeavesEverythingElseToTheJsonReader) {
  const std::string good = Line("hello");
  for (const std::string& line : {std::string(),
                                  std::string("{}"),
                                  good + " ",
                                  good + "}",
                                  " " + good,
                                  Line("a\x01"),
                                  Line("a\xFF"),
                                  Line("a\xC3"),
                                  Line("a", R"(,"event":{"type":"ping"})"),
                                  Line("a", R"(,"type":"x")"),
                                  Line("a", R"(,"ty\u0070e":"x")"),
                                  Line("a", R"(,"a":"\u0041")"),
                                  Line("a", R"(,"a":{"b":1})"),
                                  Line("a", R"(,"a":[1])"),
                                  Line("a", R"(,"a":01)"),
                                  Line("a", R"(,"a":-1)"),
                                  Line("a", R"(,"a":)"),
                                  Line("a", R"(,"a")"),
                                  Line("a", R"(,"a":nul)"),
                                  Line("a", ","),
                                  Line("a", R"("a":1)")}) {
    EXPECT_EQ(Read(line), "-") << line;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(Read(good.substr(0, size)), "-") << size;
  }
}

TEST_F(ClaudeDeltaTest, NeverReadsAnythingButWhatJsonSays) {
  // Every change of one byte: the same text by both ways, or left to JSON.
  const std::string good =
      Line("h\\u00e9\\n\\\\l\xC3\xA9o", R"(,"a":"b","n":7)");
  int left = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (const char c : std::string("\"\\{}[]:,0a \x01\xC3", 13)) {
      std::string line = good;
      line[at] = c;
      left += Read(line) == "-";
    }
  }
  EXPECT_GT(left, 0);
}

TEST_F(ClaudeEventsTest, ADeltaOfAnotherFormSaysTheSame) {
  MustStart();
  Say(Lines{
      R"({"event":{"delta":{"text":"a","type":"text_delta"},"index":0,)"
      R"("type":"content_block_delta"},"type":"stream_event"})",
      R"( {"type": "stream_event", "event": {"type": "content_block_delta", )"
      R"("delta": {"type": "thinking_delta", "thinking": "b"}}})"});
  EXPECT_THAT(owner_.log, ElementsAre("text \"a\"", "thought \"b\""));
}

}  // namespace
}  // namespace understudy::session
