#include "session/transition.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"

namespace understudy::session {
namespace {

// The agent has said that what was asked for does not exist: another process
// would find the same.
bool Final(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return reason == Reason::kModelRejected ||
         reason == Reason::kConversationNotFound;
}

// The agent has said that it changed nothing.
bool Definite(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return Final(status) || reason == Reason::kCapabilityMissing ||
         reason == Reason::kConversationInUse;
}

}  // namespace

Transition::Transition(EventLoop& loop, Host& host, SlotPool& pool,
                       const AgentKind& kind, const Profile& profile,
                       Request request, Finished finished)
    : loop_(loop),
      host_(host),
      pool_(pool),
      kind_(kind),
      profile_(profile),
      request_(std::move(request)),
      finished_(std::move(finished)),
      last_error_(MakeError(Reason::kCapabilityMissing,
                            absl::StrCat("an agent of profile ", profile.name,
                                         " can do this neither in its process "
                                         "nor in another one"))),
      self_(std::make_shared<Transition*>(this)) {
  step_ = loop_.RunAfter(absl::ZeroDuration(), [this] { Next(); });
}

Transition::~Transition() { *self_ = nullptr; }

void Transition::Next() {
  if (route_ == request_.plan.routes.size()) {
    Finish({.status = last_error_, .slot = nullptr, .suspect = suspect_});
    return;
  }
  switch (request_.plan.routes[route_++]) {
    case Route::kNative:
      Native();
      return;
    case Route::kRestart:
      Restart();
      return;
  }
}

void Transition::Native() {
  if (host_.slot() == nullptr) {
    Next();
    return;
  }
  host_.slot()->agent().Apply({.model = request_.wanted.model,
                               .conversation = request_.wanted.conversation},
                              [self = self_](absl::Status status) {
                                if (*self != nullptr)
                                  (*self)->NativeDone(std::move(status));
                              });
}

void Transition::NativeDone(absl::Status status) {
  if (status.ok()) {
    Finish({.status = absl::OkStatus(), .slot = nullptr, .suspect = false});
    return;
  }
  last_error_ = std::move(status);
  if (Final(last_error_)) {
    Finish({.status = last_error_, .slot = nullptr, .suspect = false});
    return;
  }
  if (!Definite(last_error_)) suspect_ = true;
  Next();
}

void Transition::Restart() {
  if (host_.slot() != nullptr && request_.plan.break_before_make) {
    host_.EndAgent([self = self_] {
      if (*self != nullptr) (*self)->Restart();
    });
    return;
  }
  starting_ = pool_.Start(kind_, profile_, request_.opening, host_.slot(),
                          [this](absl::StatusOr<std::unique_ptr<Slot>> slot) {
                            if (slot.ok()) {
                              Finish({.status = absl::OkStatus(),
                                      .slot = *std::move(slot),
                                      .suspect = false});
                              return;
                            }
                            last_error_ = slot.status();
                            Next();
                          });
}

void Transition::Finish(Outcome outcome) {
  // May destroy this.
  Finished finished = std::move(finished_);
  std::move(finished)(std::move(outcome));
}

}  // namespace understudy::session
