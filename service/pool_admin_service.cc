#include "service/pool_admin_service.h"

#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "service/unary.h"

namespace understudy::service {
namespace {

using google::protobuf::util::TimeUtil;

template <typename Request, typename Response>
grpc::ServerUnaryReactor* Unsupported(std::string_view method,
                                      Commands& commands,
                                      const grpc::ByteBuffer& bytes,
                                      grpc::ByteBuffer* response) {
  return Serve<Request, Response>(
      method, commands, bytes, response,
      [method](const Request&, Answer<Response> answer) -> session::CallId {
        std::move(answer)(UnsupportedError(method));
        return 0;
      });
}

}  // namespace

PoolAdminService::PoolAdminService(Commands& commands, Info info)
    : commands_(commands), info_(std::move(info)) {}

grpc::ServerUnaryReactor* PoolAdminService::GetPool(Context*,
                                                    const Bytes* request,
                                                    Bytes* response) {
  return Unsupported<v1::GetPoolRequest, v1::GetPoolResponse>(
      "GetPool", commands_, *request, response);
}

grpc::ServerUnaryReactor* PoolAdminService::WarmPool(Context*,
                                                     const Bytes* request,
                                                     Bytes* response) {
  return Unsupported<v1::WarmPoolRequest, v1::WarmPoolResponse>(
      "WarmPool", commands_, *request, response);
}

grpc::ServerUnaryReactor* PoolAdminService::DrainSlots(Context*,
                                                       const Bytes* request,
                                                       Bytes* response) {
  return Unsupported<v1::DrainSlotsRequest, v1::DrainSlotsResponse>(
      "DrainSlots", commands_, *request, response);
}

grpc::ServerUnaryReactor* PoolAdminService::GetServerInfo(Context*,
                                                          const Bytes* request,
                                                          Bytes* response) {
  using Response = v1::GetServerInfoResponse;
  return Serve<v1::GetServerInfoRequest, Response>(
      "GetServerInfo", commands_, *request, response,
      [this](const auto&, Answer<Response> answer) -> session::CallId {
        Response info;
        info.set_version(info_.version);
        info.set_build(info_.build);
        info.set_store_kind(info_.store_kind);
        info.set_node_id(info_.node_id);
        *info.mutable_uptime() = TimeUtil::NanosecondsToDuration(
            absl::ToInt64Nanoseconds(absl::Now() - info_.start_time));
        *info.mutable_start_time() = TimeUtil::NanosecondsToTimestamp(
            absl::ToUnixNanos(info_.start_time));
        std::move(answer)(std::move(info));
        return 0;
      });
}

}  // namespace understudy::service
