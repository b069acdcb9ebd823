// EachStoreTest: runs its tests with every store of stores.def.
//
//   using FooStoreTest = EachStoreTest;
//   TEST_WITH_EACH_STORE(FooStoreTest);
//   TEST_P(FooStoreTest, DoesSomething) { ... store() ... }

#ifndef UNDERSTUDY_TESTS_SUPPORT_EACH_STORE_H_
#define UNDERSTUDY_TESTS_SUPPORT_EACH_STORE_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/store/store.h"
#include "tests/support/appends.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {

// Ids for sessions.
inline constexpr char kA[] = "0a000000-0000-4000-8000-00000000000a";
inline constexpr char kB[] = "0b000000-0000-4000-8000-00000000000b";
inline constexpr char kC[] = "0c000000-0000-4000-8000-00000000000c";

class EachStoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string url;
    if (GetParam() == "memory") url = "memory:";
    if (GetParam() == "sqlite") {
      url = absl::StrCat("sqlite:", folder_.path(), "/store.db");
    }
    ASSERT_NE(url, "") << "how does one open a new store of this kind?";
    absl::StatusOr<std::unique_ptr<Store>> store = OpenStore(url);
    ASSERT_THAT(store.status(), IsOk());
    store_ = *std::move(store);
  }

  Store& store() { return *store_; }

  absl::Status Write(Append append) {
    return WriteOne(store(), std::move(append));
  }
  std::vector<absl::Status> WriteAll(const std::vector<Append>& appends) {
    return store().Write(appends);
  }
  void Create(std::string_view session_id, const Texts& events = {}) {
    ASSERT_THAT(Write(CreationOf(RecordOf(session_id), events)), IsOk());
  }

  // Oldest and newest sequence, and the epoch.
  std::string Bounds(std::string_view session_id) {
    const absl::StatusOr<StoredSession> session = store().Get(session_id);
    if (!session.ok()) return session.status().ToString();
    return absl::StrCat(session->oldest_sequence, " to ",
                        session->newest_sequence, " in epoch ", session->epoch);
  }
  std::vector<std::string> RequestIds(std::string_view scope) {
    return store().RequestIds(scope).value();
  }

 private:
  const TempFolder folder_;
  std::unique_ptr<Store> store_;
};

inline std::vector<std::string> StoreKinds() {
  return {
#define STORE(scheme) #scheme,
#include "session/store/stores.def"
#undef STORE
  };
}

#define TEST_WITH_EACH_STORE(suite)                                        \
  INSTANTIATE_TEST_SUITE_P(Each, suite, ::testing::ValuesIn(StoreKinds()), \
                           [](const auto& info) { return info.param; })

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_EACH_STORE_H_
