// The server under stress: the real understudyd on a unix socket in a folder of
// its own, its agents the rehearsal agent, killed and started again on the same
// store.
//
// Threads: one, but for KillAnAgent and the functions that read /proc.

#ifndef UNDERSTUDY_TESTS_STRESS_SERVER_H_
#define UNDERSTUDY_TESTS_STRESS_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"

namespace understudy::stress {

class Server {
 public:
  // The programs are looked for in `programs`; at most `slots` agents run at a
  // time.
  Server(std::string programs, int slots);
  // Kills it. The folder stays, if it is kept.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Starts it and waits until it listens.
  absl::Status Start();
  // SIGKILL. Waits for the end of all that it had started; how long that took.
  absl::Duration Kill();
  // SIGTERM. An error if it does not end well.
  absl::Status Stop();

  pid_t pid() const { return pid_; }
  const std::string& folder() const { return folder_; }
  void keep_folder() { keep_folder_ = true; }

  // The names of its profiles: one that does what can be done natively, one
  // that replaces its agent for everything, and one of an old version.
  static const std::vector<std::string>& Profiles();

  // A connection that comes back quickly.
  std::shared_ptr<grpc::Channel> Connect() const;

  // Kills one agent, the `choice`th of those that live now; its pid, or 0 if
  // none lives. Only what has this server's mark in its environment is killed.
  pid_t KillAnAgent(uint64_t choice) const;

  // What was started by the server and lives, agents and their descendants.
  std::vector<pid_t> Descendants() const;
  int OpenDescriptors() const;
  // Children that have ended and were not waited for.
  int Zombies() const;

 private:
  bool HasMark(pid_t pid) const;

  const std::string programs_;
  const int slots_;
  std::string folder_;
  std::string mark_;  // NAME=value, in the environment of every agent
  bool keep_folder_ = false;
  pid_t pid_ = -1;
};

// A file as it is; empty if it cannot be read.
std::string ReadFile(const std::string& path);

}  // namespace understudy::stress

#endif  // UNDERSTUDY_TESTS_STRESS_SERVER_H_
