// Committer: groups the appends of many sessions into one commit of the store.
//
// It never waits to fill a group: it takes what is pending when the commit
// before is done. A store that fails is tried again, with the same appends in
// the same order, until it works or refuses them one by one (fenced): what an
// agent has said is not given up. What nobody depends on yet may be given up,
// unless it may have been written: then it is tried again until that is known.
//
// Threads: the loop. Store::Write runs on `committing`, one call at a time.

#ifndef UNDERSTUDY_SESSION_COMMITTER_H_
#define UNDERSTUDY_SESSION_COMMITTER_H_

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "session/agent/agent.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/store/store.h"

namespace understudy::session {

// Whether the store itself is in trouble, as opposed to refusing an append.
bool StoreFailed(const absl::Status& status);

class Committer {
 public:
  // What becomes of an append that the store has failed to write.
  enum class OnFailure {
    kTryAgain,
    // It is answered with the failure, once it is certain that nothing of it
    // is written. Nothing of the same session may come behind it until then.
    kGiveUp,
  };

  // All outlive the committer.
  Committer(EventLoop& loop, Blocking& committing, Store& store);
  // Nothing is called back any more; a commit in progress goes on.
  ~Committer();

  // `done` is called on the loop, in the order of the calls: OK (durable) or
  // why the store refused this append (SESSION_FENCED, SESSION_EXISTS, ...).
  void Write(Append append, Done done) {
    Write(std::move(append), OnFailure::kTryAgain, std::move(done));
  }
  void Write(Append append, OnFailure on_failure, Done done);

  // What the store last said: an error while it is being tried again.
  const absl::Status& health() const { return health_; }
  bool idle() const { return pending_.empty() && !writing_; }

 private:
  struct Pending {
    Append append;
    OnFailure on_failure;
    Done done;
    // An earlier attempt may have been applied: a refusal has to be looked
    // into.
    bool uncertain = false;
  };
  using Group = std::vector<Pending>;

  void Next();
  void TellHealth() const;
  void Finished(std::shared_ptr<Group> group,
                std::vector<absl::Status> statuses);

  EventLoop& loop_;
  Blocking& committing_;
  Store& store_;
  std::deque<Pending> pending_;
  bool writing_ = false;
  absl::Status health_;
  absl::Duration backoff_;
  std::unique_ptr<EventLoop::Handle> retry_;
  // Empty once the committer is gone: late completions find nobody.
  std::shared_ptr<Committer*> self_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_COMMITTER_H_
