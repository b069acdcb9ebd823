#include "service/rpc_server.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace understudy::service {
namespace {

// A message that is too long must reach the check that refuses it.
constexpr int kMinReceiveBytes = 32 << 20;

// Sets the mask of new files' modes, of which sockets are made with those of
// their owner alone, and puts back the old one.
class PrivateFiles {
 public:
  PrivateFiles() : before_(umask(0177)) {}
  ~PrivateFiles() { umask(before_); }

 private:
  const mode_t before_;
};

void SetLimits(const Rules& rules, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(
      std::max(kMinReceiveBytes, 2 * static_cast<int>(rules.max_text_bytes)));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
  // A port belongs to one server.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Finds out within 40 s that a client has gone, and lets clients do so, too.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const StreamGround& ground, Options options) {
  const std::vector<Configuration::Listener> listeners =
      std::move(options.listeners);
  std::unique_ptr<RpcServer> server(new RpcServer(ground, std::move(options)));
  if (absl::Status status = server->Listen(listeners); !status.ok()) {
    return status;
  }
  return server;
}

RpcServer::RpcServer(const StreamGround& ground, Options options)
    : commands_(ground.manager, std::move(options.rules)),
      agent_control_(ground, commands_, streams_, options.progress_interval),
      pool_admin_(commands_, std::move(options.info)) {}

absl::Status RpcServer::Listen(
    const std::vector<Configuration::Listener>& listeners) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetLimits(commands_.rules(), builder);
  builder.RegisterService(&agent_control_);
  builder.RegisterService(&pool_admin_);
  std::vector<int> ports(listeners.size(), 0);
  std::string all;
  for (size_t i = 0; i < listeners.size(); ++i) {
    const ListenAddress& address = listeners[i].address;
    if (!address.path.empty()) {
      auto place = SocketPlace::Take(address.path, listeners[i].is_default);
      if (!place.ok()) return place.status();
      places_.push_back(*std::move(place));
    }
    builder.AddListeningPort(address.ToString(),
                             grpc::InsecureServerCredentials(), &ports[i]);
    absl::StrAppend(&all, i == 0 ? "" : ", ", address.ToString());
  }
  {
    const PrivateFiles mask;
    server_ = builder.BuildAndStart();
  }
  if (server_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("listen on ", all,
                     ": an address is in use, or cannot be "
                     "had"));
  }
  for (size_t i = 0; i < listeners.size(); ++i) {
    ListenAddress address = listeners[i].address;
    address.port = ports[i];
    addresses_.push_back(address.ToString());
  }
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  for (const char* name : {v1::AgentControl::service_full_name(),
                           v1::PoolAdmin::service_full_name()}) {
    health->SetServingStatus(name, true);
  }
  return absl::OkStatus();
}

RpcServer::~RpcServer() {
  if (server_ != nullptr) Shutdown(absl::ZeroDuration());
}

std::shared_ptr<grpc::Channel> RpcServer::InProcessChannel() {
  return server_->InProcessChannel({});
}

void RpcServer::StopServing() {
  server_->GetHealthCheckService()->SetServingStatus(false);
}

void RpcServer::EndStreams() { streams_.Drain(); }

void RpcServer::Shutdown(absl::Duration grace) {
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
}

}  // namespace understudy::service
