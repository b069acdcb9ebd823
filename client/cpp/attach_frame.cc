#include "client/cpp/attach_frame.h"

#include <cstdint>
#include <limits>
#include <string_view>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/support/proto_buffer_reader.h"

namespace understudy::client {
namespace {

using google::protobuf::io::CodedInputStream;

// A buffer is thrown away once in this many bytes: often enough to bound its
// memory, too rarely to cost anything.
constexpr size_t kKeepBytes = 32 << 20;

constexpr uint32_t kMaxLength = std::numeric_limits<int>::max();

constexpr uint32_t Tag(int field, int wire_type) {
  return static_cast<uint32_t>(field << 3 | wire_type);
}
constexpr int kVarint = 0;
constexpr int kBytes = 2;

constexpr uint32_t kBatchTag =
    Tag(v1::AttachResponse::kBatchFieldNumber, kBytes);

// Takes a varint off `bytes`.
bool TakeVarint(std::string_view& bytes, uint64_t& value) {
  value = 0;
  for (size_t i = 0; i < bytes.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      bytes.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}

bool TakeTag(std::string_view& bytes, uint32_t tag) {
  if (bytes.empty() || static_cast<unsigned char>(bytes[0]) != tag) {
    return false;
  }
  bytes.remove_prefix(1);
  return true;
}

// Takes the field `tag`, a string or a message, off `bytes`.
bool TakeField(std::string_view& bytes, uint32_t tag, std::string_view& value) {
  uint64_t size = 0;
  if (!TakeTag(bytes, tag) || !TakeVarint(bytes, size) || size > bytes.size()) {
    return false;
  }
  value = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

bool IsAscii(std::string_view bytes) {
  unsigned char seen = 0;
  for (const char c : bytes) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

bool HasUnknownFields(const google::protobuf::Message& message) {
  return !message.GetReflection()->GetUnknownFields(message).empty();
}

// Whether `event`, which has no unknown fields, has nothing set but what
// ReadTextDelta sets.
bool IsTextDelta(const v1::Event& event) {
  return event.has_text_delta() && event.sequence() == 0 &&
         event.epoch() == 0 && event.incarnation() == 0 && !event.has_time() &&
         event.agent_session_id().empty() && !event.synthetic() &&
         event.raw().empty() && event.truncated_bytes() == 0;
}

// Reads what nearly all events are: a text delta, as the server writes it. The
// generated parser would allocate its TextDelta anew, and the text in it.
// False, and `event` is as it was: it is something else.
bool ReadTextDelta(std::string_view bytes, v1::Event& event) {
  using Event = v1::Event;
  std::string_view session_id;
  std::string_view turn_id;
  std::string_view delta;
  std::string_view text;
  uint64_t after_sequence = 0;
  if (!TakeField(bytes, Tag(Event::kSessionIdFieldNumber, kBytes),
                 session_id) ||
      !TakeTag(bytes, Tag(Event::kAfterSequenceFieldNumber, kVarint)) ||
      !TakeVarint(bytes, after_sequence) ||
      !TakeField(bytes, Tag(Event::kTurnIdFieldNumber, kBytes), turn_id) ||
      !TakeField(bytes, Tag(Event::kTextDeltaFieldNumber, kBytes), delta) ||
      !bytes.empty() ||
      !TakeField(delta, Tag(v1::TextDelta::kTextFieldNumber, kBytes), text) ||
      !delta.empty()) {
    return false;
  }
  // Whether anything else is valid UTF-8 is the generated parser's to judge.
  if (!IsAscii(session_id) || !IsAscii(turn_id) || !IsAscii(text)) return false;
  if (!IsTextDelta(event)) event.Clear();
  event.mutable_session_id()->assign(session_id);
  event.set_after_sequence(after_sequence);
  event.mutable_turn_id()->assign(turn_id);
  event.mutable_text_delta()->mutable_text()->assign(text);
  return true;
}

bool ReadEvent(CodedInputStream& input, BatchBuffer& buffer, v1::Event& event) {
  uint32_t length = 0;
  if (!input.ReadVarint32(&length) || length > kMaxLength) return false;
  const int size = static_cast<int>(length);
  const void* data = nullptr;
  int available = 0;
  if (input.GetDirectBufferPointer(&data, &available) && available >= size &&
      ReadTextDelta({static_cast<const char*>(data), length}, event)) {
    return input.Skip(size);
  }
  const CodedInputStream::Limit limit = input.PushLimit(size);
  const bool parsed =
      event.ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
  input.PopLimit(limit);
  // Not to be written over.
  if (event.has_text_delta() &&
      (HasUnknownFields(event) || HasUnknownFields(event.text_delta()))) {
    buffer.parsed_bytes += kKeepBytes;
  }
  return parsed;
}

// Replaces the content of `buffer`, up to the limit of `input`. Events are
// written over one by one: Clear() would take their payloads from them.
bool ReadBatch(CodedInputStream& input, BatchBuffer& buffer) {
  v1::Batch& batch = buffer.batch;
  batch.clear_subscription_id();
  int count = 0;
  while (const uint32_t tag = input.ReadTag()) {
    if (tag == Tag(v1::Batch::kEventsFieldNumber, kBytes)) {
      v1::Event* const event = count < batch.events_size()
                                   ? batch.mutable_events(count)
                                   : batch.add_events();
      ++count;
      if (!ReadEvent(input, buffer, *event)) return false;
    } else if (tag == Tag(v1::Batch::kSubscriptionIdFieldNumber, kVarint)) {
      uint64_t id = 0;
      if (!input.ReadVarint64(&id)) return false;
      batch.set_subscription_id(id);
    } else {
      return false;
    }
  }
  while (batch.events_size() > count) batch.mutable_events()->RemoveLast();
  return input.ConsumedEntireMessage();
}

}  // namespace

// Succeeds if the message is a `batch` of what this schema has, and nothing
// else.
bool AttachFrame::ParseBatch(grpc::ByteBuffer& bytes) {
  grpc::ProtoBufferReader reader(&bytes);
  CodedInputStream input(&reader);
  uint32_t length = 0;
  if (input.ReadTag() != kBatchTag || !input.ReadVarint32(&length) ||
      length > bytes.Length() || length > kMaxLength) {
    return false;
  }
  if (buffer_ == nullptr || buffer_->parsed_bytes >= kKeepBytes) {
    buffer_ = std::make_unique<BatchBuffer>();
  }
  buffer_->bytes = length;
  buffer_->parsed_bytes += length;
  const CodedInputStream::Limit limit =
      input.PushLimit(static_cast<int>(length));
  if (!ReadBatch(input, *buffer_)) return false;
  input.PopLimit(limit);
  return input.ReadTag() == 0 && input.ConsumedEntireMessage();
}

void AttachFrame::Parse(grpc::ByteBuffer& bytes) {
  malformed_ = false;
  has_batch_ = ParseBatch(bytes);
  if (has_batch_) return;

  grpc::ProtoBufferReader reader(&bytes);
  malformed_ = !other_.ParseFromZeroCopyStream(&reader);
  if (!malformed_ && other_.has_batch()) {
    has_batch_ = true;
    buffer_ = std::make_unique<BatchBuffer>();
    buffer_->bytes = bytes.Length();
    buffer_->parsed_bytes = kKeepBytes;  // for this once
    buffer_->batch.Swap(other_.mutable_batch());
  }
}

}  // namespace understudy::client
