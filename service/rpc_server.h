// RpcServer: the gRPC server: services, limits, health, reflection, listeners,
// and their end.
//
// Its end has an order: StopServing (health says so), then, when the engine has
// drained, EndStreams, then Shutdown. Destroying it shuts down at once.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_RPC_SERVER_H_
#define UNDERSTUDY_SERVICE_RPC_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/server.h"
#include "service/agent_control_service.h"
#include "service/commands.h"
#include "service/config.h"
#include "service/feed.h"
#include "service/listeners.h"
#include "service/pool_admin_service.h"
#include "service/stream_set.h"

namespace understudy::service {

class RpcServer {
 public:
  struct Options {
    std::vector<Configuration::Listener> listeners;  // may be none
    Rules rules;
    absl::Duration progress_interval = absl::Seconds(15);
    PoolAdminService::Info info;
  };

  // Serves when it returns. kFailedPrecondition: an address cannot be had.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      const StreamGround& ground, Options options);
  ~RpcServer();

  // Where it listens, with the ports that the system chose.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // A connection from within the process.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Health checks say NOT_SERVING; calls are still served.
  void StopServing();

  // Ends all streams with DRAINING, and those to come.
  void EndStreams();

  // Takes no more calls, waits for those that run, and cancels them after
  // `grace`.
  void Shutdown(absl::Duration grace);

 private:
  RpcServer(const StreamGround& ground, Options options);
  absl::Status Listen(const std::vector<Configuration::Listener>& listeners);

  Commands commands_;
  StreamSet streams_;
  AgentControlService agent_control_;
  PoolAdminService pool_admin_;
  std::vector<SocketPlace> places_;
  std::vector<std::string> addresses_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_RPC_SERVER_H_
