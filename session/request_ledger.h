// RequestLedger: which requests of one scope have been seen, so that a repeat
// gets the first answer, joins the call in flight, or is refused for carrying
// other content.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_REQUEST_LEDGER_H_
#define UNDERSTUDY_SESSION_REQUEST_LEDGER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/calls.h"
#include "session/store/store.h"

namespace understudy::session {

// A call that changes something, from its arrival to its answer.
struct Call {
  using Answer = absl::AnyInvocable<void(absl::StatusOr<RequestResult>) &&>;

  CallId id = 0;
  Caller caller;
  std::vector<Answer> answers;  // the first caller's, then those who joined
  // When what it did was given to the store; the future before.
  absl::Time written = absl::InfiniteFuture();

  void Finish(const absl::StatusOr<RequestResult>& result);
};

class RequestLedger {
 public:
  // `known`: ids the store has. All outlive the ledger.
  RequestLedger(EventLoop& loop, Blocking& reading, Store& store,
                std::string scope, std::vector<std::string> known);
  ~RequestLedger();

  // A call that is new, to be done and then given to Finish. Null: it is a
  // repeat and has been, or will be, answered.
  std::shared_ptr<Call> Admit(CallId id, Caller caller, Call::Answer answer);

  // The row that makes the result survive; to be written with what it did.
  // Nothing if the call has no request id.
  std::vector<StoredRequest> Row(Call& call, std::string_view session_id,
                                 const RequestResult& result);

  // Ids that the store has.
  void Know(std::vector<std::string> ids);

  // The store no longer has requests from before `time`.
  void Expire(absl::Time time);

  // What Row was made for has not been written after all.
  void Forget(const Call& call) { known_.erase(call.caller.request_id); }

  // Answers all who wait. A call that was not recorded by Row (it failed, with
  // nothing done) may be made again under its id.
  void Finish(const std::shared_ptr<Call>& call,
              const absl::StatusOr<RequestResult>& result);

  // Those who wait since before `time` for the store to take what they asked
  // for are told `why`. It is not taken back: under the same id they hear what
  // has become of it.
  void TellWhoWaits(absl::Time time, const absl::Status& why);

  // Whether nobody waits for an answer.
  bool idle() const { return open_.empty(); }

  // The session is no more: whoever still waits is told `why`.
  void FinishAll(const absl::Status& why);

 private:
  void Replay(Caller caller, Call::Answer answer);

  EventLoop& loop_;
  Blocking& reading_;
  Store& store_;
  const std::string scope_;
  absl::flat_hash_map<std::string, absl::Time> known_;  // and since when
  absl::flat_hash_map<std::string, std::shared_ptr<Call>> in_flight_;
  absl::flat_hash_set<std::shared_ptr<Call>> open_;  // those without an id, too
};

// A failed call as a result to be remembered, and back.
RequestResult FailedResult(const absl::Status& status);
absl::Status FailureOf(const RequestResult& result);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_REQUEST_LEDGER_H_
