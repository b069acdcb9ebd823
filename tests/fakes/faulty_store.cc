#include "tests/fakes/faulty_store.h"

#include <utility>

#include "proto/error.h"
#include "session/base/status_macros.h"

namespace understudy::session {

void FaultyStore::FailWrites(int count, absl::Status why) {
  absl::MutexLock lock(&mu_);
  failing_writes_ = count;
  write_error_ = std::move(why);
}

void FaultyStore::LoseAnswers(int count) {
  absl::MutexLock lock(&mu_);
  lost_answers_ = count;
}

void FaultyStore::FailOthers(int count, absl::Status why) {
  absl::MutexLock lock(&mu_);
  failing_others_ = count;
  other_error_ = std::move(why);
}

void FaultyStore::BlockWrites() {
  absl::MutexLock lock(&mu_);
  blocked_ = true;
}

void FaultyStore::ReleaseWrites() {
  absl::MutexLock lock(&mu_);
  blocked_ = false;
}

void FaultyStore::AwaitBlockedWrite() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(
      +[](int* waiting) { return *waiting > 0; }, &waiting_));
}

int FaultyStore::writes() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(write_sizes_.size());
}

std::vector<size_t> FaultyStore::write_sizes() const {
  absl::MutexLock lock(&mu_);
  return write_sizes_;
}

std::vector<absl::Status> FaultyStore::Write(absl::Span<const Append> appends) {
  bool lost = false;
  {
    absl::MutexLock lock(&mu_);
    write_sizes_.push_back(appends.size());
    ++waiting_;
    mu_.Await(absl::Condition(
        +[](bool* blocked) { return !*blocked; }, &blocked_));
    --waiting_;
    if (failing_writes_ > 0) {
      --failing_writes_;
      return std::vector<absl::Status>(appends.size(), write_error_);
    }
    lost = lost_answers_ > 0;
    if (lost) --lost_answers_;
  }
  std::vector<absl::Status> answers = store_.Write(appends);
  if (!lost) return answers;
  return std::vector<absl::Status>(
      appends.size(),
      MakeError(Reason::kStoreUnavailable, "write: the answer was lost",
                {{"outcome", "unknown"}}));
}

absl::Status FaultyStore::NextOther() {
  absl::MutexLock lock(&mu_);
  if (failing_others_ == 0) return absl::OkStatus();
  --failing_others_;
  return other_error_;
}

absl::StatusOr<StoredSession> FaultyStore::Acquire(
    std::string_view session_id) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.Acquire(session_id);
}

absl::StatusOr<StoredSession> FaultyStore::Get(std::string_view session_id) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.Get(session_id);
}

absl::StatusOr<Store::Page> FaultyStore::List(std::string_view page_token,
                                              int page_size) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.List(page_token, page_size);
}

absl::StatusOr<std::vector<std::string>> FaultyStore::Unfinished() {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.Unfinished();
}

absl::StatusOr<std::vector<StoredEvent>> FaultyStore::ReadEvents(
    std::string_view session_id, uint64_t after, size_t max_events,
    size_t max_bytes) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.ReadEvents(session_id, after, max_events, max_bytes);
}

absl::StatusOr<std::vector<std::string>> FaultyStore::RequestIds(
    std::string_view scope) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.RequestIds(scope);
}

absl::StatusOr<std::optional<StoredRequest>> FaultyStore::FindRequest(
    std::string_view scope, std::string_view request_id) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.FindRequest(scope, request_id);
}

absl::Status FaultyStore::ForgetRequests(absl::Time before) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.ForgetRequests(before);
}

absl::StatusOr<std::optional<std::string>> FaultyStore::FindByConversation(
    std::string_view tenant, std::string_view agent_session_id,
    std::string_view except) {
  UNDERSTUDY_RETURN_IF_ERROR(NextOther());
  return store_.FindByConversation(tenant, agent_session_id, except);
}

}  // namespace understudy::session
