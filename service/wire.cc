#include "service/wire.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"
#include "proto/error.h"
#include "session/base/check.h"
#include "session/event_codec.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {
namespace {

using google::protobuf::io::CodedOutputStream;
using session::EventLog;

// Fewer bytes than this are copied: cheaper than sharing them.
constexpr size_t kMaxCopiedBytes = 4096;

constexpr char Tag(int field, int wire_type) {
  return static_cast<char>((field << 3) | wire_type);
}
constexpr int kVarint = 0;
constexpr int kLengthDelimited = 2;

void AppendVarint(std::string& out, uint64_t value) {
  uint8_t bytes[10];
  const uint8_t* end = CodedOutputStream::WriteVarint64ToArray(value, bytes);
  out.append(reinterpret_cast<const char*>(bytes), end - bytes);
}

// Shares the bytes with gRPC for as long as it needs them.
grpc::Slice Share(std::shared_ptr<const void> hold, std::string_view bytes) {
  auto* owner = new std::shared_ptr<const void>(std::move(hold));
  return grpc::Slice(
      const_cast<char*>(bytes.data()), bytes.size(),
      [](void* user_data) {
        delete static_cast<std::shared_ptr<const void>*>(user_data);
      },
      owner);
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& buffer,
                          google::protobuf::Message* message) {
  grpc::ByteBuffer shared = buffer;
  grpc::ProtoBufferReader reader(&shared);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) {
    return absl::OkStatus();
  }
  return FieldInvalid(
      "message",
      absl::StrCat("is not a ", message->GetDescriptor()->full_name(),
                   ": its bytes are damaged, or a text in it is not UTF-8"));
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer buffer;
  bool own_buffer = false;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(
          message, &buffer, &own_buffer);
  UNDERSTUDY_CHECK(status.ok(), "our own messages can be encoded");
  return buffer;
}

grpc::ByteBuffer BatchMessage(uint64_t subscription_id,
                              const EventLog::Batch& events) {
  std::string id(1, Tag(v1::Batch::kSubscriptionIdFieldNumber, kVarint));
  AppendVarint(id, subscription_id);
  std::string header(
      1, Tag(v1::AttachResponse::kBatchFieldNumber, kLengthDelimited));
  AppendVarint(header, id.size() + events.bytes);
  header += id;

  std::vector<grpc::Slice> slices;
  if (events.bytes <= kMaxCopiedBytes) {
    header.reserve(header.size() + events.bytes);
    for (const EventLog::Slice& slice : events.slices) header += slice.bytes;
    slices.emplace_back(header);
  } else {
    slices.reserve(events.slices.size() + 1);
    slices.emplace_back(header);
    for (const EventLog::Slice& slice : events.slices) {
      slices.push_back(Share(slice.hold, slice.bytes));
    }
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

grpc::ByteBuffer EventMessages::Next() {
  EventLog::Slice& slice = events_.slices[slice_];
  const std::string_view event = session::NextFrame(slice.bytes);
  const grpc::Slice message = event.size() <= kMaxCopiedBytes
                                  ? grpc::Slice(event.data(), event.size())
                                  : Share(slice.hold, event);
  if (slice.bytes.empty()) ++slice_;
  return grpc::ByteBuffer(&message, 1);
}

EventLog::Batch TakeFront(EventLog::Batch& rest, size_t max_bytes) {
  if (rest.bytes <= max_bytes) return std::exchange(rest, {});
  EventLog::Batch front;
  size_t whole = 0;  // slices of `rest` that are used up
  for (EventLog::Slice& slice : rest.slices) {
    std::string_view left = slice.bytes;
    while (!left.empty()) {
      std::string_view behind = left;
      session::NextFrame(behind);
      const size_t size = left.size() - behind.size();
      if (front.events > 0 && front.bytes + size > max_bytes) break;
      front.bytes += size;
      ++front.events;
      left = behind;
    }
    const size_t taken = slice.bytes.size() - left.size();
    if (taken > 0) {
      front.slices.push_back({slice.hold, slice.bytes.substr(0, taken)});
    }
    slice.bytes = left;
    if (!left.empty()) break;
    ++whole;
  }
  rest.slices.erase(rest.slices.begin(), rest.slices.begin() + whole);
  rest.bytes -= front.bytes;
  rest.events -= front.events;
  return front;
}

}  // namespace understudy::service
