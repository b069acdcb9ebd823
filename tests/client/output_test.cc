#include "client/cli/output.h"

#include <string>

#include "gtest/gtest.h"
#include "proto/error.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::client {
namespace {

TEST(OutputTest, AnErrorHasItsCodeItsReasonAndItsMessage) {
  EXPECT_EQ(ErrorText(MakeError(Reason::kTurnRunning, "switch: a turn runs")),
            "FAILED_PRECONDITION TURN_RUNNING: switch: a turn runs");
  EXPECT_EQ(ErrorText(absl::DeadlineExceededError("too late")),
            "DEADLINE_EXCEEDED: too late");
}

TEST(OutputTest, AnEnumValueLosesItsPrefix) {
  EXPECT_EQ(EnumText(v1::TURN_POLICY_AFTER_TURN), "AFTER_TURN");
  EXPECT_EQ(EnumText(v1::EXIT_CAUSE_OUT_OF_MEMORY), "OUT_OF_MEMORY");
  EXPECT_EQ(EnumText(v1::RESOLVED_BY_TIMEOUT), "TIMEOUT");
  EXPECT_EQ(EnumText(v1::ROUTE_UNSPECIFIED), "");
  EXPECT_EQ(EnumText(static_cast<v1::Route>(77)), "77");
}

TEST(OutputTest, ALineIsCutBetweenCharacters) {
  EXPECT_EQ(OneLine("hello", 5), "hello");
  EXPECT_EQ(OneLine("hello!", 5), "hello...");
  EXPECT_EQ(OneLine("h\xc3\xa9llo", 2), "h...");
  EXPECT_EQ(OneLine("a\n\tb"), "a  b");
}

TEST(OutputTest, ControlCharactersAreShownAsQuestionMarks) {
  EXPECT_EQ(Printable("a\x1b]0;x\x07z\x7f"), "a?]0;x?z?");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "1m"),
            "?1m");
  EXPECT_EQ(Printable("\xc2\xa0\xc3\xa9\n\t"), "\xc2\xa0\xc3\xa9\n\t");
}

}  // namespace
}  // namespace understudy::client
