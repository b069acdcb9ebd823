// PoolAdminService: the gRPC methods of PoolAdmin. What this version does not
// have yet answers UNIMPLEMENTED `CAPABILITY_MISSING`.
//
// Threads: gRPC's.

#ifndef UNDERSTUDY_SERVICE_POOL_ADMIN_SERVICE_H_
#define UNDERSTUDY_SERVICE_POOL_ADMIN_SERVICE_H_

#include <string>

#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "service/commands.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy::service {

// clang-format off
using RawPoolAdmin =
    v1::PoolAdmin::WithRawCallbackMethod_GetPool<
    v1::PoolAdmin::WithRawCallbackMethod_WarmPool<
    v1::PoolAdmin::WithRawCallbackMethod_DrainSlots<
    v1::PoolAdmin::WithRawCallbackMethod_GetServerInfo<
    v1::PoolAdmin::Service>>>>;
// clang-format on

class PoolAdminService final : public RawPoolAdmin {
 public:
  struct Info {
    std::string version;
    std::string build;
    std::string store_kind;
    std::string node_id;
    absl::Time start_time;
  };

  // `commands` outlives the service.
  PoolAdminService(Commands& commands, Info info);

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Unary = grpc::ServerUnaryReactor;

  Unary* GetPool(Context*, const Bytes*, Bytes*) override;
  Unary* WarmPool(Context*, const Bytes*, Bytes*) override;
  Unary* DrainSlots(Context*, const Bytes*, Bytes*) override;
  Unary* GetServerInfo(Context*, const Bytes*, Bytes*) override;

 private:
  Commands& commands_;
  const Info info_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_POOL_ADMIN_SERVICE_H_
