#include "session/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace understudy::session {
namespace {

absl::Status Pass(absl::Status status, bool* reached) {
  UNDERSTUDY_RETURN_IF_ERROR(status);
  *reached = true;
  return absl::OkStatus();
}

absl::StatusOr<int> Sum(absl::StatusOr<std::unique_ptr<int>> a,
                        absl::StatusOr<int> b) {
  UNDERSTUDY_ASSIGN_OR_RETURN(const std::unique_ptr<int> left, std::move(a));
  int right = 0;
  UNDERSTUDY_ASSIGN_OR_RETURN(right, b);
  return *left + right;
}

TEST(StatusMacrosTest, ReturnIfErrorReturnsErrorsOnly) {
  bool reached = false;
  EXPECT_EQ(Pass(absl::AbortedError("x"), &reached), absl::AbortedError("x"));
  EXPECT_FALSE(reached);
  EXPECT_TRUE(Pass(absl::OkStatus(), &reached).ok());
  EXPECT_TRUE(reached);
}

TEST(StatusMacrosTest, AssignOrReturnMovesTheValueOrReturnsTheError) {
  EXPECT_EQ(*Sum(std::make_unique<int>(2), 3), 5);
  EXPECT_EQ(Sum(absl::NotFoundError("a"), 3).status(),
            absl::NotFoundError("a"));
  EXPECT_EQ(Sum(std::make_unique<int>(2), absl::NotFoundError("b")).status(),
            absl::NotFoundError("b"));
}

}  // namespace
}  // namespace understudy::session
