#include "session/retention.h"

#include <algorithm>
#include <utility>

#include "google/protobuf/util/time_util.h"
#include "session/base/status_macros.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {
namespace {

constexpr int kPageSize = 100;

// Whether the first event from `sequence` on is young enough; what cannot be
// told is.
absl::StatusOr<bool> IsYoung(Store& store, const std::string& session_id,
                             uint64_t sequence, absl::Time not_before) {
  UNDERSTUDY_ASSIGN_OR_RETURN(const std::vector<StoredEvent> events,
                              store.ReadEvents(session_id, sequence - 1, 1, 1));
  v1::Event event;
  if (events.empty() || !event.ParseFromString(events.front().bytes)) {
    return true;
  }
  return absl::FromUnixNanos(
             google::protobuf::util::TimeUtil::TimestampToNanoseconds(
                 event.time())) >= not_before;
}

// The first event from `oldest` on that is young enough, by bisection; newest +
// 1 if there is none.
absl::StatusOr<uint64_t> OldestByAge(Store& store,
                                     const std::string& session_id,
                                     uint64_t oldest, uint64_t newest,
                                     absl::Time not_before) {
  // Most have nothing to do: one look.
  uint64_t look = oldest;
  uint64_t end = newest + 1;  // from here on they are young
  while (oldest < end) {
    UNDERSTUDY_ASSIGN_OR_RETURN(const bool young,
                                IsYoung(store, session_id, look, not_before));
    if (young) {
      end = look;
    } else {
      oldest = look + 1;
    }
    look = oldest + (end - oldest) / 2;
  }
  return end;
}

}  // namespace

uint64_t OldestByNumber(uint64_t oldest, uint64_t newest, uint64_t max_events) {
  if (max_events == 0 || newest + 1 - oldest <= max_events) return oldest;
  return newest + 1 - (max_events - max_events / 10);
}

absl::StatusOr<OverduePage> FindOverdue(Store& store,
                                        const Retention& retention,
                                        std::string_view page_token) {
  UNDERSTUDY_ASSIGN_OR_RETURN(Store::Page page,
                              store.List(page_token, kPageSize));
  OverduePage overdue;
  overdue.next_page_token = std::move(page.next_page_token);
  for (const StoredSession& session : page.sessions) {
    const std::string& id = session.record.session_id();
    const uint64_t newest = session.newest_sequence;
    uint64_t oldest =
        OldestByNumber(session.oldest_sequence, newest, retention.max_events);
    if (retention.not_before != absl::InfinitePast()) {
      const absl::StatusOr<uint64_t> by_age =
          OldestByAge(store, id, oldest, newest, retention.not_before);
      // It may have been deleted meanwhile; what is wrong with the store, the
      // next page tells.
      if (!by_age.ok()) continue;
      oldest = *by_age;
    }
    if (oldest == session.oldest_sequence) continue;
    overdue.sessions.push_back({.session_id = id,
                                .epoch = session.epoch,
                                .newest_sequence = newest,
                                .keep_from = oldest});
  }
  return overdue;
}

}  // namespace understudy::session
