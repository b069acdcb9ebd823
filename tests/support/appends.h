// Appends and records to try a store with.

#ifndef UNDERSTUDY_TESTS_SUPPORT_APPENDS_H_
#define UNDERSTUDY_TESTS_SUPPORT_APPENDS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "session/store/store.h"

namespace understudy::session {

using Texts = std::vector<std::string>;

// A record with what every session has.
SessionRecord RecordOf(std::string_view session_id);

// In epoch 1, from sequence 0. Each text is an event, with "raw <text>" as the
// agent's own line.
Append CreationOf(const SessionRecord& record, const Texts& events = {});
Append ChangeOf(std::string_view session_id, uint64_t epoch,
                uint64_t base_sequence, const Texts& events = {});
Append DeletionOf(std::string_view session_id, uint64_t epoch,
                  uint64_t base_sequence);

// A request whose answer is a turn with the request's own id.
StoredRequest RequestOf(std::string_view scope, std::string_view request_id,
                        absl::Time time = absl::FromUnixSeconds(1000));

// The answer to this append alone.
absl::Status WriteOne(Store& store, Append append);

// The texts of all events after `after`; in their place, what is wrong, if an
// event cannot be read, is not next in order or lost its raw line.
Texts TextsAfter(Store& store, std::string_view session_id, uint64_t after);

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_APPENDS_H_
