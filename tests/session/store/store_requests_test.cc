// What every store promises of request ids, and of deleting sessions.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/store/store.h"
#include "tests/support/appends.h"
#include "tests/support/each_store.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

using StoreRequestsTest = EachStoreTest;
TEST_WITH_EACH_STORE(StoreRequestsTest);

// ---- Deleting ----

TEST_P(StoreRequestsTest, ADeletedSessionIsGone) {
  SessionRecord record = RecordOf(kA);
  record.add_processes(1);
  ASSERT_THAT(Write(CreationOf(record, {"one"})), IsOk());
  ASSERT_THAT(Write(DeletionOf(kA, 1, 1)), IsOk());
  EXPECT_THAT(store().Get(kA).status(), HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(store().ReadEvents(kA, 0, 10, 100).status(),
              HasReason(Reason::kSessionNotFound));
  EXPECT_THAT(*store().Unfinished(), IsEmpty());
  EXPECT_THAT(store().List("", 10)->sessions, IsEmpty());
  EXPECT_THAT(Write(ChangeOf(kA, 1, 1, {"two"})),
              HasReason(Reason::kSessionNotFound));
}

TEST_P(StoreRequestsTest, ASessionMadeUnderADeletedIdHasNothingOfTheOld) {
  Create(kA, {"old 1", "old 2", "old 3"});
  Append request = ChangeOf(kA, 1, 3);
  request.requests = {RequestOf(kA, "r1")};
  ASSERT_THAT(Write(std::move(request)), IsOk());
  // In one commit: nothing may depend on what time brings.
  ASSERT_THAT(
      WriteAll({DeletionOf(kA, 1, 3), CreationOf(RecordOf(kA), {"new"})}),
      ElementsAre(IsOk(), IsOk()));
  EXPECT_EQ(Bounds(kA), "1 to 1 in epoch 1");
  EXPECT_EQ(TextsAfter(store(), kA, 0), (Texts{"new"}));
  EXPECT_THAT(RequestIds(kA), IsEmpty());
  ASSERT_THAT(Write(ChangeOf(kA, 1, 1, {"new 2", "new 3"})), IsOk());
  EXPECT_EQ(TextsAfter(store(), kA, 0), (Texts{"new", "new 2", "new 3"}));
}

TEST_P(StoreRequestsTest, DeletingKeepsTheRequestsThatAreOfNoSession) {
  Append creation = CreationOf(RecordOf(kA));
  creation.requests = {RequestOf("", "create"), RequestOf(kA, "send")};
  ASSERT_THAT(Write(std::move(creation)), IsOk());
  Append deletion = DeletionOf(kA, 1, 0);
  deletion.requests = {RequestOf("", "delete"), RequestOf(kA, "too late")};
  ASSERT_THAT(Write(std::move(deletion)), IsOk());
  EXPECT_THAT(RequestIds(""), UnorderedElementsAre("create", "delete"));
  EXPECT_THAT(RequestIds(kA), IsEmpty());
  EXPECT_EQ(*store().FindRequest(kA, "send"), std::nullopt);
}

TEST_P(StoreRequestsTest, DeletingALongSessionLeavesTheOthersAlone) {
  Create(kA);
  Create(kB);
  Texts many;
  for (int i = 0; i < 3000; ++i) many.push_back(absl::StrCat(i));
  ASSERT_THAT(WriteAll({ChangeOf(kA, 1, 0, many), ChangeOf(kB, 1, 0, many)}),
              ElementsAre(IsOk(), IsOk()));
  ASSERT_THAT(Write(DeletionOf(kA, 1, 3000)), IsOk());
  EXPECT_EQ(TextsAfter(store(), kB, 0), many);
  ASSERT_THAT(store().ForgetRequests(absl::InfinitePast()), IsOk());
  EXPECT_EQ(TextsAfter(store(), kB, 0), many);
  EXPECT_THAT(store().Get(kA).status(), HasReason(Reason::kSessionNotFound));
}

// ---- Request ids ----

TEST_P(StoreRequestsTest, ARequestIsFoundWithAllThatItHas) {
  const absl::Time time = absl::FromUnixMillis(1700000000123);
  Append creation = CreationOf(RecordOf(kA));
  creation.requests = {RequestOf(kA, "r1", time)};
  creation.requests[0].session_id = kB;
  ASSERT_THAT(Write(std::move(creation)), IsOk());

  const auto found = store().FindRequest(kA, "r1");
  ASSERT_TRUE(found.ok() && found->has_value());
  const StoredRequest& request = **found;
  EXPECT_EQ(request.scope, kA);
  EXPECT_EQ(request.request_id, "r1");
  EXPECT_EQ(request.fingerprint, std::string("finger\0print", 12));
  EXPECT_EQ(request.session_id, kB);
  EXPECT_EQ(request.result.operation(), "SendMessage");
  EXPECT_EQ(request.result.sent().turn_id(), "r1");
  EXPECT_EQ(request.time, time);
}

TEST_P(StoreRequestsTest, ARequestIdBelongsToItsScope) {
  Append a = CreationOf(RecordOf(kA));
  a.requests = {RequestOf(kA, "of a"), RequestOf("", "of none")};
  Append b = CreationOf(RecordOf(kB));
  b.requests = {RequestOf(kB, "of b"), RequestOf(kB, "of b too")};
  ASSERT_THAT(WriteAll({a, b}), ElementsAre(IsOk(), IsOk()));
  EXPECT_THAT(RequestIds(kA), ElementsAre("of a"));
  EXPECT_THAT(RequestIds(kB), UnorderedElementsAre("of b", "of b too"));
  EXPECT_THAT(RequestIds(""), ElementsAre("of none"));
  EXPECT_THAT(RequestIds(kC), IsEmpty());
  EXPECT_EQ(*store().FindRequest(kA, "of b"), std::nullopt);
  EXPECT_EQ(*store().FindRequest("", "of b"), std::nullopt);
  EXPECT_EQ(*store().FindRequest(kC, "of b"), std::nullopt);
}

TEST_P(StoreRequestsTest, ALaterResultReplacesTheEarlierOne) {
  Append creation = CreationOf(RecordOf(kA));
  creation.requests = {RequestOf(kA, "r1")};
  ASSERT_THAT(Write(std::move(creation)), IsOk());
  Append change = ChangeOf(kA, 1, 0);
  change.requests = {RequestOf(kA, "r1", absl::FromUnixSeconds(2000))};
  change.requests[0].result.mutable_done()->set_interrupted(true);
  ASSERT_THAT(Write(std::move(change)), IsOk());
  EXPECT_THAT(RequestIds(kA), ElementsAre("r1"));
  const std::optional<StoredRequest> found = *store().FindRequest(kA, "r1");
  EXPECT_TRUE(found->result.done().interrupted());
  EXPECT_EQ(found->time, absl::FromUnixSeconds(2000));
}

TEST_P(StoreRequestsTest, OldRequestsAreForgottenInEveryScope) {
  Append creation = CreationOf(RecordOf(kA));
  for (int i = 0; i < 1500; ++i) {
    creation.requests.push_back(RequestOf(i % 2 == 0 ? kA : "",
                                          absl::StrCat("r", i),
                                          absl::FromUnixSeconds(1000 + i)));
  }
  ASSERT_THAT(Write(std::move(creation)), IsOk());
  ASSERT_THAT(store().ForgetRequests(absl::FromUnixSeconds(1000 + 1497)),
              IsOk());
  EXPECT_THAT(RequestIds(kA), ElementsAre("r1498"));
  EXPECT_THAT(RequestIds(""), UnorderedElementsAre("r1497", "r1499"));
}

}  // namespace
}  // namespace understudy::session
