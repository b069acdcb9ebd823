#include "service/wire.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "session/event_codec.h"
#include "tests/support/status_matchers.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {
namespace {

using session::EventLog;
using session::IsOk;

// Events with these sizes of text, one slice for each entry of `slices`.
EventLog::Batch MakeBatch(const std::vector<std::vector<size_t>>& slices) {
  EventLog::Batch batch;
  uint64_t sequence = 0;
  for (const std::vector<size_t>& sizes : slices) {
    auto frames = std::make_shared<std::string>();
    for (const size_t size : sizes) {
      v1::Event event;
      event.set_sequence(++sequence);
      event.mutable_message()->set_text(std::string(size, 'x'));
      session::AppendFrame(*frames, event.SerializeAsString());
      ++batch.events;
    }
    batch.bytes += frames->size();
    batch.slices.push_back({frames, *frames});
  }
  return batch;
}

v1::AttachResponse Decode(const grpc::ByteBuffer& bytes) {
  v1::AttachResponse response;
  EXPECT_THAT(ParseMessage(bytes, &response), IsOk());
  return response;
}

TEST(WireTest, FramesEventsAsTheBatchThatTheSchemaSays) {
  for (const size_t size : {0, 10, 5000, 100000}) {
    for (const uint64_t id :
         {uint64_t{1}, uint64_t{127}, uint64_t{128}, ~uint64_t{0}}) {
      const EventLog::Batch batch = MakeBatch({{size, 1}, {2, size}});
      const v1::AttachResponse response = Decode(BatchMessage(id, batch));
      ASSERT_TRUE(response.has_batch());
      EXPECT_EQ(response.batch().subscription_id(), id);
      ASSERT_EQ(response.batch().events_size(), 4);
      for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(response.batch().events(i).sequence(), i + 1u);
      }
      EXPECT_EQ(response.batch().events(3).message().text().size(), size);
      // Nothing is there that the schema's own encoding would not have.
      EXPECT_EQ(response.ByteSizeLong(), BatchMessage(id, batch).Length());
    }
  }
}

TEST(WireTest, SharesTheBytesOfLargeBatchesUntilTheyAreSent) {
  EventLog::Batch batch = MakeBatch({{100000}});
  std::weak_ptr<const void> watched = batch.slices[0].hold;
  {
    const grpc::ByteBuffer message = BatchMessage(1, batch);
    batch = {};
    EXPECT_FALSE(watched.expired());
    EXPECT_EQ(Decode(message).batch().events_size(), 1);
  }
  EXPECT_TRUE(watched.expired());
}

TEST(WireTest, GivesEachEventOfABatchAsAMessage) {
  EventMessages messages(MakeBatch({{1, 5000, 0}, {3}}));
  for (uint64_t sequence = 1; sequence <= 4; ++sequence) {
    ASSERT_FALSE(messages.empty());
    v1::Event event;
    EXPECT_THAT(ParseMessage(messages.Next(), &event), IsOk());
    EXPECT_EQ(event.sequence(), sequence);
  }
  EXPECT_TRUE(messages.empty());
  EXPECT_TRUE(EventMessages().empty());
}

TEST(WireTest, CutsBatchesBetweenEvents) {
  for (const size_t bound : {1, 100, 700, 1500, 5000, 100000}) {
    EventLog::Batch rest = MakeBatch({{500, 500, 10}, {2000}, {10, 10, 500}});
    std::vector<uint64_t> sequences;
    while (rest.bytes > 0) {
      const EventLog::Batch front = TakeFront(rest, bound);
      EXPECT_TRUE(front.bytes <= bound || front.events == 1) << bound;
      size_t bytes = 0;
      for (const EventLog::Slice& slice : front.slices) {
        bytes += slice.bytes.size();
      }
      EXPECT_EQ(front.bytes, bytes);
      const v1::Batch batch = Decode(BatchMessage(1, front)).batch();
      EXPECT_EQ(batch.events_size(), static_cast<int>(front.events));
      for (const v1::Event& event : batch.events()) {
        sequences.push_back(event.sequence());
      }
    }
    EXPECT_EQ(rest.events, 0u);
    EXPECT_TRUE(rest.slices.empty());
    EXPECT_THAT(sequences, ::testing::ElementsAre(1, 2, 3, 4, 5, 6, 7));
  }
}

}  // namespace
}  // namespace understudy::service
