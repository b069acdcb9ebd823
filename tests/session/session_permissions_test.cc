// Permission requests of a session: who answers them, once, and what makes them
// void.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "proto/error.h"
#include "session/session.h"
#include "tests/session/session_fixture.h"

namespace understudy::session {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class PermissionsTest : public SessionFixture {
 protected:
  void Use(const Profile& profile) {
    engine.options.profiles = {profile};
    engine.Restart();
  }
  // A session whose agent waits for an answer.
  std::string Asking() {
    engine.world.decide = AskingOnce();
    const std::string s = engine.Create();
    engine.Send(s, "use a tool");
    EXPECT_THAT(engine.Info(s).pending_permission_ids, SizeIs(1));
    return s;
  }
  v1::PermissionResolved Resolved(const std::string& session) {
    EXPECT_EQ(Count(session, "permission_resolved"), 1u);
    EXPECT_THAT(engine.Info(session).pending_permission_ids, IsEmpty());
    return engine.Last(session, "permission_resolved").permission_resolved();
  }
  void ExpectVoid(const std::string& session) {
    const v1::PermissionResolved resolved = Resolved(session);
    EXPECT_TRUE(resolved.withdrawn());
    EXPECT_EQ(resolved.by(), v1::RESOLVED_BY_AGENT);
    EXPECT_EQ(resolved.decision(), v1::PERMISSION_DECISION_UNSPECIFIED);
    const std::string id = engine.Last(session, "permission_requested")
                               .permission_requested()
                               .permission_id();
    EXPECT_EQ(resolved.permission_id(), id);
  }
};

TEST_F(PermissionsTest, E3_ThePolicyOfTheProfileAnswersAtOnce) {
  for (const bool allow : {true, false}) {
    Profile profile = Engine::FakeProfile();
    profile.permission_policy = allow ? Profile::PermissionPolicy::kAllow
                                      : Profile::PermissionPolicy::kDeny;
    Use(profile);
    engine.world.decide = AskingOnce();
    const std::string s = engine.Create();
    EXPECT_TRUE(engine.SendAndWait(s, "use a tool").status().ok());
    EXPECT_EQ(Resolved(s).by(), v1::RESOLVED_BY_POLICY);
    EXPECT_EQ(Resolved(s).decision(), allow ? v1::PERMISSION_DECISION_ALLOW
                                            : v1::PERMISSION_DECISION_DENY);
  }
}

TEST_F(PermissionsTest, E3_WhatNobodyAnswersIsDeniedInTime) {
  Profile profile = Engine::FakeProfile();
  profile.permission_timeout = absl::Minutes(5);
  Use(profile);
  const std::string s = Asking();
  engine.loop.Advance(absl::Minutes(5) - absl::Milliseconds(1));
  EXPECT_THAT(engine.Info(s).pending_permission_ids, SizeIs(1));
  engine.loop.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Resolved(s).by(), v1::RESOLVED_BY_TIMEOUT);
  EXPECT_EQ(Resolved(s).decision(), v1::PERMISSION_DECISION_DENY);
  EXPECT_EQ(engine.Last(s, "turn_completed").turn_completed().outcome(),
            v1::TURN_OUTCOME_SUCCEEDED);
}

TEST_F(PermissionsTest, E3_AnInterruptedTurnMakesItVoid) {
  const std::string s = Asking();
  EXPECT_TRUE(engine.Interrupt(s).status().ok());
  ExpectVoid(s);
}

TEST_F(PermissionsTest, E3_AClearThatInterruptsMakesItVoid) {
  const std::string s = Asking();
  EXPECT_TRUE(engine.Clear(s, "", TurnPolicy::kInterrupt).status().ok());
  ExpectVoid(s);
}

TEST_F(PermissionsTest, E3_ADeadServerMakesItVoid) {
  const std::string s = Asking();
  engine.Restart();
  ExpectVoid(s);
}

// Whoever answers first has answered: the others are told, all the same.
TEST_F(PermissionsTest, E3_OfTwoAnswersOneCounts) {
  const std::string s = Asking();
  const std::string id = engine.Info(s).pending_permission_ids.front();
  const auto resolve = [&](v1::PermissionDecision decision,
                           Pending<bool>& resolved) {
    PermissionParams params{.session_id = s, .permission_id = id};
    params.answer.decision = decision;
    engine.manager->ResolvePermission({}, params, resolved.reply());
  };
  Pending<bool> allow;
  Pending<bool> deny;
  Pending<bool> again;
  resolve(v1::PERMISSION_DECISION_ALLOW, allow);
  resolve(v1::PERMISSION_DECISION_DENY, deny);
  resolve(v1::PERMISSION_DECISION_ALLOW, again);
  engine.Run();
  EXPECT_TRUE(allow.status().ok());
  EXPECT_EQ(ReasonOf(deny.status()), Reason::kPermissionResolved);
  EXPECT_TRUE(again.status().ok());
  EXPECT_EQ(Resolved(s).by(), v1::RESOLVED_BY_CLIENT);
}

}  // namespace
}  // namespace understudy::session
