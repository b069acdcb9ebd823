// What a store in a file does beside the contract of all stores: its files,
// its lock, its versions, its log.

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
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
#include "session/store/sqlite_file.h"
#include "session/store/store.h"
#include "tests/fakes/faulty_vfs.h"
#include "tests/support/appends.h"
#include "tests/support/child_process.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kA[] = "session-a";

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int ModeOf(const std::string& path) {
  struct stat file;
  return stat(path.c_str(), &file) == 0 ? file.st_mode & 0777 : -1;
}

class SqliteStoreTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Store>> TryOpen() {
    return OpenStore("sqlite:" + path_);
  }
  std::unique_ptr<Store> Open() {
    absl::StatusOr<std::unique_ptr<Store>> store = TryOpen();
    EXPECT_THAT(store.status(), IsOk());
    return store.ok() ? *std::move(store) : nullptr;
  }
  // A store that has `events` events of 1000 bytes, closed again.
  void Make(int events) {
    const std::unique_ptr<Store> store = Open();
    ASSERT_THAT(
        WriteOne(*store, CreationOf(RecordOf(kA),
                                    Texts(events, std::string(1000, 'x')))),
        IsOk());
  }
  // Uses the store in another process, which ends without closing it.
  void UseAndCrash(const std::function<void(Store&)>& use) {
    EXPECT_EQ(RunInChild([this, &use] {
                absl::StatusOr<std::unique_ptr<Store>> store = TryOpen();
                if (!store.ok()) return store.status().ToString();
                use(**store);
                store->release();
                return std::string();
              }),
              "");
  }
  // As another program might.
  void Execute(const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr),
              SQLITE_OK)
        << sqlite3_errmsg(db);
    sqlite3_close(db);
  }

  const TempFolder folder_;
  std::string path_ = folder_.path() + "/new/folder/store.db";
};

// ---- Files ----

TEST_F(SqliteStoreTest, FilesAndNewFoldersAreForTheirOwnerAlone) {
  const mode_t umask_before = umask(0);
  const std::unique_ptr<Store> store = Open();
  umask(umask_before);
  EXPECT_EQ(ModeOf(folder_.path() + "/new"), 0700);
  EXPECT_EQ(ModeOf(folder_.path() + "/new/folder"), 0700);
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    EXPECT_EQ(ModeOf(path_ + suffix), 0600) << suffix;
  }
}

TEST_F(SqliteStoreTest, AFileThatOthersMayReadIsClosedToThem) {
  Make(1);
  ASSERT_EQ(chmod(path_.c_str(), 0664), 0);
  ASSERT_EQ(chmod(fs::path(path_).parent_path().c_str(), 0755), 0);
  const std::unique_ptr<Store> store = Open();
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
    EXPECT_EQ(ModeOf(path_ + suffix), 0600) << suffix;
  }
  // The folder was there: it is its owner's business.
  EXPECT_EQ(ModeOf(fs::path(path_).parent_path()), 0755);
}

TEST_F(SqliteStoreTest, AStoreThatWasClosedHasNoLogLeft) {
  Make(10);
  EXPECT_TRUE(fs::exists(path_));
  EXPECT_FALSE(fs::exists(path_ + "-wal"));
  EXPECT_FALSE(fs::exists(path_ + "-shm"));
}

TEST_F(SqliteStoreTest, APlaceThatCannotBeUsedIsNamedWithTheReason) {
  std::ofstream(folder_.path() + "/file") << "x";
  path_ = folder_.path() + "/file/store.db";
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
  EXPECT_THAT(std::string(TryOpen().status().message()),
              AllOf(HasSubstr(path_.substr(0, path_.rfind('/'))),
                    HasSubstr("Not a directory")));

  path_ = folder_.path();
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));

  path_ = folder_.path() + "/pipe";
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
}

TEST(SqliteFileTest, KnowsTheFileSystemsOfNetworks) {
  for (const uint32_t type : {0x6969u, 0x517Bu, 0xFE534D42u, 0xFF534D42u,
                              0x65735546u, 0x01021997u, 0x00C36400u}) {
    EXPECT_TRUE(IsNetworkFileSystem(type)) << std::hex << type;
  }
  // ext4, xfs, btrfs, tmpfs, overlay, zfs
  for (const uint32_t type : {0xEF53u, 0x58465342u, 0x9123683Eu, 0x01021994u,
                              0x794C7630u, 0x2FC12FC1u}) {
    EXPECT_FALSE(IsNetworkFileSystem(type)) << std::hex << type;
  }
}

// ---- The lock ----

TEST_F(SqliteStoreTest, ASecondServerIsRefusedUntilTheFirstIsGone) {
  std::unique_ptr<Store> first = Open();
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
  EXPECT_THAT(RunInChild([this] { return TryOpen().status().ToString(); }),
              AllOf(HasSubstr(path_), HasSubstr("another server uses it")));
  ASSERT_THAT(WriteOne(*first, CreationOf(RecordOf(kA))), IsOk());
  first.reset();
  EXPECT_THAT(TryOpen().status(), IsOk());
}

TEST_F(SqliteStoreTest, AnotherNameOfTheFileDoesNotGetRoundTheLock) {
  const std::unique_ptr<Store> first = Open();
  const std::string link = folder_.path() + "/link.db";
  ASSERT_EQ(symlink(path_.c_str(), link.c_str()), 0);
  const std::string folder_link = folder_.path() + "/link";
  ASSERT_EQ(symlink((folder_.path() + "/new").c_str(), folder_link.c_str()), 0);
  for (const std::string& name :
       {link, folder_link + "/folder/store.db",
        folder_.path() + "/new/../new//folder/store.db"}) {
    EXPECT_THAT(OpenStore("sqlite:" + name).status(),
                HasReason(Reason::kStoreUnavailable))
        << name;
  }
}

TEST_F(SqliteStoreTest, TheLockOfAServerThatWasKilledIsFree) {
  TellingChild child([this](const TellingChild::Tell& tell) {
    const absl::StatusOr<std::unique_ptr<Store>> store = TryOpen();
    tell(store.ok());
    pause();
  });
  uint64_t opened = 0;
  ASSERT_TRUE(child.Next(opened));
  ASSERT_EQ(opened, 1u);
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
  child.Kill();
  EXPECT_THAT(TryOpen().status(), IsOk());
}

// ---- What is found in the file ----

TEST_F(SqliteStoreTest, EverythingIsThereWhenItIsOpenedAgain) {
  SessionRecord record = RecordOf(kA);
  record.add_processes(7);
  record.set_agent_session_id("conversation");
  {
    const std::unique_ptr<Store> store = Open();
    Append creation = CreationOf(record, {"1", "2", "3"});
    creation.requests = {RequestOf(kA, "r1"), RequestOf("", "r2")};
    ASSERT_THAT(WriteOne(*store, std::move(creation)), IsOk());
    ASSERT_THAT(store->Acquire(kA).status(), IsOk());
    Append trim = ChangeOf(kA, 2, 3);
    trim.oldest_sequence = 2;
    ASSERT_THAT(WriteOne(*store, std::move(trim)), IsOk());
  }
  const std::unique_ptr<Store> store = Open();
  const StoredSession session = *store->Get(kA);
  EXPECT_EQ(session.record.SerializeAsString(), record.SerializeAsString());
  EXPECT_EQ(session.epoch, 2u);
  EXPECT_EQ(session.oldest_sequence, 2u);
  EXPECT_EQ(session.newest_sequence, 3u);
  EXPECT_THAT(TextsAfter(*store, kA, 1), ElementsAre("2", "3"));
  EXPECT_THAT(*store->Unfinished(), ElementsAre(kA));
  EXPECT_THAT(*store->RequestIds(kA), ElementsAre("r1"));
  EXPECT_THAT(*store->RequestIds(""), ElementsAre("r2"));
  EXPECT_EQ(*store->FindByConversation("default", "conversation", ""), kA);
  EXPECT_THAT(WriteOne(*store, ChangeOf(kA, 2, 3, {"4"})), IsOk());
}

TEST_F(SqliteStoreTest, WhatWasCommittedBeforeACrashIsThere) {
  UseAndCrash([](Store& store) {
    (void)WriteOne(store, CreationOf(RecordOf(kA), {"1", "2"}));
  });
  EXPECT_TRUE(fs::exists(path_ + "-wal"));
  const std::unique_ptr<Store> store = Open();
  EXPECT_THAT(TextsAfter(*store, kA, 0), ElementsAre("1", "2"));
}

TEST_F(SqliteStoreTest, AFileOfANewerServerIsRefusedAndLeftAsItIs) {
  Make(10);
  Execute("INSERT INTO schema_version VALUES(99, 0)");
  const std::string before = Contents(path_);
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
  EXPECT_THAT(std::string(TryOpen().status().message()),
              AllOf(HasSubstr(path_), HasSubstr("version 99")));
  EXPECT_EQ(Contents(path_), before);
}

TEST_F(SqliteStoreTest, TheDatabaseOfAnotherProgramIsRefusedAndLeftAsItIs) {
  fs::create_directories(fs::path(path_).parent_path());
  Execute("CREATE TABLE bookmark(url TEXT); INSERT INTO bookmark VALUES('x')");
  const std::string before = Contents(path_);
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreUnavailable));
  EXPECT_EQ(Contents(path_), before);
}

TEST_F(SqliteStoreTest, AFileThatIsNoDatabaseIsRefusedAndLeftAsItIs) {
  fs::create_directories(fs::path(path_).parent_path());
  const std::string before(10000, 'x');
  std::ofstream(path_) << before;
  EXPECT_THAT(TryOpen().status(), HasReason(Reason::kStoreCorrupt));
  EXPECT_EQ(Contents(path_), before);
}

TEST_F(SqliteStoreTest, DamageIsFoundAfterACrashAndLeftAsItIs) {
  Make(3000);
  UseAndCrash([](Store& store) {
    (void)WriteOne(store, ChangeOf(kA, 1, 3000, {"3001"}));
  });
  // In the middle of the events: nothing that opening must read.
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(fs::file_size(path_) / 8192 * 4096));
  file << std::string(4096 * 20, '\xA5');
  file.close();
  const std::string before = Contents(path_);
  const std::string log_before = Contents(path_ + "-wal");
  ASSERT_NE(log_before, "");

  for (int i = 0; i < 2; ++i) {
    const absl::Status status = TryOpen().status();
    EXPECT_THAT(status, HasReason(Reason::kStoreCorrupt));
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
    EXPECT_EQ(Contents(path_), before);
    EXPECT_EQ(Contents(path_ + "-wal"), log_before);
  }
}

TEST_F(SqliteStoreTest, DamageThatIsMetWhileRunningIsAnError) {
  Make(3000);
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(fs::file_size(path_) / 8192 * 4096));
  file << std::string(4096 * 20, '\xA5');
  file.close();
  // After a clean stop nobody looks for it.
  const std::unique_ptr<Store> store = Open();
  absl::Status status;
  for (uint64_t after = 0; status.ok() && after < 3000; after += 100) {
    status = store->ReadEvents(kA, after, 100, 1 << 20).status();
  }
  EXPECT_THAT(status, HasReason(Reason::kStoreCorrupt));
}

// ---- The log, and the room that the file takes ----

TEST_F(SqliteStoreTest, ReadersNeverCheckpoint) {
  FaultyVfs vfs;
  const std::unique_ptr<Store> store = Open();
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_THAT(WriteOne(*store, ChangeOf(kA, 1, i, {"x"})), IsOk());
  }
  const int before = vfs.database_writes();
  std::vector<std::thread> readers;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&store] {
      for (int j = 0; j < 50; ++j) TextsAfter(*store, kA, 0);
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(vfs.database_writes(), before);
  // And yet there was something to copy.
  EXPECT_GT(fs::file_size(path_ + "-wal"), 100'000u);
}

TEST_F(SqliteStoreTest, TheLogStaysShort) {
  const std::unique_ptr<Store> store = Open();
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  const std::string text(100'000, 'x');
  for (uint64_t i = 0; i < 200; ++i) {
    ASSERT_THAT(WriteOne(*store, ChangeOf(kA, 1, i, {text})), IsOk());
  }
  EXPECT_GT(fs::file_size(path_), 30'000'000u);
  EXPECT_LT(fs::file_size(path_ + "-wal"), 8'000'000u);
}

TEST_F(SqliteStoreTest, TheLogIsBoundedEvenIfSomebodyReadsAllTheTime) {
  const std::unique_ptr<Store> store = Open();
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  std::atomic<bool> done = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 6; ++i) {
    readers.emplace_back([&] {
      while (!done) store->ReadEvents(kA, 0, 1, 0).IgnoreError();
    });
  }
  const std::string text(3 << 20, 'x');
  for (uint64_t i = 0; i < 24; ++i) {
    EXPECT_THAT(WriteOne(*store, ChangeOf(kA, 1, i, {text})), IsOk());
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  // 150 MB have gone through it.
  EXPECT_LT(fs::file_size(path_ + "-wal"), 90'000'000u);
}

TEST_F(SqliteStoreTest, TheRoomOfWhatIsDeletedIsUsedAgain) {
  const std::unique_ptr<Store> store = Open();
  const Texts texts(5000, std::string(1000, 'x'));
  uint64_t size = 0;
  for (int round = 0; round < 5; ++round) {
    Append creation = CreationOf(RecordOf(kA), texts);
    creation.requests = {RequestOf(kA, "r1"), RequestOf(kA, "r2")};
    ASSERT_THAT(WriteOne(*store, std::move(creation)), IsOk());
    ASSERT_THAT(WriteOne(*store, DeletionOf(kA, 1, 5000)), IsOk());
    ASSERT_THAT(store->ForgetRequests(absl::InfinitePast()), IsOk());
    if (round == 0) size = fs::file_size(path_);
  }
  EXPECT_LT(fs::file_size(path_), size + size / 4);
}

TEST_F(SqliteStoreTest, WritesGetTheirTurnWhileRequestsAreForgotten) {
  const std::unique_ptr<Store> store = Open();
  constexpr size_t kRequests = 20'000;
  Append creation = CreationOf(RecordOf(kA));
  for (size_t i = 0; i < kRequests; ++i) {
    creation.requests.push_back(RequestOf(kA, absl::StrCat("r", i)));
  }
  ASSERT_THAT(WriteOne(*store, std::move(creation)), IsOk());
  std::thread forgetter([&] {
    EXPECT_THAT(store->ForgetRequests(absl::InfiniteFuture()), IsOk());
  });
  int meanwhile = 0;
  size_t left = kRequests;
  for (uint64_t i = 0; left > 0; ++i) {
    EXPECT_THAT(WriteOne(*store, ChangeOf(kA, 1, i, {"text"})), IsOk());
    left = store->RequestIds(kA)->size();
    meanwhile += left > 0 && left < kRequests;
  }
  forgetter.join();
  EXPECT_GE(meanwhile, 5);
}

TEST_F(SqliteStoreTest, AWriteSweepsAsMuchAsATrimmedLogLeavesBehind) {
  const std::unique_ptr<Store> store = Open();
  ASSERT_THAT(WriteOne(*store, CreationOf(RecordOf(kA))), IsOk());
  const Texts texts(100, std::string(1000, 'x'));
  uint64_t size = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    Append append = ChangeOf(kA, 1, i * 100, texts);
    append.oldest_sequence = i * 100 + 1;
    ASSERT_THAT(WriteOne(*store, std::move(append)), IsOk());
    if (i == 50) size = fs::file_size(path_) + fs::file_size(path_ + "-wal");
  }
  EXPECT_THAT(TextsAfter(*store, kA, 19'900), SizeIs(100));
  EXPECT_LT(fs::file_size(path_) + fs::file_size(path_ + "-wal"), 2 * size);
}

}  // namespace
}  // namespace understudy::session
