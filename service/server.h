// Server: the whole process, assembled: loop, store, launcher, engine, gRPC.
//
// Threads in it: the loop; two that read the store and one that writes it;
// gRPC's own. Start and the destructor put them up and take them down in the
// order in which they lean on each other.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_SERVER_H_
#define UNDERSTUDY_SERVICE_SERVER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "service/config.h"
#include "service/rpc_server.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/process/subprocess.h"
#include "session/session_manager.h"
#include "session/store/store.h"

namespace understudy::service {

class Server {
 public:
  // Takes the store and the addresses, puts in order what an earlier server
  // left behind, and serves when it returns.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      Configuration configuration);

  // Stops at once, agents included, if it has not been drained.
  ~Server();

  // Lets running turns end, stops all agents and streams, and takes no more
  // calls. Ends within DrainBound(); until then calls are refused with
  // DRAINING.
  void Drain();
  absl::Duration DrainBound() const;

  // Where it listens.
  const std::vector<std::string>& addresses() const {
    return rpc_->addresses();
  }
  std::shared_ptr<grpc::Channel> InProcessChannel() {
    return rpc_->InProcessChannel();
  }

 private:
  explicit Server(absl::Duration drain_timeout);
  absl::Status Assemble(Configuration configuration);
  void RunOnLoop(session::Task task);

  const absl::Duration drain_timeout_;
  const std::string node_id_;

  // Each leans on those above it.
  std::unique_ptr<session::Store> store_;
  std::unique_ptr<session::RunnableLoop> loop_;
  std::unique_ptr<session::Blocking> reading_;
  std::unique_ptr<session::Blocking> clearing_;
  std::unique_ptr<session::Blocking> committing_;
  std::unique_ptr<session::Launcher> launcher_;
  std::unique_ptr<session::SessionManager> manager_;
  std::thread loop_thread_;
  std::unique_ptr<RpcServer> rpc_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_SERVER_H_
