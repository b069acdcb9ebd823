#include "session/event_codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Of an event without its raw line.
constexpr size_t kMaxEventBytes = 2 * kMaxFieldBytes - 4096;

constexpr char Tag(int field, int wire_type) {
  return static_cast<char>((field << 3) | wire_type);
}
constexpr int kVarint = 0;
constexpr int kBytes = 2;

// One-byte tags: the schema keeps what every delta carries below field 16.
constexpr char kFrameTag = Tag(2, kBytes);
constexpr char kSessionIdTag = Tag(v1::Event::kSessionIdFieldNumber, kBytes);
constexpr char kAfterSequenceTag =
    Tag(v1::Event::kAfterSequenceFieldNumber, kVarint);
constexpr char kTurnIdTag = Tag(v1::Event::kTurnIdFieldNumber, kBytes);
constexpr char kRawTag = Tag(v1::Event::kRawFieldNumber, kBytes);
constexpr char kTruncatedTag =
    Tag(v1::Event::kTruncatedBytesFieldNumber, kVarint);
static_assert(v1::Event::kRawFieldNumber < 16);
static_assert(v1::Event::kTruncatedBytesFieldNumber < 16);
static_assert(v1::Event::kTextDeltaFieldNumber < 16);
static_assert(v1::Event::kThoughtDeltaFieldNumber < 16);
static_assert(v1::Event::kToolOutputDeltaFieldNumber < 16);

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

char* WriteVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

void AppendVarint(std::string& out, uint64_t value) {
  char buffer[10];
  out.append(buffer, WriteVarint(buffer, value) - buffer);
}

char* WriteBytes(char* out, char tag, std::string_view value) {
  *out++ = tag;
  out = WriteVarint(out, value.size());
  std::memcpy(out, value.data(), value.size());
  return out + value.size();
}

size_t BytesSize(std::string_view value) {
  return 1 + VarintSize(value.size()) + value.size();
}

// Cuts every string below `message` to `max` bytes. Returns how many went.
size_t CutStrings(Message& message, size_t max) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  size_t cut = 0;
  std::string scratch;
  for (const FieldDescriptor* field : fields) {
    const bool repeated = field->is_repeated();
    const int count = repeated ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        cut += CutStrings(
            repeated ? *reflection.MutableRepeatedMessage(&message, field, i)
                     : *reflection.MutableMessage(&message, field),
            max);
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        const std::string& text =
            repeated ? reflection.GetRepeatedStringReference(message, field, i,
                                                             &scratch)
                     : reflection.GetStringReference(message, field, &scratch);
        if (text.size() <= max) continue;
        std::string kept(Utf8Prefix(text, max));
        cut += text.size() - kept.size();
        if (repeated) {
          reflection.SetRepeatedString(&message, field, i, std::move(kept));
        } else {
          reflection.SetString(&message, field, std::move(kept));
        }
      }
    }
  }
  return cut;
}

// Cuts what is longest until the event fits.
void Fit(v1::Event& event) {
  if (event.ByteSizeLong() <= kMaxFieldBytes) return;
  size_t cut = CutStrings(event, kMaxFieldBytes);
  for (size_t max = kMaxFieldBytes / 2; event.ByteSizeLong() > kMaxEventBytes;
       max /= 2) {
    cut += CutStrings(event, max);
    // Nothing is left to be cut from an event of very many fields.
    if (max == 0) break;
  }
  if (cut > 0) event.set_truncated_bytes(event.truncated_bytes() + cut);
}

// Copies `event` once for each piece of the text that `text_of` finds in it.
template <typename TextOf>
std::vector<v1::Event> Parts(v1::Event event, TextOf text_of) {
  std::vector<v1::Event> parts;
  const std::string whole = std::move(*text_of(event)->mutable_text());
  std::string_view rest = whole;
  int number = 0;
  do {
    const std::string_view piece = Utf8Prefix(rest, kMaxFieldBytes);
    v1::Event& part = parts.emplace_back(event);
    *text_of(part)->mutable_text() = std::string(piece);
    text_of(part)->set_part(++number);
    rest.remove_prefix(piece.size());
    text_of(part)->set_last_part(rest.empty());
    Fit(part);
  } while (!rest.empty());
  return parts;
}

// Gives a tool result the face that Parts knows.
struct ToolResultText {
  v1::ToolResult* result;
  ToolResultText* operator->() { return this; }
  std::string* mutable_text() { return result->mutable_output(); }
  void set_part(int part) { result->set_part(part); }
  void set_last_part(bool last) { result->set_last_part(last); }
};

char DeltaTag(DeltaKind kind) {
  switch (kind) {
    case DeltaKind::kText:
      return Tag(v1::Event::kTextDeltaFieldNumber, kBytes);
    case DeltaKind::kThought:
      return Tag(v1::Event::kThoughtDeltaFieldNumber, kBytes);
    case DeltaKind::kToolOutput:
      return Tag(v1::Event::kToolOutputDeltaFieldNumber, kBytes);
  }
  return 0;
}

size_t DeltaPayloadSize(DeltaKind kind, std::string_view tool_call_id,
                        std::string_view text) {
  return BytesSize(text) +
         (kind == DeltaKind::kToolOutput ? BytesSize(tool_call_id) : 0);
}

}  // namespace

std::vector<v1::Event> SplitEvent(v1::Event event) {
  switch (event.payload_case()) {
    case v1::Event::kMessage:
      return Parts(std::move(event),
                   [](v1::Event& e) { return e.mutable_message(); });
    case v1::Event::kThought:
      return Parts(std::move(event),
                   [](v1::Event& e) { return e.mutable_thought(); });
    case v1::Event::kToolResult:
      return Parts(std::move(event), [](v1::Event& e) {
        return ToolResultText{e.mutable_tool_result()};
      });
    default:
      break;
  }
  Fit(event);
  std::vector<v1::Event> events;
  events.push_back(std::move(event));
  return events;
}

void AppendFrame(std::string& out, std::string_view event,
                 std::string_view tail) {
  out.push_back(kFrameTag);
  AppendVarint(out, event.size() + tail.size());
  out.append(event);
  out.append(tail);
}

std::string EncodeRaw(std::string_view raw) {
  std::string out;
  const size_t keep = std::min(raw.size(), kMaxFieldBytes);
  out.reserve(keep + 16);
  out.push_back(kRawTag);
  AppendVarint(out, keep);
  out.append(raw.substr(0, keep));
  if (keep < raw.size()) {
    out.push_back(kTruncatedTag);
    AppendVarint(out, raw.size() - keep);
  }
  return out;
}

std::string_view NextFrame(std::string_view& frames) {
  size_t at = 1;
  uint64_t size = 0;
  for (int shift = 0;; shift += 7) {
    const unsigned char byte = frames[at++];
    size |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) break;
  }
  const std::string_view event = frames.substr(at, size);
  frames.remove_prefix(at + size);
  return event;
}

std::string EncodeDeltaPrefix(std::string_view session_id,
                              uint64_t after_sequence,
                              std::string_view turn_id) {
  std::string out(BytesSize(session_id) + 1 + VarintSize(after_sequence) +
                      BytesSize(turn_id),
                  '\0');
  char* at = WriteBytes(out.data(), kSessionIdTag, session_id);
  *at++ = kAfterSequenceTag;
  at = WriteVarint(at, after_sequence);
  WriteBytes(at, kTurnIdTag, turn_id);
  return out;
}

size_t DeltaFrameSize(std::string_view prefix, DeltaKind kind,
                      std::string_view tool_call_id, std::string_view text) {
  const size_t payload = DeltaPayloadSize(kind, tool_call_id, text);
  const size_t event = prefix.size() + 1 + VarintSize(payload) + payload;
  return 1 + VarintSize(event) + event;
}

void WriteDeltaFrame(char* out, std::string_view prefix, DeltaKind kind,
                     std::string_view tool_call_id, std::string_view text) {
  const size_t payload = DeltaPayloadSize(kind, tool_call_id, text);
  *out++ = kFrameTag;
  out = WriteVarint(out, prefix.size() + 1 + VarintSize(payload) + payload);
  std::memcpy(out, prefix.data(), prefix.size());
  out += prefix.size();
  *out++ = DeltaTag(kind);
  out = WriteVarint(out, payload);
  if (kind == DeltaKind::kToolOutput) {
    out = WriteBytes(out, Tag(1, kBytes), tool_call_id);
    WriteBytes(out, Tag(2, kBytes), text);
  } else {
    WriteBytes(out, Tag(1, kBytes), text);
  }
}

}  // namespace understudy::session
