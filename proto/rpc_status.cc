#include "proto/rpc_status.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "proto/error.h"

namespace understudy {
namespace {

// Leaves room for other trailers below 8 KiB.
constexpr size_t kMaxStatusBytes = 256 << 10;
constexpr size_t kMaxTrailerBytes = 6 * 1024;

// What the texts of a status take on the wire: grpc-message is percent-encoded
// and grpc-status-details-bin, which repeats the message, is base64.
size_t TrailerBytes(const google::rpc::Status& status) {
  size_t bytes = 0;
  for (const char c : status.message()) {
    bytes += c >= ' ' && c <= '~' && c != '%' ? 1 : 3;
  }
  return bytes + (status.ByteSizeLong() + 2) / 3 * 4;
}

enum class Keep { kBeginning, kEnd };

void Cut(std::string& text, size_t limit, Keep keep = Keep::kBeginning) {
  if (text.size() <= limit) return;
  const std::string_view whole = text;
  text = ValidUtf8(keep == Keep::kEnd ? whole.substr(whole.size() - limit)
                                      : whole.substr(0, limit));
}

// Cuts each text of `status` to `limit` bytes: of what is named a tail, the
// end is kept.
void CutTexts(google::rpc::Status& status, size_t limit) {
  Cut(*status.mutable_message(), limit);
  for (auto& detail : *status.mutable_details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest request;
    if (detail.UnpackTo(&info)) {
      for (auto& [key, value] : *info.mutable_metadata()) {
        Cut(value, limit,
            absl::EndsWith(key, "_tail") ? Keep::kEnd : Keep::kBeginning);
      }
      detail.PackFrom(info);
    } else if (detail.UnpackTo(&request)) {
      auto& violations = *request.mutable_field_violations();
      const int most = static_cast<int>(limit / 32);
      if (violations.size() > most) {
        violations.DeleteSubrange(most, violations.size() - most);
      }
      for (auto& violation : violations) {
        Cut(*violation.mutable_field(), limit);
        Cut(*violation.mutable_description(), limit);
      }
      detail.PackFrom(request);
    }
  }
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  if (status.ok()) return rpc;
  const bool passes = status.code() == absl::StatusCode::kCancelled ||
                      status.code() == absl::StatusCode::kDeadlineExceeded;
  if (!passes && !status.GetPayload(kErrorInfoUrl).has_value()) {
    return ToRpcStatus(
        MakeError(Reason::kInternal, std::string(status.message())));
  }
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(ValidUtf8(std::string(status.message())));
  status.ForEachPayload(
      [&rpc](absl::string_view url, const absl::Cord& payload) {
        auto& detail = *rpc.add_details();
        detail.set_type_url(std::string(url));
        detail.set_value(std::string(payload));
      });
  // No error is too long for a message of a stream, whatever an agent has said.
  if (rpc.ByteSizeLong() > kMaxStatusBytes) CutTexts(rpc, kMaxStatusBytes / 8);
  // Payloads have no order of their own; the wire gets one: ErrorInfo first.
  std::sort(rpc.mutable_details()->begin(), rpc.mutable_details()->end(),
            [](const auto& a, const auto& b) {
              const bool a_first = a.type_url() == kErrorInfoUrl;
              const bool b_first = b.type_url() == kErrorInfoUrl;
              return a_first != b_first ? a_first : a.type_url() < b.type_url();
            });
  return rpc;
}

absl::Status FromRpcStatus(const google::rpc::Status& rpc) {
  absl::Status status(static_cast<absl::StatusCode>(rpc.code()), rpc.message());
  for (const auto& detail : rpc.details()) {
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return status;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status rpc = ToRpcStatus(status);
  for (size_t limit = 2048; TrailerBytes(rpc) > kMaxTrailerBytes && limit >= 32;
       limit /= 2) {
    CutTexts(rpc, limit);
  }
  // Without details the message alone says enough.
  const std::string details =
      rpc.details().empty() ? "" : rpc.SerializeAsString();
  return grpc::Status(static_cast<grpc::StatusCode>(rpc.code()), rpc.message(),
                      details);
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status rpc;
  if (!rpc.ParseFromString(status.error_details())) rpc.Clear();
  rpc.set_code(status.error_code());
  rpc.set_message(status.error_message());
  return FromRpcStatus(rpc);
}

}  // namespace understudy
