#include "service/listeners.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/base/unique_fd.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace understudy::service {
namespace {

using session::IsOk;
using session::TempFolder;
using session::UniqueFd;
using ::testing::HasSubstr;

// A socket at `path`, listening or not.
UniqueFd MakeSocket(const std::string& path, bool listening) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  EXPECT_EQ(
      bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
      0);
  if (listening) EXPECT_EQ(listen(fd.get(), 1), 0);
  return fd;
}

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

bool Exists(const std::string& path) {
  return std::filesystem::exists(std::filesystem::symlink_status(path));
}

TEST(ListenAddressTest, TakesSocketsAndLoopback) {
  for (const auto& [text, normal] :
       std::vector<std::pair<std::string, std::string>>{
           {"unix:/run/x.sock", "unix:/run/x.sock"},
           {"127.0.0.1:0", "127.0.0.1:0"},
           {"127.1.2.3:50051", "127.1.2.3:50051"},
           {"localhost:50051", "127.0.0.1:50051"},
           {"[::1]:65535", "[::1]:65535"}}) {
    const auto address = ParseListenAddress(text);
    ASSERT_THAT(address.status(), IsOk()) << text;
    EXPECT_EQ(address->ToString(), normal);
  }
}

TEST(ListenAddressTest, RefusesOtherAddressesWithoutTls) {
  for (const char* text :
       {"0.0.0.0:1", "[::]:1", "192.168.0.1:1", "example.org:1", "[fe80::1]:1",
        "128.0.0.1:1", "[::ffff:10.0.0.1]:1", "*:1"}) {
    const auto address = ParseListenAddress(text);
    ASSERT_FALSE(address.ok()) << text;
    EXPECT_THAT(std::string(address.status().message()), HasSubstr("TLS"))
        << text;
  }
}

TEST(ListenAddressTest, RefusesWhatIsNoAddress) {
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("unix:"),
        std::string("unix:relative"), std::string("unix:/folder/"),
        std::string("unix:/a%20b/s"), std::string("unix:/a?b"),
        std::string("unix:/a#b"),
        "unix:/" + std::string(200, 'x'), std::string("127.0.0.1"),
        std::string("127.0.0.1:"), std::string("127.0.0.1:x"),
        std::string("127.0.0.1:65536"), std::string("127.0.0.1:-1"),
        std::string("::1:5"), std::string("[127.0.0.1]:5"),
        std::string("[::1]"), std::string(":5")}) {
    EXPECT_FALSE(ParseListenAddress(text).ok()) << text;
  }
}

class SocketPlaceTest : public ::testing::Test {
 protected:
  TempFolder folder_;
  const std::string socket_ = folder_.path() + "/run/understudy/u.sock";
};

TEST_F(SocketPlaceTest, MakesFoldersForItsOwnerAlone) {
  const auto place = SocketPlace::Take(socket_, /*private_folder=*/true);
  ASSERT_THAT(place.status(), IsOk());
  EXPECT_EQ(ModeOf(folder_.path() + "/run"), 0700u);
  EXPECT_EQ(ModeOf(folder_.path() + "/run/understudy"), 0700u);
  EXPECT_EQ(ModeOf(socket_ + ".lock"), 0600u);
}

TEST_F(SocketPlaceTest, BelongsToOneAtATime) {
  {
    const auto first = SocketPlace::Take(socket_, true);
    ASSERT_THAT(first.status(), IsOk());
    const auto second = SocketPlace::Take(socket_, true);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_FALSE(Exists(socket_ + ".lock"));
  EXPECT_THAT(SocketPlace::Take(socket_, true).status(), IsOk());
}

TEST_F(SocketPlaceTest, LeavesALiveServerAlone) {
  std::filesystem::create_directories(folder_.path() + "/run/understudy");
  std::filesystem::permissions(folder_.path() + "/run/understudy",
                               std::filesystem::perms::owner_all);
  // One that knows nothing of our lock.
  const UniqueFd server = MakeSocket(socket_, /*listening=*/true);
  EXPECT_EQ(SocketPlace::Take(socket_, true).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Exists(socket_));
}

TEST_F(SocketPlaceTest, RemovesASocketThatNobodyAnswers) {
  ASSERT_THAT(SocketPlace::Take(socket_, true).status(), IsOk());
  MakeSocket(socket_, /*listening=*/true).reset();
  ASSERT_TRUE(Exists(socket_));
  const auto place = SocketPlace::Take(socket_, true);
  EXPECT_THAT(place.status(), IsOk());
  EXPECT_FALSE(Exists(socket_));
}

TEST_F(SocketPlaceTest, LeavesAloneWhatIsNoSocket) {
  ASSERT_THAT(SocketPlace::Take(socket_, true).status(), IsOk());
  std::ofstream(socket_) << "precious";
  EXPECT_FALSE(SocketPlace::Take(socket_, true).ok());
  EXPECT_TRUE(Exists(socket_));
  std::filesystem::remove(socket_);
  std::filesystem::create_symlink("/dev/null", socket_);
  EXPECT_FALSE(SocketPlace::Take(socket_, true).ok());
  EXPECT_TRUE(Exists(socket_));
}

TEST_F(SocketPlaceTest, RefusesFoldersThatOthersMayWriteTo) {
  const std::string folder = folder_.path() + "/run/understudy";
  std::filesystem::create_directories(folder);
  chmod(folder.c_str(), 0755);
  EXPECT_FALSE(SocketPlace::Take(socket_, /*private_folder=*/true).ok());
  EXPECT_THAT(SocketPlace::Take(socket_, /*private_folder=*/false).status(),
              IsOk());
  chmod(folder.c_str(), 0775);
  EXPECT_FALSE(SocketPlace::Take(socket_, /*private_folder=*/false).ok());
  // As /tmp is.
  chmod(folder.c_str(), 01777);
  EXPECT_THAT(SocketPlace::Take(socket_, /*private_folder=*/false).status(),
              IsOk());
  // Whoever may write to the folder above may put another in its place.
  chmod(folder.c_str(), 0700);
  chmod((folder_.path() + "/run").c_str(), 0777);
  EXPECT_FALSE(SocketPlace::Take(socket_, /*private_folder=*/true).ok());
}

}  // namespace
}  // namespace understudy::service
