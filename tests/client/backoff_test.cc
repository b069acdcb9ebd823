#include "client/cpp/backoff.h"

#include "gtest/gtest.h"

namespace understudy::client {
namespace {

constexpr BackoffOptions kOptions = {.initial = absl::Milliseconds(100),
                                     .max = absl::Milliseconds(450)};

TEST(BackoffTest, DoublesUpToItsBoundAndNeverWaitsLessThanHalf) {
  for (int repetition = 0; repetition < 100; ++repetition) {
    Backoff backoff(kOptions);
    for (const int bound : {100, 200, 400, 450, 450}) {
      const absl::Duration wait = backoff.Next();
      EXPECT_GE(wait, absl::Milliseconds(bound) / 2);
      EXPECT_LE(wait, absl::Milliseconds(bound));
    }
  }
}

TEST(BackoffTest, StartsOverAfterReset) {
  Backoff backoff(kOptions);
  for (int i = 0; i < 5; ++i) backoff.Next();
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Milliseconds(100));
}

TEST(BackoffTest, WaitsAsLongAsTheServerAsksFor) {
  Backoff backoff(kOptions);
  EXPECT_EQ(backoff.Next(absl::Seconds(7)), absl::Seconds(7));
  EXPECT_GE(backoff.Next(absl::Milliseconds(1)), absl::Milliseconds(100));
}

}  // namespace
}  // namespace understudy::client
