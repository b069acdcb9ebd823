// FaultyStore: a store in front of another, which fails when a test says so.
//
// Threads: any.

#ifndef UNDERSTUDY_TESTS_FAKES_FAULTY_STORE_H_
#define UNDERSTUDY_TESTS_FAKES_FAULTY_STORE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "session/store/store.h"

namespace understudy::session {

class FaultyStore final : public Store {
 public:
  // `store` outlives it.
  explicit FaultyStore(Store& store) : store_(store) {}

  // The next `count` Writes write nothing and answer `why` to every append.
  void FailWrites(int count, absl::Status why);
  // After those, the next `count` Writes write and yet answer
  // STORE_UNAVAILABLE with outcome=unknown: the answer was lost.
  void LoseAnswers(int count);
  // The next `count` calls of any other method do nothing and answer `why`.
  void FailOthers(int count, absl::Status why);

  // From now on Writes wait, before they do anything, until ReleaseWrites.
  void BlockWrites();
  void ReleaseWrites();
  // Waits until a Write waits.
  void AwaitBlockedWrite();

  // Calls of Write so far, with those that failed.
  int writes() const;
  // How many appends each of them had.
  std::vector<size_t> write_sizes() const;

  std::vector<absl::Status> Write(absl::Span<const Append> appends) override;
  absl::StatusOr<StoredSession> Acquire(std::string_view session_id) override;
  absl::StatusOr<StoredSession> Get(std::string_view session_id) override;
  absl::StatusOr<Page> List(std::string_view page_token,
                            int page_size) override;
  absl::StatusOr<std::vector<std::string>> Unfinished() override;
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes) override;
  absl::StatusOr<std::vector<std::string>> RequestIds(
      std::string_view scope) override;
  absl::StatusOr<std::optional<StoredRequest>> FindRequest(
      std::string_view scope, std::string_view request_id) override;
  absl::Status ForgetRequests(absl::Time before) override;
  absl::StatusOr<std::optional<std::string>> FindByConversation(
      std::string_view tenant, std::string_view agent_session_id,
      std::string_view except) override;
  std::string_view kind() const override { return store_.kind(); }

 private:
  // What the call in hand is to answer, if it is to fail.
  absl::Status NextOther();

  Store& store_;
  mutable absl::Mutex mu_;
  int failing_writes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status write_error_ ABSL_GUARDED_BY(mu_);
  int lost_answers_ ABSL_GUARDED_BY(mu_) = 0;
  int failing_others_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status other_error_ ABSL_GUARDED_BY(mu_);
  bool blocked_ ABSL_GUARDED_BY(mu_) = false;
  int waiting_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<size_t> write_sizes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAULTY_STORE_H_
