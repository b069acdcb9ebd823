#include "session/drain.h"

#include <utility>

#include "proto/error.h"

namespace understudy::session {
namespace {

// How often it looks whether a step is done, and how long each step after the
// first may take.
constexpr absl::Duration kTick = absl::Milliseconds(10);
constexpr absl::Duration kStep = absl::Seconds(8);

}  // namespace

Drain::Drain(SessionTable& table, absl::Duration turn_grace, Task done)
    : table_(table),
      loop_(table.ground().loop),
      why_(MakeError(Reason::kDraining, "the server is stopping", {},
                     absl::Seconds(1))),
      deadline_(loop_.Now() + turn_grace),
      done_(std::move(done)) {
  table_.Refuse(why_);
  Tick();
}

void Drain::Tick() {
  // The timer that calls is not destroyed before it returns.
  const std::unique_ptr<EventLoop::Handle> fired = std::move(timer_);
  bool working = false;
  bool settled = true;
  for (const auto& [unused, session] : table_.sessions()) {
    working |= session->state() == SessionState::kRunning ||
               session->state() == SessionState::kTransitioning;
    settled &= session->settled();
  }
  const bool late = loop_.Now() >= deadline_;
  if (step_ == Step::kTurns && working && late) {
    for (const auto& [unused, session] : table_.sessions()) {
      session->InterruptRunning();
    }
    step_ = Step::kInterrupted;
    deadline_ = loop_.Now() + kStep;
  } else if (step_ != Step::kStopping && (!working || late)) {
    for (const auto& [unused, session] : table_.sessions()) {
      session->StopAgent(why_);
    }
    step_ = Step::kStopping;
    deadline_ = loop_.Now() + kStep;
  } else if (step_ == Step::kStopping && (settled || late)) {
    for (const auto& [unused, session] : table_.sessions()) {
      session->log()->Close(why_);
    }
    std::exchange(done_, nullptr)();
    return;
  }
  timer_ = loop_.RunAfter(kTick, [this] { Tick(); });
}

}  // namespace understudy::session
