#include "session/slot_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/agent/shared_process.h"

namespace understudy::session {
namespace {

constexpr absl::Duration kRetryAfterNoSlot = absl::Seconds(1);

}  // namespace

// The right to one process.
struct Slot::Right {
  Right(SlotPool& pool, const Profile& profile)
      : pool(pool), profile(profile) {}
  ~Right() { pool.Release(*this); }

  SlotPool& pool;
  const Profile& profile;
  // Of a process that several may share.
  std::shared_ptr<SharedProcess> process;
  std::string tenant;
  std::string working_directory;
};

struct SlotPool::Starting final : SlotPool::Request {
  Starting(SlotPool& pool, const AgentKind& kind, const Profile& profile,
           Opening opening, const Slot* beside, Ready ready)
      : pool(pool),
        kind(kind),
        profile(profile),
        opening(std::move(opening)),
        beside(beside == nullptr ? nullptr : beside->right_),
        ready(std::move(ready)) {}
  ~Starting() override {
    pool.line_.remove(this);
    pool.NoteEnd(*this, ProfileBreaker::Outcome::kUntold);
    if (self != nullptr) *self = nullptr;
    if (slot != nullptr) pool.Discard(std::move(slot));
  }

  SlotPool& pool;
  const AgentKind& kind;
  const Profile& profile;
  Opening opening;
  const std::weak_ptr<Slot::Right> beside;  // whose process it is not to share
  Ready ready;
  std::unique_ptr<EventLoop::Handle> timer;  // the wait, or a late answer
  std::unique_ptr<Slot> slot;                // whose agent is being started
  std::optional<ProfileBreaker::Attempt> attempt;  // while it is
  // Null once the request is gone: a late handshake finds nobody.
  std::shared_ptr<Starting*> self;
};

Slot::~Slot() {
  agent_ = nullptr;
  const bool shared = right_.use_count() > 1;
  right_ = nullptr;
  if (shared) pool_.Left();
}

void Slot::Adopt(Agent::Observer* owner) { agent_->set_observer(owner); }

SlotPool::SlotPool(EventLoop& loop, Launcher& launcher, int max_slots,
                   GiveWay give_way)
    : loop_(loop),
      launcher_(launcher),
      max_slots_(max_slots),
      give_way_(std::move(give_way)) {}

SlotPool::~SlotPool() = default;

bool SlotPool::ProfileFull(const Profile& profile) const {
  const auto it = live_of_profile_.find(profile.name);
  return profile.max_slots > 0 && it != live_of_profile_.end() &&
         it->second >= profile.max_slots;
}

bool SlotPool::Full(const Profile& profile) const {
  return live_ >= max_slots_ || ProfileFull(profile);
}

absl::Status SlotPool::Circuit(const Profile& profile) const {
  const auto it = breakers_.find(profile.name);
  if (it == breakers_.end()) return absl::OkStatus();
  const absl::Duration wait = it->second.Wait(loop_.Now());
  if (wait == absl::ZeroDuration()) return absl::OkStatus();
  return MakeError(Reason::kCircuitOpen,
                   absl::StrCat("start an agent of profile ", profile.name,
                                ": most of its agents do not start"),
                   {}, wait);
}

bool SlotPool::Wants(const Profile& profile) const {
  return std::any_of(line_.begin(), line_.end(), [&](const Starting* starting) {
    return !ProfileFull(starting->profile) ||
           starting->profile.name == profile.name;
  });
}

std::unique_ptr<SlotPool::Request> SlotPool::Start(const AgentKind& kind,
                                                   const Profile& profile,
                                                   Opening opening,
                                                   const Slot* beside,
                                                   Ready ready) {
  auto starting = std::make_unique<Starting>(
      *this, kind, profile, std::move(opening), beside, std::move(ready));
  if (!Full(profile) || FindShared(*starting) != nullptr) {
    Launch(*starting);
    return starting;
  }
  line_.push_back(starting.get());
  starting->timer =
      loop_.RunAfter(profile.start_timeout, [this, request = starting.get()] {
        line_.remove(request);
        Answer(
            *request,
            MakeError(Reason::kNoSlot,
                      absl::StrCat(
                          "start an agent of profile ", request->profile.name,
                          ": all ", live_, " slots stayed in use for ",
                          absl::FormatDuration(request->profile.start_timeout)),
                      {}, kRetryAfterNoSlot));
      });
  give_way_(ProfileFull(profile) ? &profile : nullptr);
  return starting;
}

void SlotPool::Launch(Starting& starting) {
  starting.timer = nullptr;
  if (absl::Status open = Circuit(starting.profile); !open.ok()) {
    AnswerLater(starting, std::move(open));
    return;
  }
  starting.attempt = breakers_[starting.profile.name].Begin();
  std::shared_ptr<Slot::Right> right = FindShared(starting);
  if (right == nullptr) right = NewRight(starting);
  Launcher& launcher = right->process == nullptr ? launcher_ : *right->process;
  starting.slot.reset(new Slot(*this, std::move(right)));
  absl::StatusOr<std::unique_ptr<Agent>> agent = starting.kind.make(
      loop_, launcher, starting.profile, starting.opening, starting.slot.get());
  if (!agent.ok()) {
    // Not given back from here: who is next in line may fail in the same way.
    Discard(std::move(starting.slot));
    AnswerLater(starting, agent.status());
    return;
  }
  starting.slot->agent_ = *std::move(agent);
  starting.self = std::make_shared<Starting*>(&starting);
  starting.slot->agent_->Start([this, self = starting.self](absl::Status ok) {
    if (*self != nullptr) Answer(**self, std::move(ok));
  });
}

void SlotPool::AnswerLater(Starting& starting, absl::Status status) {
  starting.timer =
      loop_.RunAfter(absl::ZeroDuration(),
                     [this, request = &starting, status = std::move(status)] {
                       Answer(*request, status);
                     });
}

void SlotPool::NoteEnd(Starting& starting, ProfileBreaker::Outcome outcome) {
  if (!starting.attempt.has_value()) return;
  breakers_[starting.profile.name].End(*starting.attempt, outcome, loop_.Now());
  starting.attempt.reset();
}

// The request may be destroyed by its owner from inside `ready`.
void SlotPool::Answer(Starting& starting, absl::Status status) {
  NoteEnd(starting, status.ok()             ? ProfileBreaker::Outcome::kStarted
                    : CountsAsDeath(status) ? ProfileBreaker::Outcome::kFailed
                                            : ProfileBreaker::Outcome::kUntold);
  Ready ready = std::move(starting.ready);
  std::unique_ptr<Slot> slot = std::move(starting.slot);
  if (status.ok()) {
    std::move(ready)(std::move(slot));
    return;
  }
  if (slot != nullptr) Discard(std::move(slot));
  std::move(ready)(std::move(status));
}

// An agent is not destroyed from inside its own call.
void SlotPool::Discard(std::unique_ptr<Slot> slot) {
  discarded_.push_back(std::move(slot));
  sweep_ = loop_.RunAfter(absl::ZeroDuration(), [this] {
    std::vector<std::unique_ptr<Slot>> gone = std::move(discarded_);
    discarded_.clear();
    gone.clear();
  });
}

// ---- Processes that are shared ----

bool SlotPool::MayShare(const Starting& starting) const {
  return starting.kind.many_conversations &&
         starting.profile.sessions_per_process > 1;
}

std::shared_ptr<Slot::Right> SlotPool::NewRight(const Starting& starting) {
  ++live_;
  ++live_of_profile_[starting.profile.name];
  auto right = std::make_shared<Slot::Right>(*this, starting.profile);
  if (MayShare(starting)) {
    right->process = SharedProcess::Create(loop_, launcher_);
    right->tenant = starting.opening.tenant;
    right->working_directory = starting.opening.working_directory;
    shared_.push_back(right);
  }
  return right;
}

std::shared_ptr<Slot::Right> SlotPool::FindShared(const Starting& starting) {
  if (!MayShare(starting)) return nullptr;
  std::erase_if(shared_, [](const auto& right) { return right.expired(); });
  const std::shared_ptr<Slot::Right> beside = starting.beside.lock();
  std::shared_ptr<Slot::Right> any;
  for (const std::weak_ptr<Slot::Right>& one : shared_) {
    std::shared_ptr<Slot::Right> right = one.lock();
    // One holder is `right` itself.
    if (right == beside || &right->profile != &starting.profile ||
        right->tenant != starting.opening.tenant ||
        right->working_directory != starting.opening.working_directory ||
        !right->process->MayJoin(starting.opening.conversation) ||
        right.use_count() - 1 >= starting.profile.sessions_per_process) {
      continue;
    }
    if (right->process->Knows(starting.opening.conversation)) return right;
    if (any == nullptr) any = std::move(right);
  }
  return any;
}

void SlotPool::Release(Slot::Right& right) {
  --live_;
  --live_of_profile_[right.profile.name];
  Serve();
}

// An agent has left a process in which others stay: who waits may get its
// place, or its process once they have left, too.
void SlotPool::Left() {
  Serve();
  giving_way_ = loop_.RunAfter(absl::ZeroDuration(), [this] {
    if (line_.empty()) return;
    const Profile& first = line_.front()->profile;
    give_way_(ProfileFull(first) ? &first : nullptr);
  });
}

void SlotPool::Serve() {
  for (auto it = line_.begin(); it != line_.end();) {
    Starting& starting = **it;
    if (Full(starting.profile) && FindShared(starting) == nullptr) {
      ++it;
      continue;
    }
    it = line_.erase(it);
    Launch(starting);
  }
}

}  // namespace understudy::session
