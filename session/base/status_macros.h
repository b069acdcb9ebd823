// Early return of an error: the two macros this code base has for it.

#ifndef UNDERSTUDY_SESSION_BASE_STATUS_MACROS_H_
#define UNDERSTUDY_SESSION_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the function when `expression`, an absl::Status, is not OK.
#define UNDERSTUDY_RETURN_IF_ERROR(expression)         \
  do {                                                 \
    if (absl::Status understudy_status = (expression); \
        !understudy_status.ok()) {                     \
      return understudy_status;                        \
    }                                                  \
  } while (false)

// Assigns the value of an absl::StatusOr to `left`, which may be a
// declaration, or returns its error.
#define UNDERSTUDY_ASSIGN_OR_RETURN(left, expression) \
  UNDERSTUDY_ASSIGN_OR_RETURN_(                       \
      UNDERSTUDY_STATUS_CONCAT_(understudy_or_, __LINE__), left, expression)

#define UNDERSTUDY_ASSIGN_OR_RETURN_(value, left, expression) \
  auto value = (expression);                                  \
  if (!value.ok()) return std::move(value).status();          \
  left = *std::move(value)

#define UNDERSTUDY_STATUS_CONCAT_(a, b) UNDERSTUDY_STATUS_CONCAT_INNER_(a, b)
#define UNDERSTUDY_STATUS_CONCAT_INNER_(a, b) a##b

#endif  // UNDERSTUDY_SESSION_BASE_STATUS_MACROS_H_
