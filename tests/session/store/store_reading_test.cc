// What every store promises of reading events, trimming and listing.

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

using StoreEventsTest = EachStoreTest;
TEST_WITH_EACH_STORE(StoreEventsTest);

TEST_P(StoreEventsTest, ReadingStopsAtTheNumberOfEventsAskedFor) {
  Create(kA, {"1", "2", "3", "4", "5"});
  const auto events = store().ReadEvents(kA, 1, 2, 1 << 20);
  ASSERT_THAT(*events, SizeIs(2));
  EXPECT_EQ((*events)[0].sequence, 2u);
  EXPECT_EQ((*events)[1].sequence, 3u);
  EXPECT_THAT(*store().ReadEvents(kA, 0, 0, 1 << 20), IsEmpty());
}

TEST_P(StoreEventsTest, ReadingStopsAtTheNumberOfBytesButGivesOneEvent) {
  // With its raw line, each has 5 + 9 bytes.
  Create(kA, {"11111", "22222", "33333"});
  EXPECT_THAT(*store().ReadEvents(kA, 0, 10, 28), SizeIs(2));
  EXPECT_THAT(*store().ReadEvents(kA, 0, 10, 27), SizeIs(1));
  EXPECT_THAT(*store().ReadEvents(kA, 0, 10, 0), SizeIs(1));
}

TEST_P(StoreEventsTest, ThereIsNothingAfterTheNewestEvent) {
  Create(kA, {"1", "2"});
  EXPECT_THAT(*store().ReadEvents(kA, 2, 10, 100), IsEmpty());
  EXPECT_THAT(*store().ReadEvents(kA, 1000, 10, 100), IsEmpty());
  EXPECT_THAT(*store().ReadEvents(kA, UINT64_MAX, 10, 100), IsEmpty());
}

TEST_P(StoreEventsTest, BytesAreKeptAsTheyAre) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::string raw = std::string("\0\xed\xa0\xbd", 4) + bytes;
  Create(kA);
  Append append = ChangeOf(kA, 1, 0);
  append.events = {{bytes, raw}, {"", ""}, {bytes, ""}};
  ASSERT_THAT(Write(std::move(append)), IsOk());

  const auto events = store().ReadEvents(kA, 0, 10, 1 << 20);
  ASSERT_THAT(*events, SizeIs(3));
  EXPECT_EQ((*events)[0].bytes, bytes);
  EXPECT_EQ((*events)[0].raw, raw);
  EXPECT_EQ((*events)[1].bytes, "");
  EXPECT_EQ((*events)[1].raw, "");
  EXPECT_EQ((*events)[2].bytes, bytes);
  EXPECT_EQ((*events)[2].raw, "");
}

TEST_P(StoreEventsTest, LargeEventsAreKeptWhole) {
  std::string large(3 << 20, 'x');
  for (size_t i = 0; i < large.size(); i += 1000) large[i] = char(i / 1000);
  Create(kA, {"small", large, "small again", large});
  EXPECT_EQ(TextsAfter(store(), kA, 0),
            (Texts{"small", large, "small again", large}));
}

// ---- Trimming ----

TEST_P(StoreEventsTest, TrimmedEventsAreNoLongerThere) {
  Create(kA, {"1", "2", "3", "4"});
  Append trim = ChangeOf(kA, 1, 4, {"5"});
  trim.oldest_sequence = 3;
  ASSERT_THAT(Write(std::move(trim)), IsOk());
  EXPECT_EQ(Bounds(kA), "3 to 5 in epoch 1");
  const auto events = store().ReadEvents(kA, 0, 10, 1 << 20);
  ASSERT_THAT(*events, SizeIs(3));
  EXPECT_EQ(events->front().sequence, 3u);
  EXPECT_EQ(TextsAfter(store(), kA, 2), (Texts{"3", "4", "5"}));
}

TEST_P(StoreEventsTest, TrimmingNeverGoesBackNorBeyondTheNewest) {
  Create(kA, {"1", "2", "3"});
  Append all = ChangeOf(kA, 1, 3);
  all.oldest_sequence = 100;
  ASSERT_THAT(Write(std::move(all)), IsOk());
  EXPECT_EQ(Bounds(kA), "4 to 3 in epoch 1");
  EXPECT_THAT(*store().ReadEvents(kA, 0, 10, 100), IsEmpty());
  Append back = ChangeOf(kA, 1, 3, {"4"});
  back.oldest_sequence = 2;
  ASSERT_THAT(Write(std::move(back)), IsOk());
  EXPECT_EQ(Bounds(kA), "4 to 4 in epoch 1");
  EXPECT_EQ(TextsAfter(store(), kA, 3), (Texts{"4"}));
}

TEST_P(StoreEventsTest, TrimmingOneOfManyEventsAtATimeLeavesTheOthers) {
  Create(kA);
  Create(kB);
  Texts of_b;
  for (uint64_t i = 0; i < 500; ++i) {
    const std::string text = absl::StrCat(i + 1);
    Append a = ChangeOf(kA, 1, i, {text});
    if (i >= 10) a.oldest_sequence = i - 8;
    of_b.push_back(text);
    ASSERT_THAT(WriteAll({a, ChangeOf(kB, 1, i, {text})}),
                ElementsAre(IsOk(), IsOk()));
  }
  EXPECT_EQ(Bounds(kA), "491 to 500 in epoch 1");
  EXPECT_THAT(TextsAfter(store(), kA, 490), SizeIs(10));
  EXPECT_EQ(TextsAfter(store(), kB, 0), of_b);
}

// ---- Listing ----

class StoreListingTest : public EachStoreTest {
 protected:
  void CreateAt(std::string_view session_id, int64_t seconds, int nanos = 0) {
    SessionRecord record = RecordOf(session_id);
    record.mutable_create_time()->set_seconds(seconds);
    record.mutable_create_time()->set_nanos(nanos);
    ASSERT_THAT(Write(CreationOf(record)), IsOk());
  }
  // The ids of all pages.
  std::vector<Texts> Pages(int page_size) {
    std::vector<Texts> pages;
    std::string token;
    do {
      const absl::StatusOr<Store::Page> page = store().List(token, page_size);
      if (!page.ok()) {
        pages.push_back({page.status().ToString()});
        break;
      }
      pages.emplace_back();
      for (const StoredSession& session : page->sessions) {
        pages.back().push_back(session.record.session_id());
      }
      token = page->next_page_token;
    } while (!token.empty());
    return pages;
  }
};

TEST_WITH_EACH_STORE(StoreListingTest);

TEST_P(StoreListingTest, ListsInTheOrderOfCreationThenOfIds) {
  CreateAt("e", 20);
  CreateAt("d", 10, 5);
  CreateAt("b", 10, 4);
  CreateAt("c", 10, 4);
  CreateAt("a", 30);
  EXPECT_THAT(Pages(10), ElementsAre(ElementsAre("b", "c", "d", "e", "a")));
  EXPECT_THAT(Pages(2), ElementsAre(ElementsAre("b", "c"),
                                    ElementsAre("d", "e"), ElementsAre("a")));
  EXPECT_THAT(Pages(5), SizeIs(1));
}

TEST_P(StoreListingTest, AnEmptyStoreHasOneEmptyPage) {
  EXPECT_THAT(Pages(10), ElementsAre(IsEmpty()));
}

TEST_P(StoreListingTest, PagesGoOnWhereTheyWereWhenSessionsComeAndGo) {
  CreateAt("a", 10);
  CreateAt("b", 20);
  CreateAt("c", 30);
  CreateAt("d", 40);
  const std::string token = store().List("", 2)->next_page_token;
  CreateAt("before", 15);
  CreateAt("after", 35);
  ASSERT_THAT(Write(DeletionOf("b", 1, 0)), IsOk());
  const absl::StatusOr<Store::Page> page = store().List(token, 10);
  Texts ids;
  for (const auto& session : page->sessions) {
    ids.push_back(session.record.session_id());
  }
  EXPECT_THAT(ids, ElementsAre("c", "after", "d"));
}

TEST_P(StoreListingTest, ListedSessionsAreWhole) {
  CreateAt("a", 10);
  ASSERT_THAT(Write(ChangeOf("a", 1, 0, {"1", "2"})), IsOk());
  ASSERT_THAT(store().Acquire("a").status(), IsOk());
  const Store::Page page = *store().List("", 10);
  ASSERT_THAT(page.sessions, SizeIs(1));
  EXPECT_EQ(page.sessions[0].record.tenant(), "default");
  EXPECT_EQ(page.sessions[0].epoch, 2u);
  EXPECT_EQ(page.sessions[0].oldest_sequence, 1u);
  EXPECT_EQ(page.sessions[0].newest_sequence, 2u);
}

TEST_P(StoreListingTest, ATokenThatIsNotTheStoresOwnIsRefused) {
  CreateAt("a", 10);
  CreateAt("b", 20);
  const std::string token = store().List("", 1)->next_page_token;
  const std::string longer = token + "A";
  const std::string shorter = token.substr(0, token.size() - 1);
  const std::string nul("\0", 1);
  for (const std::string& bad :
       {std::string("x"), std::string("!!!"), std::string("0"), longer, shorter,
        nul, token + token, std::string("MTAvLw=="), std::string(1000, 'A')}) {
    const absl::Status status = store().List(bad, 10).status();
    EXPECT_THAT(status, HasReason(Reason::kFieldInvalid)) << bad;
    EXPECT_THAT(FieldViolationsOf(status), SizeIs(1)) << bad;
  }
}

}  // namespace
}  // namespace understudy::session
