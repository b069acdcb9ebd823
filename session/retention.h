// Retention: which events of a session are kept, and which are too many or too
// old.
//
// Both go in steps: fewer and larger ones are cheaper for a store. By number, a
// session goes below its bound by a tenth of it; by age, somebody looks now and
// then.
//
// Functions that take a store block; any thread.

#ifndef UNDERSTUDY_SESSION_RETENTION_H_
#define UNDERSTUDY_SESSION_RETENTION_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/store/store.h"

namespace understudy::session {

struct Retention {
  absl::Time not_before = absl::InfinitePast();  // older events go
  uint64_t max_events = 0;                       // 0: no bound
};

// What is the oldest event that a session keeps for its number of events.
uint64_t OldestByNumber(uint64_t oldest, uint64_t newest, uint64_t max_events);

// A session, as it is stored, with events that are to go.
struct Overdue {
  std::string session_id;
  uint64_t epoch = 0;
  uint64_t newest_sequence = 0;
  uint64_t keep_from = 0;  // newest + 1: none is kept
};
struct OverduePage {
  std::vector<Overdue> sessions;
  std::string next_page_token;  // as of Store::List
};

// Looks through one page of the sessions of the store.
absl::StatusOr<OverduePage> FindOverdue(Store& store,
                                        const Retention& retention,
                                        std::string_view page_token);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_RETENTION_H_
