#include "session/event_codec.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "gtest/gtest.h"
#include "session/base/utf8.h"
#include "understudy/v1/agent_control.pb.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What is left of 3 MiB beside the agent's line and the envelopes.
constexpr size_t kMaxEventBytes = (3 << 20) - kMaxFieldBytes - 1024;

// `bytes` of three-byte characters, off the boundaries of everything.
std::string LongText(size_t bytes) {
  std::string text = "x";
  while (text.size() < bytes) text += "\u20ac";
  return text;
}

v1::Event MessageOf(std::string text) {
  v1::Event event;
  event.mutable_message()->set_text(std::move(text));
  return event;
}

// Puts `text` into every string below `message`, and `elements` of each
// repeated field.
void Fill(Message& message, const std::string& text, int elements) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const int count = field->is_repeated() ? elements : 1;
    for (int n = 0; n < count; ++n) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        if (field->is_repeated()) {
          reflection.AddString(&message, field, text);
        } else {
          reflection.SetString(&message, field, text);
        }
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Fill(field->is_repeated() ? *reflection.AddMessage(&message, field)
                                  : *reflection.MutableMessage(&message, field),
             text, elements);
      }
    }
  }
}

// The names of string fields below `message` that are not UTF-8.
std::string InvalidField(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count =
        field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int n = 0; n < count; ++n) {
      if (field->type() == FieldDescriptor::TYPE_STRING) {
        const std::string text =
            field->is_repeated()
                ? reflection.GetRepeatedString(message, field, n)
                : reflection.GetString(message, field);
        if (!IsValidUtf8(text)) return field->full_name();
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        std::string inside =
            InvalidField(field->is_repeated()
                             ? reflection.GetRepeatedMessage(message, field, n)
                             : reflection.GetMessage(message, field));
        if (!inside.empty()) return inside;
      }
    }
  }
  return "";
}

TEST(EventCodecTest, LeavesAloneWhatFits) {
  v1::Event event = MessageOf("hello");
  event.set_turn_id("turn");
  const std::vector<v1::Event> parts = SplitEvent(event);
  ASSERT_EQ(parts.size(), 1u);
  event.mutable_message()->set_part(1);
  event.mutable_message()->set_last_part(true);
  EXPECT_EQ(parts[0].SerializeAsString(), event.SerializeAsString());
}

TEST(EventCodecTest, AnEmptyMessageIsOnePart) {
  const std::vector<v1::Event> parts = SplitEvent(MessageOf(""));
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].message().part(), 1);
  EXPECT_TRUE(parts[0].message().last_part());
}

TEST(EventCodecTest, SplitsALongMessageBetweenCharacters) {
  const std::string text = LongText(4 * kMaxFieldBytes);
  v1::Event event = MessageOf(text);
  event.set_turn_id("turn");
  std::string joined;
  int part = 0;
  const std::vector<v1::Event> parts = SplitEvent(std::move(event));
  ASSERT_GT(parts.size(), 1u);
  for (const v1::Event& piece : parts) {
    EXPECT_EQ(piece.turn_id(), "turn");
    EXPECT_EQ(piece.truncated_bytes(), 0u);
    EXPECT_EQ(piece.message().part(), ++part);
    EXPECT_EQ(piece.message().last_part(), &piece == &parts.back());
    EXPECT_TRUE(IsValidUtf8(piece.message().text()));
    EXPECT_LE(piece.ByteSizeLong(), kMaxEventBytes);
    joined += piece.message().text();
  }
  EXPECT_TRUE(joined == text);
}

TEST(EventCodecTest, SplitsThoughtsAndToolResultsAsWell) {
  v1::Event thought;
  thought.mutable_thought()->set_text(LongText(kMaxFieldBytes + 10));
  const std::vector<v1::Event> thoughts = SplitEvent(std::move(thought));
  ASSERT_EQ(thoughts.size(), 2u);
  EXPECT_EQ(thoughts[1].thought().part(), 2);
  EXPECT_TRUE(thoughts[1].thought().last_part());

  v1::Event result;
  result.mutable_tool_result()->set_tool_call_id("call");
  result.mutable_tool_result()->set_is_error(true);
  result.mutable_tool_result()->set_output(LongText(kMaxFieldBytes + 10));
  const std::vector<v1::Event> results = SplitEvent(std::move(result));
  ASSERT_EQ(results.size(), 2u);
  for (const v1::Event& part : results) {
    EXPECT_EQ(part.tool_result().tool_call_id(), "call");
    EXPECT_TRUE(part.tool_result().is_error());
  }
  EXPECT_FALSE(results[0].tool_result().last_part());
  EXPECT_EQ(results[1].tool_result().part(), 2);
}

TEST(EventCodecTest, CutsOtherLongFieldsAndSaysByHowMuch) {
  const std::string text = LongText(kMaxFieldBytes + 100);
  v1::Event event;
  event.mutable_tool_call()->set_tool_call_id("call");
  event.mutable_tool_call()->set_input_json(text);
  const std::vector<v1::Event> events = SplitEvent(std::move(event));
  ASSERT_EQ(events.size(), 1u);
  const std::string& kept = events[0].tool_call().input_json();
  EXPECT_EQ(events[0].tool_call().tool_call_id(), "call");
  EXPECT_TRUE(text.compare(0, kept.size(), kept) == 0);
  EXPECT_LE(kept.size(), kMaxFieldBytes);
  EXPECT_GT(kept.size(), kMaxFieldBytes - 3);
  EXPECT_TRUE(IsValidUtf8(kept));
  EXPECT_EQ(events[0].truncated_bytes(), text.size() - kept.size());
}

// Every field of every kind of event: what an agent says is unbounded
// anywhere, in a plan's entries or in the text of an error.
TEST(EventCodecTest, NoEventIsTooLongForTheWireWhateverFieldIsLong) {
  const google::protobuf::OneofDescriptor& payloads =
      *v1::Event::descriptor()->FindOneofByName("payload");
  for (const size_t bytes : {kMaxFieldBytes - 1, 2 * kMaxFieldBytes}) {
    const std::string text = LongText(bytes);
    for (int i = 0; i < payloads.field_count(); ++i) {
      const FieldDescriptor* payload = payloads.field(i);
      v1::Event event;
      Message& message =
          *event.GetReflection()->MutableMessage(&event, payload);
      // The number of a part is not for filling.
      Fill(message, text, 4);
      const size_t whole = event.ByteSizeLong();
      std::vector<v1::Event> parts = SplitEvent(std::move(event));
      for (const v1::Event& part : parts) {
        EXPECT_LE(part.ByteSizeLong(), kMaxEventBytes) << payload->name();
        EXPECT_EQ(InvalidField(part), "") << payload->name();
        if (parts.size() == 1 && whole > part.ByteSizeLong() + 100) {
          EXPECT_GE(part.truncated_bytes() + 100, whole - part.ByteSizeLong())
              << payload->name();
        }
      }
    }
  }
}

TEST(EventCodecTest, FramesAreTheEventsOfABatch) {
  v1::Event event = MessageOf("hello");
  event.set_sequence(3);
  std::string bytes;
  AppendFrame(bytes, event.SerializeAsString());
  AppendFrame(bytes, event.SerializeAsString(), EncodeRaw("{\"a\":1}"));
  v1::Batch batch;
  ASSERT_TRUE(batch.ParseFromString(bytes));
  ASSERT_EQ(batch.events_size(), 2);
  EXPECT_EQ(batch.events(0).SerializeAsString(), event.SerializeAsString());
  event.set_raw("{\"a\":1}");
  EXPECT_EQ(batch.events(1).SerializeAsString(), event.SerializeAsString());
}

TEST(EventCodecTest, NextFrameTakesFramesApartAgain) {
  // On both sides of where a length needs another byte.
  const std::vector<size_t> sizes = {0, 1, 127, 128, 16383, 16384, 2097152};
  std::string bytes;
  for (const size_t size : sizes) {
    AppendFrame(bytes, std::string(size, 'a'), size > 0 ? "tail" : "");
  }
  std::string_view frames = bytes;
  for (const size_t size : sizes) {
    ASSERT_FALSE(frames.empty());
    const std::string_view event = NextFrame(frames);
    EXPECT_EQ(event.size(), size > 0 ? size + 4 : 0);
  }
  EXPECT_TRUE(frames.empty());
}

TEST(EventCodecTest, CutsARawLineAndSaysByHowMuch) {
  const std::string line(kMaxFieldBytes + 5, 'r');
  v1::Event event;
  ASSERT_TRUE(event.ParseFromString(EncodeRaw(line)));
  EXPECT_EQ(event.raw().size(), kMaxFieldBytes);
  EXPECT_EQ(event.truncated_bytes(), 5u);
  ASSERT_TRUE(event.ParseFromString(EncodeRaw(line.substr(5))));
  EXPECT_EQ(event.raw().size(), kMaxFieldBytes);
  EXPECT_EQ(event.truncated_bytes(), 0u);
}

std::string DeltaFrame(uint64_t after, DeltaKind kind, std::string_view call,
                       std::string_view text) {
  const std::string prefix = EncodeDeltaPrefix("session", after, "turn");
  std::string bytes(DeltaFrameSize(prefix, kind, call, text), '\0');
  WriteDeltaFrame(bytes.data(), prefix, kind, call, text);
  return bytes;
}

TEST(EventCodecTest, ADeltaWrittenByHandIsTheEventThatProtobufWrites) {
  for (const uint64_t after : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}}) {
    for (const size_t size : {0, 1, 100, 128, 20000}) {
      const std::string text(size, 't');
      const std::string bytes =
          DeltaFrame(after, DeltaKind::kText, "", text) +
          DeltaFrame(after, DeltaKind::kThought, "", text) +
          DeltaFrame(after, DeltaKind::kToolOutput, "call", text);
      v1::Batch batch;
      ASSERT_TRUE(batch.ParseFromString(bytes));
      ASSERT_EQ(batch.events_size(), 3);
      v1::Event expected;
      expected.set_session_id("session");
      expected.set_after_sequence(after);
      expected.set_turn_id("turn");
      expected.mutable_text_delta()->set_text(text);
      EXPECT_EQ(batch.events(0).SerializeAsString(),
                expected.SerializeAsString());
      expected.mutable_thought_delta()->set_text(text);
      EXPECT_EQ(batch.events(1).SerializeAsString(),
                expected.SerializeAsString());
      expected.mutable_tool_output_delta()->set_tool_call_id("call");
      expected.mutable_tool_output_delta()->set_text(text);
      EXPECT_EQ(batch.events(2).SerializeAsString(),
                expected.SerializeAsString());
    }
  }
}

}  // namespace
}  // namespace understudy::session
