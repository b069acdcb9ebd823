// UNDERSTUDY_CHECK: ends the process when one of our own invariants is broken.
// Never for input and never for what the operating system answers: those are
// absl::Status.

#ifndef UNDERSTUDY_SESSION_BASE_CHECK_H_
#define UNDERSTUDY_SESSION_BASE_CHECK_H_

#include <cstdio>
#include <cstdlib>

#define UNDERSTUDY_CHECK(condition, what)                                 \
  do {                                                                    \
    if (!(condition)) [[unlikely]] {                                      \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, (what), \
                   #condition);                                           \
      std::abort();                                                       \
    }                                                                     \
  } while (false)

#endif  // UNDERSTUDY_SESSION_BASE_CHECK_H_
