// Matchers for absl::Status. Of a StatusOr, match its status().

#ifndef UNDERSTUDY_TESTS_SUPPORT_STATUS_MATCHERS_H_
#define UNDERSTUDY_TESTS_SUPPORT_STATUS_MATCHERS_H_

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "proto/error.h"

namespace understudy::session {

MATCHER(IsOk, "") {
  *result_listener << arg.ToString();
  return arg.ok();
}

MATCHER_P(HasReason, reason, std::string(ReasonName(reason))) {
  *result_listener << arg.ToString();
  return ReasonOf(arg) == reason;
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_STATUS_MATCHERS_H_
