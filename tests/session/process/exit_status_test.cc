#include <gtest/gtest.h>

#include "session/process/subprocess.h"

namespace understudy::session {
namespace {

ExitStatus Exited(const std::string& stderr_tail) {
  ExitStatus status;
  status.exit_code = 1;
  status.stderr_tail = stderr_tail;
  return status;
}

TEST(ExitStatusTest, SaysTheLineOfStderrThatTellsMost) {
  EXPECT_EQ(Exited("").ToString(), "exited 1");
  EXPECT_EQ(Exited("one\ntwo").ToString(), "exited 1: two");
  EXPECT_EQ(Exited("SyntaxError: no such thing\n\nNode.js v18.20.4").ToString(),
            "exited 1: SyntaxError: no such thing");
  EXPECT_EQ(Exited("error: unknown option\n(Did you mean this?)").ToString(),
            "exited 1: error: unknown option");
  EXPECT_EQ(Exited("Error: one\nError: two").ToString(),
            "exited 1: Error: two");
}

}  // namespace
}  // namespace understudy::session
