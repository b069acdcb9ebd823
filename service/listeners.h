// Listeners: where the server may be reached, and what must hold before it is.
//
// A unix socket belongs to one server: a lock beside it is held for as long as
// the server lives, and a socket that somebody still answers is never taken
// over; one that nobody answers is a leftover, and removed. TCP is for loopback
// only, where the same machine's users are trusted; any other address needs
// TLS.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_LISTENERS_H_
#define UNDERSTUDY_SERVICE_LISTENERS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "session/base/unique_fd.h"

namespace understudy::service {

struct ListenAddress {
  std::string path;  // of a unix socket, absolute; "": TCP
  std::string host;  // a numeric loopback address
  int port = 0;      // 0: the system chooses

  // As gRPC takes it: "unix:/path", "127.0.0.1:80", "[::1]:80".
  std::string ToString() const;
};

// `unix:/path` or `host:port`. kInvalidArgument for what is neither, or for an
// address that is not loopback.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// The right to make the socket at a path.
class SocketPlace {
 public:
  // Makes missing folders, open to their owner alone. With `private_folder`, a
  // folder that others may enter is refused; without, one that others may
  // write to. kFailedPrecondition: that, or a server is listening there.
  static absl::StatusOr<SocketPlace> Take(const std::string& path,
                                          bool private_folder);

  SocketPlace(SocketPlace&&) = default;
  SocketPlace& operator=(SocketPlace&&) = default;
  // Removes the lock file; the socket's listener has removed the socket.
  ~SocketPlace();

 private:
  SocketPlace(std::string lock_path, session::UniqueFd lock)
      : lock_path_(std::move(lock_path)), lock_(std::move(lock)) {}

  std::string lock_path_;
  session::UniqueFd lock_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_LISTENERS_H_
