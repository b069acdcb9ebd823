#include "service/listeners.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace understudy::service {
namespace {

using session::UniqueFd;

absl::Status Invalid(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("listen on ", std::string(text), ": ", std::string(why)));
}

absl::Status Refused(const std::string& path, std::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("listen on unix:", path, ": ", std::string(why)));
}

bool IsLoopback(const std::string& host) {
  in_addr four;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) {
    return (ntohl(four.s_addr) >> 24) == 127;
  }
  in6_addr six;
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&six);
}

// Makes `folder` and those above it that are missing, with mode 0700.
absl::Status MakeFolder(const std::string& path,
                        const std::filesystem::path& folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) == 0) {
    return S_ISDIR(info.st_mode)
               ? absl::OkStatus()
               : Refused(path,
                         absl::StrCat(folder.string(), " is not a directory"));
  }
  if (errno == ENOENT && folder.has_relative_path()) {
    if (absl::Status status = MakeFolder(path, folder.parent_path());
        !status.ok()) {
      return status;
    }
    if (mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) {
      return absl::OkStatus();
    }
  }
  return Refused(
      path, absl::StrCat("make ", folder.string(), ": ", std::strerror(errno)));
}

// Whoever may write to the folder could put another socket in our place.
absl::Status CheckFolder(const std::string& path, const std::string& folder,
                         bool private_folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) {
    return Refused(path, absl::StrCat(folder, ": ", std::strerror(errno)));
  }
  if (private_folder) {
    if (info.st_uid != geteuid() || (info.st_mode & 0077) != 0) {
      return Refused(path, absl::StrCat(folder,
                                        " must belong to the server's user, "
                                        "with mode 0700"));
    }
    return CheckFolder(
        path, std::filesystem::path(folder).parent_path().string(), false);
  }
  const bool trusted = info.st_uid == geteuid() || info.st_uid == 0;
  const bool shared = (info.st_mode & 0022) != 0;
  const bool sticky = (info.st_mode & S_ISVTX) != 0;
  if (!trusted || (shared && !sticky)) {
    return Refused(path, absl::StrCat(folder, " can be written to by others"));
  }
  return absl::OkStatus();
}

// Opens and locks the file at `path`, which whoever held it before may be about
// to remove.
absl::StatusOr<UniqueFd> Lock(const std::string& socket_path,
                              const std::string& path) {
  while (true) {
    UniqueFd file(
        open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) {
      return Refused(socket_path,
                     absl::StrCat("open ", path, ": ", std::strerror(errno)));
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      return Refused(socket_path, errno == EWOULDBLOCK
                                      ? "a server has it already"
                                      : std::strerror(errno));
    }
    struct stat ours, there;
    if (fstat(file.get(), &ours) == 0 && stat(path.c_str(), &there) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
      return file;
    }
  }
}

// Removes a socket that nobody answers.
absl::Status RemoveLeftover(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus()
                           : Refused(path, std::strerror(errno));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Refused(path, "there is something that is not a socket");
  }
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (!probe || connect(probe.get(), reinterpret_cast<sockaddr*>(&address),
                        sizeof(address)) == 0) {
    return Refused(
        path, probe ? "a server answers there already" : std::strerror(errno));
  }
  if (errno != ECONNREFUSED) return Refused(path, std::strerror(errno));
  if (unlink(path.c_str()) != 0) return Refused(path, std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (!path.empty()) return absl::StrCat("unix:", path);
  return host.find(':') == host.npos ? absl::StrCat(host, ":", port)
                                     : absl::StrCat("[", host, "]:", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  ListenAddress address;
  if (text.starts_with(kUnix)) {
    address.path = std::string(text.substr(kUnix.size()));
    if (address.path.empty() || address.path.front() != '/' ||
        address.path.back() == '/' ||
        address.path.find('\0') != std::string::npos) {
      return Invalid(text, "the path of a socket must be absolute");
    }
    // In gRPC's addresses these have a meaning of their own.
    if (address.path.find_first_of("%?#") != std::string::npos) {
      return Invalid(text, "the path of a socket may not have %, ? or #");
    }
    if (address.path.size() >= sizeof(sockaddr_un::sun_path)) {
      return Invalid(text,
                     absl::StrCat("a socket's path must be shorter than ",
                                  sizeof(sockaddr_un::sun_path), " bytes"));
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == text.npos)
    return Invalid(text, "must be unix:/path or host:port");
  std::string_view host = text.substr(0, colon);
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != (host.find(':') != host.npos)) {
    return Invalid(text, "must be unix:/path or host:port");
  }
  if (!absl::SimpleAtoi(std::string(text.substr(colon + 1)), &address.port) ||
      address.port < 0 || address.port > 65535) {
    return Invalid(text, "the port must be a number from 0 to 65535");
  }
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  if (!IsLoopback(address.host)) {
    return Invalid(text,
                   "an address other than loopback (127.0.0.0/8, ::1, "
                   "localhost) needs TLS");
  }
  return address;
}

absl::StatusOr<SocketPlace> SocketPlace::Take(const std::string& path,
                                              bool private_folder) {
  const std::filesystem::path folder =
      std::filesystem::path(path).parent_path();
  if (absl::Status status = MakeFolder(path, folder); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckFolder(path, folder.string(), private_folder);
      !status.ok()) {
    return status;
  }
  std::string lock_path = path + ".lock";
  absl::StatusOr<UniqueFd> lock = Lock(path, lock_path);
  if (!lock.ok()) return lock.status();
  SocketPlace place(std::move(lock_path), *std::move(lock));
  if (absl::Status status = RemoveLeftover(path); !status.ok()) return status;
  return place;
}

SocketPlace::~SocketPlace() {
  if (lock_) unlink(lock_path_.c_str());
}

}  // namespace understudy::service
