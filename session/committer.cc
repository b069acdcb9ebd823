#include "session/committer.h"

#include <algorithm>
#include <utility>

#include "google/protobuf/util/message_differencer.h"
#include "proto/error.h"
#include "session/base/log.h"

namespace understudy::session {
namespace {

using google::protobuf::util::MessageDifferencer;

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
constexpr absl::Duration kLastBackoff = absl::Seconds(2);
// A group's size is bounded so that one commit does not hold up the loop's
// completions; what is left over goes into the next.
constexpr size_t kMaxGroup = 512;

// Whether an append that was refused had been applied by an earlier attempt of
// our own, whose answer was lost. An error if the store cannot tell.
absl::StatusOr<bool> Applied(Store& store, const Append& append) {
  const absl::StatusOr<StoredSession> stored = store.Get(append.session_id);
  if (!stored.ok() && StoreFailed(stored.status())) return stored.status();
  switch (append.kind) {
    case Append::Kind::kCreate:
      return stored.ok() &&
             MessageDifferencer::Equals(stored->record, *append.record);
    case Append::Kind::kDelete:
      return !stored.ok();
    case Append::Kind::kChange:
      // With our epoch nobody else writes, though we may have written more
      // behind it.
      return stored.ok() && stored->epoch == append.epoch &&
             stored->newest_sequence >=
                 append.base_sequence + append.events.size();
  }
  return false;
}

}  // namespace

bool StoreFailed(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  if (!reason.has_value()) return !status.ok();
  switch (*reason) {
    case Reason::kSessionFenced:
    case Reason::kSessionExists:
    case Reason::kSessionNotFound:
      return false;
    default:
      return true;
  }
}

Committer::Committer(EventLoop& loop, Blocking& committing, Store& store)
    : loop_(loop),
      committing_(committing),
      store_(store),
      backoff_(kFirstBackoff),
      self_(std::make_shared<Committer*>(this)) {}

Committer::~Committer() { *self_ = nullptr; }

void Committer::Write(Append append, OnFailure on_failure, Done done) {
  pending_.push_back({std::move(append), on_failure, std::move(done)});
  Next();
}

void Committer::Next() {
  if (writing_ || retry_ != nullptr || pending_.empty()) return;
  writing_ = true;
  auto group = std::make_shared<Group>();
  while (!pending_.empty() && group->size() < kMaxGroup) {
    group->push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
  committing_.Run([&loop = loop_, &store = store_, self = self_, group] {
    // The appends move out of the group for the length of the call only:
    // nobody else looks at it meanwhile.
    std::vector<Append> appends;
    appends.reserve(group->size());
    for (Pending& pending : *group)
      appends.push_back(std::move(pending.append));
    std::vector<absl::Status> statuses = store.Write(appends);
    absl::Status unreadable;
    for (size_t i = 0; i < group->size(); ++i) {
      Pending& pending = (*group)[i];
      pending.append = std::move(appends[i]);
      if (unreadable.ok() && pending.uncertain && !statuses[i].ok() &&
          !StoreFailed(statuses[i])) {
        const absl::StatusOr<bool> applied = Applied(store, pending.append);
        unreadable = applied.status();
        if (applied.ok() && *applied) statuses[i] = absl::OkStatus();
      }
      if (!unreadable.ok()) {
        // It is asked again, and what comes behind it does not overtake it.
        statuses[i] = unreadable;
        pending.uncertain = true;
      }
    }
    loop.Post([self, group, statuses = std::move(statuses)]() mutable {
      if (*self != nullptr) (*self)->Finished(group, std::move(statuses));
    });
  });
}

// Once when it begins to fail, and once when it works again.
void Committer::TellHealth() const {
  if (health_.ok()) {
    Log(LogLevel::kInfo, "the store works again", {});
    return;
  }
  Log(LogLevel::kError,
      "the store does not take writes: tried again until it does",
      {{"reason", ReasonName(ReasonOf(health_).value_or(Reason::kInternal))},
       {"error", std::string(health_.message())}});
}

void Committer::Finished(std::shared_ptr<Group> group,
                         std::vector<absl::Status> statuses) {
  writing_ = false;
  std::deque<Pending> again;
  std::vector<std::pair<Done, absl::Status>> answers;
  const bool failed_before = !health_.ok();
  health_ = absl::OkStatus();
  for (size_t i = 0; i < group->size(); ++i) {
    Pending& pending = (*group)[i];
    if (StoreFailed(statuses[i])) {
      health_ = statuses[i];
      const bool known =
          !pending.uncertain && MetadataOf(statuses[i])["outcome"] != "unknown";
      if (pending.on_failure == OnFailure::kTryAgain || !known) {
        pending.uncertain = true;
        again.push_back(std::move(pending));
        continue;
      }
    }
    answers.emplace_back(std::move(pending.done), std::move(statuses[i]));
  }
  // What has been given up is no reason to refuse what comes next.
  if (again.empty()) health_ = absl::OkStatus();
  if (failed_before == health_.ok()) TellHealth();
  if (again.empty()) {
    backoff_ = kFirstBackoff;
  } else {
    while (!again.empty()) {
      pending_.push_front(std::move(again.back()));
      again.pop_back();
    }
    retry_ = loop_.RunAfter(backoff_, [this] {
      retry_ = nullptr;
      Next();
    });
    backoff_ = std::min(backoff_ * 2, kLastBackoff);
  }
  // The next commit begins before the answers of this one are looked at.
  Next();
  const std::shared_ptr<Committer*> self = self_;
  for (auto& [done, status] : answers) {
    std::move(done)(std::move(status));
    if (*self == nullptr) return;
  }
}

}  // namespace understudy::session
