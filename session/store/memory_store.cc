// A store that lives and dies with its server: for tests, and for servers that
// need not remember.
//
// Threads: one mutex guards everything.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/error.h"
#include "session/base/status_macros.h"
#include "session/store/page_token.h"
#include "session/store/store.h"
#include "session/store/store_rules.h"

namespace understudy::session {
namespace {

class MemoryStore final : public Store {
 public:
  std::vector<absl::Status> Write(absl::Span<const Append> appends) override {
    std::vector<absl::Status> answers;
    answers.reserve(appends.size());
    absl::MutexLock lock(&mu_);
    for (const Append& append : appends) answers.push_back(Apply(append));
    return answers;
  }

  absl::StatusOr<StoredSession> Acquire(std::string_view session_id) override {
    absl::MutexLock lock(&mu_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end()) return SessionNotFound(session_id);
    ++found->second.stored.epoch;
    return found->second.stored;
  }

  absl::StatusOr<StoredSession> Get(std::string_view session_id) override {
    absl::MutexLock lock(&mu_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end()) return SessionNotFound(session_id);
    return found->second.stored;
  }

  absl::StatusOr<Page> List(std::string_view page_token,
                            int page_size) override {
    UNDERSTUDY_ASSIGN_OR_RETURN(const ListPosition start,
                                ParsePageToken(page_token));
    Page page;
    absl::MutexLock lock(&mu_);
    for (auto it = order_.upper_bound(start); it != order_.end(); ++it) {
      if (static_cast<int>(page.sessions.size()) >= std::max(page_size, 1)) {
        page.next_page_token =
            MakePageToken(PositionOf(page.sessions.back().record));
        break;
      }
      page.sessions.push_back(sessions_.find(it->session_id)->second.stored);
    }
    return page;
  }

  absl::StatusOr<std::vector<std::string>> Unfinished() override {
    std::vector<std::string> ids;
    absl::MutexLock lock(&mu_);
    for (const auto& [id, session] : sessions_) {
      if (IsUnfinished(session.stored.record)) ids.push_back(id);
    }
    return ids;
  }

  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes) override {
    absl::MutexLock lock(&mu_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end()) return SessionNotFound(session_id);
    const std::deque<StoredEvent>& all = found->second.events;
    auto it = std::upper_bound(all.begin(), all.end(), after,
                               [](uint64_t sequence, const StoredEvent& event) {
                                 return sequence < event.sequence;
                               });
    std::vector<StoredEvent> events;
    size_t bytes = 0;
    for (; it != all.end() && events.size() < max_events; ++it) {
      bytes += it->bytes.size() + it->raw.size();
      if (!events.empty() && bytes > max_bytes) break;
      events.push_back(*it);
    }
    return events;
  }

  absl::StatusOr<std::vector<std::string>> RequestIds(
      std::string_view scope) override {
    std::vector<std::string> ids;
    absl::MutexLock lock(&mu_);
    const auto found = requests_.find(scope);
    if (found == requests_.end()) return ids;
    for (const auto& [id, request] : found->second) ids.push_back(id);
    return ids;
  }

  absl::StatusOr<std::optional<StoredRequest>> FindRequest(
      std::string_view scope, std::string_view request_id) override {
    absl::MutexLock lock(&mu_);
    const auto requests = requests_.find(scope);
    if (requests == requests_.end()) return std::nullopt;
    const auto found = requests->second.find(request_id);
    if (found == requests->second.end()) return std::nullopt;
    return found->second;
  }

  absl::Status ForgetRequests(absl::Time before) override {
    absl::MutexLock lock(&mu_);
    for (auto& [scope, requests] : requests_) {
      for (auto it = requests.begin(); it != requests.end();) {
        it = it->second.time < before ? requests.erase(it) : std::next(it);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<std::string>> FindByConversation(
      std::string_view tenant, std::string_view agent_session_id,
      std::string_view except) override {
    if (agent_session_id.empty()) return std::nullopt;
    absl::MutexLock lock(&mu_);
    for (const auto& [id, session] : sessions_) {
      const SessionRecord& record = session.stored.record;
      if (id != except && record.agent_session_id() == agent_session_id &&
          record.tenant() == tenant) {
        return id;
      }
    }
    return std::nullopt;
  }

  std::string_view kind() const override { return "memory"; }

 private:
  struct Session {
    StoredSession stored;
    std::deque<StoredEvent> events;
  };
  template <typename Value>
  using ById = std::map<std::string, Value, std::less<>>;

  absl::Status Apply(const Append& append) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CheckAppend(append);
    auto found = sessions_.find(append.session_id);
    if (append.kind == Append::Kind::kCreate) {
      if (found != sessions_.end()) return SessionExists(append.session_id);
      Session session;
      session.stored.epoch = append.epoch;
      session.stored.oldest_sequence = append.base_sequence + 1;
      session.stored.newest_sequence = append.base_sequence;
      found = sessions_.emplace(append.session_id, std::move(session)).first;
      order_.insert(PositionOf(*append.record));
    } else if (found == sessions_.end()) {
      return SessionNotFound(append.session_id);
    }
    StoredSession& stored = found->second.stored;
    UNDERSTUDY_RETURN_IF_ERROR(
        CheckFence(append, stored.epoch, stored.newest_sequence));
    for (const StoredRequest& request : append.requests) {
      requests_[request.scope].insert_or_assign(request.request_id, request);
    }
    if (append.kind == Append::Kind::kDelete) {
      order_.erase(PositionOf(stored.record));
      requests_.erase(append.session_id);
      sessions_.erase(found);
      return absl::OkStatus();
    }
    if (append.record != nullptr) stored.record = *append.record;
    std::deque<StoredEvent>& events = found->second.events;
    for (const Append::EventView& event : append.events) {
      events.push_back({++stored.newest_sequence, std::string(event.bytes),
                        std::string(event.raw)});
    }
    stored.oldest_sequence =
        OldestAfter(append, stored.oldest_sequence, stored.newest_sequence);
    while (!events.empty() &&
           events.front().sequence < stored.oldest_sequence) {
      events.pop_front();
    }
    return absl::OkStatus();
  }

  absl::Mutex mu_;
  ById<Session> sessions_ ABSL_GUARDED_BY(mu_);
  std::set<ListPosition> order_ ABSL_GUARDED_BY(mu_);
  // By scope, then by id.
  ById<ById<StoredRequest>> requests_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Open_memory(std::string_view rest) {
  if (!rest.empty()) {
    return FieldInvalid("store", "nothing may follow \"memory:\"");
  }
  return std::make_unique<MemoryStore>();
}

}  // namespace understudy::session
