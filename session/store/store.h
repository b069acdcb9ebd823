// Store: what survives. Sessions, their durable events, and the request ids
// that have been seen.
//
// The unit of change is an Append: everything that happens to one session at
// one moment, written together or not at all, and refused if the session has
// another epoch or another newest sequence than the writer believes. That
// refusal is the fence: whoever lost a session cannot write to it.
//
// Threads: everything may be called from any thread, and everything may block.
// Write, Acquire and ForgetRequests happen one after the other; reads run
// beside them, and each sees what was durable at one moment.

#ifndef UNDERSTUDY_SESSION_STORE_STORE_H_
#define UNDERSTUDY_SESSION_STORE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "session/store/record.pb.h"

namespace understudy::session {

using store::RequestResult;
using store::SessionRecord;

struct StoredEvent {
  uint64_t sequence = 0;
  // A serialized understudy.v1.Event, complete but for `raw`.
  std::string bytes;
  // What the agent's own line adds to them: the field `raw`, and
  // truncated_bytes if it is cut. May be empty.
  std::string raw;
};

// A request id and what came of it. The scope is the session of the append that
// writes it, or "" for requests that create or delete one.
struct StoredRequest {
  std::string scope;
  std::string request_id;
  // Of the request's content: the same id with another one is refused.
  std::string fingerprint;
  std::string session_id;
  RequestResult result;
  absl::Time time;
};

struct Append {
  enum class Kind { kCreate, kChange, kDelete };
  Kind kind = Kind::kChange;
  std::string session_id;
  uint64_t epoch = 0;
  // The newest sequence before this append. `events` follow it densely.
  uint64_t base_sequence = 0;
  // Of events: views into memory that stays valid and unchanged until Write
  // has returned (`hold` keeps it so).
  struct EventView {
    std::string_view bytes;
    std::string_view raw;
  };
  std::vector<EventView> events;
  std::shared_ptr<const void> hold;
  // Replaces the record; kCreate must have one. What List and
  // FindByConversation go by never changes: session_id, tenant, agent,
  // create_time.
  std::shared_ptr<const SessionRecord> record;
  // Inserted or, with the same scope and id, replaced.
  std::vector<StoredRequest> requests;
  // Events before this sequence are no longer retained; 0: nothing changes. At
  // most all events go. Fewer and larger steps are cheaper.
  uint64_t oldest_sequence = 0;
};

struct StoredSession {
  SessionRecord record;
  uint64_t epoch = 0;
  uint64_t oldest_sequence = 1;  // newest + 1 when none is retained
  uint64_t newest_sequence = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // One commit for all, in their order; the answer has one status for each
  // append:
  //   OK               it is durable
  //   SESSION_FENCED   another epoch or sequence: nothing of it was written
  //   SESSION_EXISTS   kCreate of an id that is there
  //   SESSION_NOT_FOUND
  // Or, when the store itself failed, the same error for all:
  // STORE_UNAVAILABLE, STORE_FULL, STORE_CORRUPT. Then nothing of any is
  // written, unless the error is STORE_UNAVAILABLE with metadata
  // outcome=unknown: then all is written or nothing is, and what is read
  // afterwards tells which; a read that cannot tell fails.
  // An append of kDelete removes the session with its record, its events and
  // the requests in its scope; requests in the scope "" stay, its own too. Its
  // `events` and `record` are ignored.
  virtual std::vector<absl::Status> Write(absl::Span<const Append> appends) = 0;

  // Takes the session over: epoch + 1. SESSION_NOT_FOUND.
  virtual absl::StatusOr<StoredSession> Acquire(
      std::string_view session_id) = 0;

  virtual absl::StatusOr<StoredSession> Get(std::string_view session_id) = 0;

  // In order of (create_time, session_id), after the position in `page_token`
  // ("": from the start; made by the store, opaque; FIELD_INVALID if it is
  // not one of its own).
  struct Page {
    std::vector<StoredSession> sessions;
    std::string next_page_token;  // "": this was the last
  };
  virtual absl::StatusOr<Page> List(std::string_view page_token,
                                    int page_size) = 0;

  // Ids of sessions whose record has open turns or a running process: what a
  // server that starts has to put in order.
  virtual absl::StatusOr<std::vector<std::string>> Unfinished() = 0;

  // Retained events after `after`, in order: at most `max_events`, and no more
  // than fit in `max_bytes` (but at least one, if there is one). Empty when
  // there is nothing after it; SESSION_NOT_FOUND.
  virtual absl::StatusOr<std::vector<StoredEvent>> ReadEvents(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes) = 0;

  // Request ids of a scope, without results.
  virtual absl::StatusOr<std::vector<std::string>> RequestIds(
      std::string_view scope) = 0;
  virtual absl::StatusOr<std::optional<StoredRequest>> FindRequest(
      std::string_view scope, std::string_view request_id) = 0;
  // Drops requests older than `before`, in every scope, and finishes what
  // deletions have left to do. Takes its time, without holding up writes.
  virtual absl::Status ForgetRequests(absl::Time before) = 0;

  // The session other than `except` of the same tenant whose current
  // conversation this is, if any. The agent does not matter: two profiles may
  // share the files of one program.
  virtual absl::StatusOr<std::optional<std::string>> FindByConversation(
      std::string_view tenant, std::string_view agent_session_id,
      std::string_view except) = 0;

  virtual std::string_view kind() const = 0;  // "sqlite", "memory", ...
};

// sqlite:/path or memory:. The table of schemes is stores.def.
// FIELD_INVALID for an unknown scheme; STORE_UNAVAILABLE, STORE_FULL; or
// STORE_CORRUPT, and then nothing of what is there has been changed.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(std::string_view url);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_STORE_STORE_H_
