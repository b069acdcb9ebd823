// What a cursor of an event log gave out, read as a client reads it.

#ifndef UNDERSTUDY_TESTS_SUPPORT_DECODE_BATCH_H_
#define UNDERSTUDY_TESTS_SUPPORT_DECODE_BATCH_H_

#include <vector>

#include "session/event_log.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

// Fails the test if the bytes are not the `events` of a Batch, or are not what
// the batch says about itself.
std::vector<v1::Event> DecodeBatch(const EventLog::Batch& batch);

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_DECODE_BATCH_H_
