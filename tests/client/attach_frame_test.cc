#include "client/cpp/attach_frame.h"

#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/support/slice.h"
#include "gtest/gtest.h"

namespace understudy::client {
namespace {

// In two slices, as messages off the wire come in several.
grpc::ByteBuffer Bytes(const std::string& bytes) {
  const size_t half = bytes.size() / 2;
  const grpc::Slice slices[] = {grpc::Slice(bytes.substr(0, half)),
                                grpc::Slice(bytes.substr(half))};
  return grpc::ByteBuffer(slices, 2);
}

v1::AttachResponse BatchOf(int events) {
  v1::AttachResponse response;
  response.mutable_batch()->set_subscription_id(7);
  for (int i = 1; i <= events; ++i) {
    v1::Event& event = *response.mutable_batch()->add_events();
    event.set_sequence(i);
    event.mutable_message()->set_text("hello");
  }
  return response;
}

TEST(AttachFrameTest, ReadsABatch) {
  AttachFrame frame;
  grpc::ByteBuffer bytes = Bytes(BatchOf(3).SerializeAsString());
  frame.Parse(bytes);
  ASSERT_FALSE(frame.malformed());
  ASSERT_TRUE(frame.has_batch());
  EXPECT_EQ(frame.buffer()->batch.ShortDebugString(),
            BatchOf(3).batch().ShortDebugString());
}

TEST(AttachFrameTest, ReadsOneMessageAfterTheOther) {
  AttachFrame frame;
  for (const int events : {5, 0, 2, 9}) {
    grpc::ByteBuffer bytes = Bytes(BatchOf(events).SerializeAsString());
    frame.Parse(bytes);
    ASSERT_TRUE(frame.has_batch());
    EXPECT_EQ(frame.buffer()->batch.ShortDebugString(),
              BatchOf(events).batch().ShortDebugString());

    v1::AttachResponse progress;
    progress.mutable_progress()->set_sequence(4);
    bytes = Bytes(progress.SerializeAsString());
    frame.Parse(bytes);
    ASSERT_FALSE(frame.has_batch());
    EXPECT_EQ(frame.other().progress().sequence(), 4u);
  }
}

TEST(AttachFrameTest, ReadsABatchThatWasTakenAway) {
  AttachFrame frame;
  for (int i = 0; i < 2; ++i) {
    grpc::ByteBuffer bytes = Bytes(BatchOf(2).SerializeAsString());
    frame.Parse(bytes);
    ASSERT_TRUE(frame.has_batch());
    EXPECT_EQ(frame.buffer()->batch.events_size(), 2);
    frame.buffer().reset();
  }
}

TEST(AttachFrameTest, ReadsABatchBesideFieldsItDoesNotKnow) {
  AttachFrame frame;
  const std::string unknown = "\xF8\x07\x01";  // field 127: 1
  for (const std::string& message :
       {BatchOf(3).SerializeAsString() + unknown,
        unknown + BatchOf(3).SerializeAsString()}) {
    grpc::ByteBuffer bytes = Bytes(message);
    frame.Parse(bytes);
    ASSERT_FALSE(frame.malformed());
    ASSERT_TRUE(frame.has_batch());
    EXPECT_EQ(frame.buffer()->batch.events_size(), 3);
  }
}

TEST(AttachFrameTest, TheLastOfSeveralMembersHolds) {
  v1::AttachResponse closed;
  closed.mutable_closed()->set_subscription_id(3);
  AttachFrame frame;
  grpc::ByteBuffer bytes =
      Bytes(BatchOf(3).SerializeAsString() + closed.SerializeAsString());
  frame.Parse(bytes);
  EXPECT_FALSE(frame.has_batch());
  EXPECT_EQ(frame.other().closed().subscription_id(), 3u);
}

TEST(AttachFrameTest, TellsWhatIsMalformed) {
  AttachFrame frame;
  const std::string whole = BatchOf(3).SerializeAsString();
  for (size_t length = 1; length < whole.size(); ++length) {
    grpc::ByteBuffer bytes = Bytes(whole.substr(0, length));
    frame.Parse(bytes);
    EXPECT_TRUE(frame.malformed()) << length;
  }
  grpc::ByteBuffer bytes = Bytes(whole);
  frame.Parse(bytes);
  EXPECT_FALSE(frame.malformed());
  EXPECT_TRUE(frame.has_batch());
}

TEST(AttachFrameTest, AnEmptyMessageIsNoBatch) {
  AttachFrame frame;
  grpc::ByteBuffer bytes = Bytes("");
  frame.Parse(bytes);
  EXPECT_FALSE(frame.malformed());
  EXPECT_FALSE(frame.has_batch());
  EXPECT_EQ(frame.other().response_case(),
            v1::AttachResponse::RESPONSE_NOT_SET);
}

// What the server writes for a text delta.
v1::Event TextDelta(const std::string& text) {
  v1::Event event;
  event.set_session_id("9d1f5b2e-52ab-4f0e-9d6a-0d8a6a3c1b11");
  event.set_after_sequence(300);
  event.set_turn_id("5e0c7c44-6f3d-4f2a-8a53-3f6f3a5d9c02");
  event.mutable_text_delta()->set_text(text);
  return event;
}

v1::AttachResponse BatchOf(const std::vector<v1::Event>& events) {
  v1::AttachResponse response;
  response.mutable_batch()->set_subscription_id(7);
  for (const v1::Event& event : events) {
    *response.mutable_batch()->add_events() = event;
  }
  return response;
}

google::protobuf::UnknownFieldSet* UnknownFieldsOf(
    google::protobuf::Message& message) {
  return message.GetReflection()->MutableUnknownFields(&message);
}

TEST(AttachFrameTest, LeavesNothingOfAnEventToTheNextInItsPlace) {
  v1::Event message = TextDelta("");
  message.set_sequence(5);
  message.set_epoch(2);
  message.set_incarnation(3);
  message.mutable_time()->set_seconds(4);
  message.set_agent_session_id("conversation");
  message.set_synthetic(true);
  message.set_truncated_bytes(6);
  message.mutable_message()->set_text("hello");
  v1::Event with_raw = TextDelta("raw");
  with_raw.set_raw("{}");
  v1::Event stamped = message;
  stamped.mutable_text_delta()->set_text("stamped");
  v1::Event strange = TextDelta("strange");
  UnknownFieldsOf(strange)->AddVarint(1000, 1);
  v1::Event strange_text = TextDelta("strange text");
  UnknownFieldsOf(*strange_text.mutable_text_delta())->AddVarint(9, 1);
  v1::Event thought = TextDelta("");
  thought.mutable_thought_delta()->set_text("thought");
  v1::Event first = TextDelta("first");
  first.set_after_sequence(0);
  const std::vector<v1::Event> kinds = {TextDelta("a"),
                                        TextDelta(""),
                                        message,
                                        with_raw,
                                        stamped,
                                        strange,
                                        strange_text,
                                        thought,
                                        first,
                                        TextDelta("gr\u00fc\u00df"),
                                        TextDelta(std::string(300, 'x')),
                                        v1::Event()};
  AttachFrame frame;
  for (const v1::Event& before : kinds) {
    for (const v1::Event& after : kinds) {
      for (const v1::AttachResponse& response :
           {BatchOf({before, before, before}), BatchOf({after, after})}) {
        grpc::ByteBuffer bytes = Bytes(response.SerializeAsString());
        frame.Parse(bytes);
        ASSERT_FALSE(frame.malformed());
        ASSERT_TRUE(frame.has_batch());
        EXPECT_EQ(frame.buffer()->batch.SerializeAsString(),
                  response.batch().SerializeAsString());
      }
    }
  }
}

// A new field is to be looked at wherever an event's memory is used again.
TEST(AttachFrameTest, KnowsEveryFieldThatATextDeltaDoesNotHave) {
  const google::protobuf::Descriptor& event = *v1::Event::descriptor();
  int fields_beside_payload = 0;
  for (int i = 0; i < event.field_count(); ++i) {
    if (event.field(i)->containing_oneof() == nullptr) ++fields_beside_payload;
  }
  EXPECT_EQ(fields_beside_payload, 11);
  EXPECT_EQ(event.oneof_decl_count(), 1);
  EXPECT_EQ(v1::TextDelta::descriptor()->field_count(), 1);
  EXPECT_EQ(v1::Batch::descriptor()->field_count(), 2);
}

TEST(AttachFrameTest, RefusesATextDeltaThatIsNoUtf8) {
  std::string bytes =
      BatchOf(std::vector<v1::Event>{TextDelta("bad")}).SerializeAsString();
  bytes[bytes.find("bad")] = '\xff';
  grpc::ByteBuffer buffer = Bytes(bytes);
  AttachFrame frame;
  frame.Parse(buffer);
  EXPECT_TRUE(frame.malformed());
}

TEST(AttachFrameTest, RefusesATextDeltaThatIsCutOff) {
  const std::string bytes =
      BatchOf(std::vector<v1::Event>{TextDelta("text")}).SerializeAsString();
  for (size_t size = 3; size < bytes.size(); ++size) {
    grpc::ByteBuffer buffer = Bytes(bytes.substr(0, size));
    AttachFrame frame;
    frame.Parse(buffer);
    EXPECT_TRUE(frame.malformed()) << size;
  }
}

}  // namespace
}  // namespace understudy::client
