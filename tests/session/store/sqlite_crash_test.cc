// A store in a file, when the server is killed, the disk fails, or the disk is
// full: what was acknowledged is there, once and in order, and nothing else.

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/store/store.h"
#include "tests/fakes/faulty_vfs.h"
#include "tests/support/appends.h"
#include "tests/support/child_process.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr char kA[] = "session-a";

std::unique_ptr<Store> Open(const std::string& folder) {
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenStore(absl::StrCat("sqlite:", folder, "/store.db"));
  EXPECT_THAT(store.status(), IsOk());
  return store.ok() ? *std::move(store) : nullptr;
}

bool OutcomeIsUnknown(const absl::Status& status) {
  const ErrorMetadata metadata = MetadataOf(status);
  const auto outcome = metadata.find("outcome");
  return outcome != metadata.end() && outcome->second == "unknown";
}

// ---- Killed ----

constexpr int kSessions = 4;
std::string SessionName(uint64_t i) { return absl::StrCat("session-", i); }

// Goes on where the store is, in a commit for all sessions each time, with some
// trimming and deleting. Tells the newest sequence after each commit.
void WriteUntilKilled(const std::string& folder,
                      const TellingChild::Tell& tell) {
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenStore(absl::StrCat("sqlite:", folder, "/store.db"));
  if (!store.ok()) return;
  uint64_t newest = 0;
  const absl::StatusOr<StoredSession> session = (*store)->Get(SessionName(0));
  if (session.ok()) newest = session->newest_sequence;
  for (;; ++newest) {
    std::vector<Append> appends;
    for (int i = 0; i < kSessions; ++i) {
      Append append = newest == 0 ? CreationOf(RecordOf(SessionName(i)), {"1"})
                                  : ChangeOf(SessionName(i), 1, newest,
                                             {absl::StrCat(newest + 1)});
      if (i == 1 && newest > 50) append.oldest_sequence = newest - 49;
      append.requests = {RequestOf(SessionName(i), absl::StrCat(newest + 1))};
      appends.push_back(std::move(append));
    }
    for (const absl::Status& status : (*store)->Write(appends)) {
      if (!status.ok()) return;
    }
    tell(newest + 1);
  }
}

TEST(SqliteCrashTest, WhatWasAcknowledgedSurvivesBeingKilledInTheMiddle) {
  const TempFolder folder;
  uint64_t acknowledged = 0;
  for (int round = 0; round < 12; ++round) {
    TellingChild child([&folder](const TellingChild::Tell& tell) {
      WriteUntilKilled(folder.path(), tell);
    });
    const uint64_t before = acknowledged;
    // Each time after another number of commits.
    for (int i = 0; i < 5 + round * 7; ++i) {
      ASSERT_TRUE(child.Next(acknowledged)) << "the child has ended";
    }
    child.Kill();
    while (child.Next(acknowledged)) {
    }
    ASSERT_GT(acknowledged, before);

    const std::unique_ptr<Store> store = Open(folder.path());
    ASSERT_NE(store, nullptr);
    const uint64_t newest = store->Get(SessionName(0))->newest_sequence;
    // One commit may have been made without being told.
    ASSERT_GE(newest, acknowledged);
    ASSERT_LE(newest, acknowledged + 1);
    Texts expected;
    for (uint64_t i = 1; i <= newest; ++i) expected.push_back(absl::StrCat(i));
    for (int i = 0; i < kSessions; ++i) {
      const StoredSession session = *store->Get(SessionName(i));
      EXPECT_EQ(session.newest_sequence, newest);
      const uint64_t after = session.oldest_sequence - 1;
      EXPECT_EQ(TextsAfter(*store, SessionName(i), after),
                Texts(expected.begin() + after, expected.end()));
      EXPECT_THAT(*store->RequestIds(SessionName(i)), SizeIs(newest));
    }
    acknowledged = newest;
  }
}

// ---- A disk that fails ----

TEST(SqliteCrashTest, EveryCommitIsSyncedBeforeItIsAnswered) {
  const TempFolder folder;
  FaultyVfs vfs;
  const std::unique_ptr<Store> store = Open(folder.path());
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  for (uint64_t i = 0; i < 20; ++i) {
    const int before = vfs.log_syncs();
    ASSERT_THAT(WriteOne(*store, ChangeOf(kA, 1, i, {"x"})), IsOk());
    EXPECT_EQ(vfs.log_syncs(), before + 1);
  }
  const int before = vfs.log_syncs();
  ASSERT_THAT(store->Acquire(kA).status(), IsOk());
  EXPECT_EQ(vfs.log_syncs(), before + 1);
}

// What would be found after a crash now: the files as they are. Copied by
// another process: one that closes a file gives up its locks on it.
std::string CrashImage(const std::string& folder, const std::string& image) {
  fs::create_directory(image);
  return RunInChild([&] {
    for (const char* name : {"/store.db", "/store.db-wal"}) {
      fs::copy_file(folder + name, image + name);
    }
    return std::string();
  });
}

TEST(SqliteCrashTest, ACommitWhoseSyncFailedIsUnknownUntilItIsSettled) {
  const TempFolder folder;
  FaultyVfs vfs;
  const std::unique_ptr<Store> store = Open(folder.path());
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA), {"1"})), IsOk());

  vfs.FailLogSyncs(1);
  const absl::Status failed = WriteOne(*store, ChangeOf(kA, 1, 1, {"2"}));
  EXPECT_THAT(failed, HasReason(Reason::kStoreUnavailable));
  EXPECT_TRUE(OutcomeIsUnknown(failed));

  // This is why: a crash would bring it to light.
  ASSERT_EQ(CrashImage(folder.path(), folder.path() + "/doubt"), "");
  EXPECT_THAT(TextsAfter(*Open(folder.path() + "/doubt"), kA, 0),
              ElementsAre("1", "2"));

  vfs.FailLogSyncs(1000);
  // So nobody is told that it is not there, nor is anything written on top.
  EXPECT_THAT(store->Get(kA).status(), HasReason(Reason::kStoreUnavailable));
  EXPECT_THAT(store->ReadEvents(kA, 0, 10, 100).status(),
              HasReason(Reason::kStoreUnavailable));
  const absl::Status refused = WriteOne(*store, ChangeOf(kA, 1, 1, {"x"}));
  EXPECT_THAT(refused, HasReason(Reason::kStoreUnavailable));
  EXPECT_FALSE(OutcomeIsUnknown(refused));
  EXPECT_THAT(store->Acquire(kA).status(),
              HasReason(Reason::kStoreUnavailable));

  // The disk works again: the commit is gone for good.
  vfs.FailLogSyncs(0);
  EXPECT_EQ(store->Get(kA)->newest_sequence, 1u);
  ASSERT_EQ(CrashImage(folder.path(), folder.path() + "/settled"), "");
  EXPECT_THAT(TextsAfter(*Open(folder.path() + "/settled"), kA, 0),
              ElementsAre("1"));
  EXPECT_THAT(WriteOne(*store, ChangeOf(kA, 1, 1, {"2 again"})), IsOk());
  EXPECT_THAT(TextsAfter(*store, kA, 0), ElementsAre("1", "2 again"));
}

// Lets the n-th call to the disk fail, for each n until a whole run has no
// more: every place where a disk can fail.
TEST(SqliteCrashTest, NoSingleFailureOfTheDiskLosesWhatWasAcknowledged) {
  FaultyVfs vfs;
  int failures = 0;
  for (bool failed = true; failed; ++failures) {
    const TempFolder folder;
    std::unique_ptr<Store> store = Open(folder.path());
    ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
    vfs.FailCall(failures + 1);
    Texts written;
    for (int i = 0; i < 8; ++i) {
      const std::string text(i == 4 ? 10'000 : 10, static_cast<char>('a' + i));
      Append append = ChangeOf(kA, 1, written.size(), {text});
      if (i % 3 == 0) append.requests = {RequestOf(kA, absl::StrCat(i))};
      if (i == 6) append.oldest_sequence = 4;
      absl::Status status = WriteOne(*store, append);
      if (!status.ok()) {
        ASSERT_THAT(status, HasReason(Reason::kStoreUnavailable));
        // Once is once: the same append goes through now.
        status = WriteOne(*store, append);
        ASSERT_THAT(status, IsOk()) << "call " << failures + 1;
      }
      written.push_back(text);
      if (i % 4 == 0) store->Get(kA).IgnoreError();
    }
    written.erase(written.begin(), written.begin() + 3);
    TextsAfter(*store, kA, 3);  // may be what fails
    ASSERT_EQ(TextsAfter(*store, kA, 3), written);
    store.reset();
    failed = vfs.CallFailed();
    vfs.FailCall(0);
    store = Open(folder.path());
    ASSERT_EQ(TextsAfter(*store, kA, 3), written) << "call " << failures + 1;
  }
  EXPECT_GT(failures, 100);
}

TEST(SqliteCrashTest, ACheckpointThatFailsLosesNothing) {
  const TempFolder folder;
  FaultyVfs vfs;
  std::unique_ptr<Store> store = Open(folder.path());
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  Texts written;
  const auto write = [&] {
    written.emplace_back(1 << 20, static_cast<char>('a' + written.size() % 26));
    return WriteOne(*store,
                    ChangeOf(kA, 1, written.size() - 1, {written.back()}));
  };
  vfs.FailCheckpoints(1'000'000);
  for (int i = 0; i < 8; ++i) ASSERT_THAT(write(), IsOk());
  EXPECT_EQ(TextsAfter(*store, kA, 0), written);
  // And the last one of all, when the store is closed: the log stays.
  store.reset();
  vfs.FailCheckpoints(0);
  EXPECT_TRUE(fs::exists(folder.path() + "/store.db-wal"));
  store = Open(folder.path());
  EXPECT_EQ(TextsAfter(*store, kA, 0), written);
  for (int i = 0; i < 4; ++i) ASSERT_THAT(write(), IsOk());
  store.reset();
  EXPECT_FALSE(fs::exists(folder.path() + "/store.db-wal"));
  EXPECT_EQ(TextsAfter(*Open(folder.path()), kA, 0), written);
}

TEST(SqliteCrashTest, AFailureWhileOpeningIsAnErrorAndHarmless) {
  const TempFolder folder;
  WriteOne(*Open(folder.path()), CreationOf(RecordOf(kA), {"1"})).IgnoreError();
  FaultyVfs vfs;
  int failures = 0;
  for (bool failed = true; failed;) {
    vfs.FailCall(++failures);
    OpenStore(absl::StrCat("sqlite:", folder.path(), "/store.db"))
        .status()
        .IgnoreError();
    failed = vfs.CallFailed();
    vfs.FailCall(0);
    ASSERT_THAT(TextsAfter(*Open(folder.path()), kA, 0), ElementsAre("1"));
  }
  EXPECT_GT(failures, 10);
}

// ---- A disk that is full ----

TEST(SqliteCrashTest, AFullDiskRefusesWritesUntilThereIsRoom) {
  const TempFolder folder;
  FaultyVfs vfs;
  const std::unique_ptr<Store> store = Open(folder.path());
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA), {"1"})), IsOk());
  vfs.Fill();
  const std::vector<Append> appends = {ChangeOf(kA, 1, 1, {"2"}),
                                       CreationOf(RecordOf("b")),
                                       ChangeOf(kA, 7, 1, {"fenced"})};
  EXPECT_THAT(
      store->Write(appends),
      ElementsAre(HasReason(Reason::kStoreFull), HasReason(Reason::kStoreFull),
                  HasReason(Reason::kStoreFull)));
  EXPECT_THAT(store->Acquire(kA).status(), HasReason(Reason::kStoreFull));
  // What is there can be read.
  EXPECT_THAT(TextsAfter(*store, kA, 0), ElementsAre("1"));
  EXPECT_EQ(store->Get(kA)->epoch, 1u);
  EXPECT_THAT(store->Get("b").status(), HasReason(Reason::kSessionNotFound));
  vfs.Empty();
  EXPECT_THAT(WriteOne(*store, ChangeOf(kA, 1, 1, {"2"})), IsOk());
  EXPECT_THAT(TextsAfter(*store, kA, 0), ElementsAre("1", "2"));
}

// Fills the disk under `folder`, makes room by `make_room`, and goes on. In a
// child: "" or what went wrong.
std::string FillAndGoOn(const std::string& folder,
                        const std::function<void()>& make_room) {
  absl::StatusOr<std::unique_ptr<Store>> opened =
      OpenStore(absl::StrCat("sqlite:", folder, "/store.db"));
  if (!opened.ok()) return opened.status().ToString();
  Store& store = **opened;
  absl::Status status = WriteOne(store, CreationOf(RecordOf(kA)));
  Texts written;
  while (status.ok() && written.size() < 10'000) {
    const std::string text(1000, static_cast<char>('a' + written.size() % 26));
    status = WriteOne(store, ChangeOf(kA, 1, written.size(), {text}));
    if (status.ok()) written.push_back(text);
  }
  if (ReasonOf(status) != Reason::kStoreFull) return status.ToString();
  if (written.size() < 20) return absl::StrCat("only ", written.size());
  if (TextsAfter(store, kA, 0) != written) return "not all is there";

  make_room();
  written.push_back("there is room");
  status =
      WriteOne(store, ChangeOf(kA, 1, written.size() - 1, {"there is room"}));
  if (!status.ok()) return status.ToString();
  opened->reset();

  opened = OpenStore(absl::StrCat("sqlite:", folder, "/store.db"));
  if (!opened.ok()) return opened.status().ToString();
  if (TextsAfter(**opened, kA, 0) != written) return "not all is there again";
  return "";
}

TEST(SqliteCrashTest, ALimitOnTheSizeOfFilesIsAFullDisk) {
  const TempFolder folder;
  EXPECT_EQ(RunInChild([&folder] {
              signal(SIGXFSZ, SIG_IGN);
              const rlimit limit = {1 << 20, RLIM_INFINITY};
              setrlimit(RLIMIT_FSIZE, &limit);
              return FillAndGoOn(folder.path(), [] {
                const rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
                setrlimit(RLIMIT_FSIZE, &none);
              });
            }),
            "");
}

// On a disk of 2 MiB of its own, which needs the right to mount: as root, or
// where users have namespaces.
TEST(SqliteCrashTest, ADiskThatIsReallyFullLosesNothing) {
  const TempFolder folder;
  const std::string outcome = RunInChild([&folder]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 &&
        unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return "cannot mount";
    }
    // Nothing of it is seen outside.
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=2m") != 0) {
      return "cannot mount";
    }
    const std::string ballast = folder.path() + "/ballast";
    std::ofstream(ballast) << std::string(500'000, 'x');
    return FillAndGoOn(folder.path(), [&ballast] { fs::remove(ballast); });
  });
  if (outcome == "cannot mount") GTEST_SKIP() << "this user cannot mount";
  EXPECT_EQ(outcome, "");
}

}  // namespace
}  // namespace understudy::session
