// SessionFixture: an engine whose fake agents go wrong at a step as told.

#ifndef UNDERSTUDY_TESTS_SESSION_SESSION_FIXTURE_H_
#define UNDERSTUDY_TESTS_SESSION_SESSION_FIXTURE_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/engine.h"

namespace understudy::session {

inline constexpr char kNoSuchConversation[] =
    "00000000-0000-4000-8000-000000000000";

inline FakeFate Fate(FakeFate::Kind kind) {
  return {.kind = kind, .delay = {}};
}

// The first turn that is asked about asks for a permission itself.
inline std::function<FakeFate(FakeStep, FakeAgent&)> AskingOnce() {
  return [asked = false](FakeStep step, FakeAgent&) mutable {
    return step == FakeStep::kMiddle && !std::exchange(asked, true)
               ? Fate(FakeFate::Kind::kAsk)
               : FakeFate{};
  };
}

class SessionFixture : public ::testing::Test {
 protected:
  // Makes one step go as told, every time.
  void Let(FakeStep step, FakeFate::Kind kind) {
    engine.world.decide = [step, kind](FakeStep at, FakeAgent&) {
      return at == step ? Fate(kind) : FakeFate{};
    };
  }
  void LetAllBeFine() { engine.world.decide = nullptr; }

  pid_t Pid(const std::string& session) {
    return engine.Last(session, "agent_started").agent_started().pid();
  }
  size_t Count(const std::string& session, std::string_view kind) {
    size_t count = 0;
    for (const std::string& one : engine.Kinds(session)) count += one == kind;
    return count;
  }

  ~SessionFixture() override {
    EXPECT_THAT(engine.world.violations, ::testing::IsEmpty());
  }

  Engine engine;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_SESSION_FIXTURE_H_
