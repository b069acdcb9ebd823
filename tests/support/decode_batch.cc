#include "tests/support/decode_batch.h"

#include <string>

#include "gtest/gtest.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::session {

std::vector<v1::Event> DecodeBatch(const EventLog::Batch& batch) {
  v1::Batch header;
  header.set_subscription_id(7);
  std::string bytes = header.SerializeAsString();
  const size_t before = bytes.size();
  for (const EventLog::Slice& slice : batch.slices) bytes += slice.bytes;
  EXPECT_EQ(bytes.size() - before, batch.bytes);
  v1::Batch message;
  EXPECT_TRUE(message.ParseFromString(bytes)) << "not a batch";
  EXPECT_EQ(message.subscription_id(), 7u);
  EXPECT_EQ(static_cast<size_t>(message.events_size()), batch.events);
  return {message.events().begin(), message.events().end()};
}

}  // namespace understudy::session
