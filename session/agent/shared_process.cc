#include "session/agent/shared_process.h"

#include <algorithm>
#include <utility>

#include "session/agent/json_rpc.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

// How long a seat that is to be gone at once is given to be answered.
constexpr absl::Duration kLeastGrace = absl::Seconds(1);

// Conversations that are remembered.
constexpr size_t kMaxKnown = 100000;

// Nothing that the child works at: names beginning with an underscore are
// extensions, which it need not even answer.
bool IsWork(std::string_view method) { return !method.starts_with('_'); }

constexpr std::string_view kClose = "session/close";

bool IsOnce(std::string_view method) {
  return method == "initialize" || method == "authenticate";
}

}  // namespace

class SharedProcess::Seat final : public Subprocess {
 public:
  Seat(std::shared_ptr<SharedProcess> process, Subprocess::Observer* observer)
      : process_(std::move(process)), observer_(observer) {
    process_->seats_.push_back(this);
  }
  ~Seat() override { process_->Remove(*this); }

  pid_t pid() const override { return process_->child_->pid(); }
  absl::Status WriteLine(std::string_view line) override {
    if (gone_ || stopping_) {
      return absl::FailedPreconditionError("the process is being left");
    }
    return process_->Write(*this, line);
  }
  uint64_t queued_bytes() const override {
    return process_->child_->queued_bytes();
  }
  uint64_t written_bytes() const override {
    return process_->child_->written_bytes();
  }
  void Stop(absl::Duration grace) override {
    if (!gone_) process_->Stop(*this, grace);
  }
  void set_reading(bool reading) override {
    reading_ = reading;
    process_->ApplyReading();
  }
  void set_observer(Subprocess::Observer* observer) override {
    observer_ = observer;
  }
  bool shared() const override { return !process_->Alone(*this); }
  void Subscribe(std::string_view channel) override {
    process_->channels_.insert_or_assign(std::string(channel), this);
    if (process_->known_.size() < kMaxKnown) {
      process_->known_.emplace(channel);
    }
  }

  void HoldsOn() override { process_->holds_on_ = true; }

  const std::shared_ptr<SharedProcess> process_;
  Subprocess::Observer* observer_;
  bool reading_ = true;
  bool started_ = false;   // OnStarted has been called
  bool stopping_ = false;  // it takes no more requests
  bool gone_ = false;      // OnExit has been, or is being, called
  // Requests that wait for an answer: work, and the closing of conversations.
  std::set<std::string, std::less<>> unanswered_;
  std::set<std::string, std::less<>> closing_;
  bool settled() const { return unanswered_.empty() && closing_.empty(); }
  bool touched_ = false;  // it has had a line of the read in progress
  absl::Time end_ = absl::InfiniteFuture();   // of its grace
  std::unique_ptr<EventLoop::Handle> timer_;  // at that time
  std::unique_ptr<EventLoop::Handle> starting_;
  std::unique_ptr<EventLoop::Handle> answering_;
};

std::shared_ptr<SharedProcess> SharedProcess::Create(EventLoop& loop,
                                                     Launcher& launcher) {
  return std::shared_ptr<SharedProcess>(new SharedProcess(loop, launcher));
}

SharedProcess::~SharedProcess() = default;

absl::StatusOr<std::unique_ptr<Subprocess>> SharedProcess::Launch(
    const Command& command, Subprocess::Observer* observer) {
  if (!open_) return absl::UnavailableError("its process is ending");
  if (child_ == nullptr) {
    absl::StatusOr<std::unique_ptr<Subprocess>> child =
        launcher_.Launch(command, this);
    if (!child.ok()) {
      open_ = false;
      return child.status();
    }
    child_ = *std::move(child);
    return std::make_unique<Seat>(shared_from_this(), observer);
  }
  auto seat = std::make_unique<Seat>(shared_from_this(), observer);
  if (child_->pid() != 0) {
    seat->starting_ = loop_.RunAfter(
        absl::ZeroDuration(), [seat = seat.get(), pid = child_->pid()] {
          if (std::exchange(seat->started_, true) || seat->gone_) return;
          if (seat->observer_ != nullptr) seat->observer_->OnStarted(pid);
        });
  }
  return seat;
}

// --- Who is there -----------------------------------------------------------

bool SharedProcess::Present(const Seat* seat) const {
  return std::find(seats_.begin(), seats_.end(), seat) != seats_.end();
}

// Nobody else means to stay.
bool SharedProcess::Alone(const Seat& seat) const {
  return std::all_of(seats_.begin(), seats_.end(), [&seat](const Seat* other) {
    return other == &seat || other->stopping_ || other->gone_;
  });
}

// The seat is destroyed.
void SharedProcess::Remove(Seat& seat) {
  seats_.remove(&seat);
  std::erase_if(asked_, [&](const auto& one) { return one.second == &seat; });
  std::erase_if(channels_,
                [&](const auto& one) { return one.second == &seat; });
  for (auto& [unused, once] : once_) {
    std::erase_if(once.waiting,
                  [&](const auto& one) { return one.first == &seat; });
  }
  departed_ = true;
  // The child may still be at what it was asked.
  if (!seat.gone_ && !seat.unanswered_.empty()) open_ = false;
  if (seats_.empty()) {
    open_ = false;
    child_ = nullptr;
  } else if (child_ != nullptr && !exit_.has_value()) {
    const bool none_stays = std::all_of(
        seats_.begin(), seats_.end(),
        [](const Seat* other) { return other->stopping_ || other->gone_; });
    if (none_stays) child_->Stop(kLeastGrace);
    ApplyReading();
  }
}

void SharedProcess::ApplyReading() {
  if (child_ == nullptr || exit_.has_value()) return;
  child_->set_reading(
      std::all_of(seats_.begin(), seats_.end(), [](const Seat* seat) {
        return seat->reading_ || seat->stopping_ || seat->gone_;
      }));
}

// --- The end of a seat ------------------------------------------------------

void SharedProcess::Stop(Seat& seat, absl::Duration grace) {
  if (Alone(seat)) {
    open_ = false;
    seat.stopping_ = true;
    child_->Stop(grace);
    return;
  }
  seat.stopping_ = true;
  ApplyReading();
  // From the loop: who stops it does not expect its end inside the call.
  const absl::Time end =
      loop_.Now() +
      (seat.settled() ? absl::ZeroDuration() : std::max(grace, kLeastGrace));
  if (end >= seat.end_) return;
  seat.end_ = end;
  seat.timer_ = loop_.RunAfter(end - loop_.Now(),
                               [this, &seat] { Left(seat, seat.settled()); });
}

void SharedProcess::Left(Seat& seat, bool clean) {
  if (seat.gone_) return;
  if (!clean) open_ = false;
  departed_ = true;
  seat.gone_ = true;
  const std::unique_ptr<EventLoop::Handle> fired = std::move(seat.timer_);
  const std::shared_ptr<SharedProcess> self = shared_from_this();
  ApplyReading();
  ExitStatus status;
  status.cause = ExitStatus::Cause::kStopped;
  if (seat.observer_ != nullptr) seat.observer_->OnExit(status);
}

void SharedProcess::OnExit(const ExitStatus& status) {
  const std::shared_ptr<SharedProcess> self = shared_from_this();
  open_ = false;
  exit_ = status;
  for (Seat* const seat : std::vector<Seat*>(seats_.begin(), seats_.end())) {
    if (!Present(seat) || std::exchange(seat->gone_, true)) continue;
    seat->timer_ = nullptr;
    ExitStatus own = status;
    // The others that leave have all been stopped; one that stays has not.
    if (seat->stopping_) own.cause = ExitStatus::Cause::kStopped;
    if (seat->observer_ != nullptr) seat->observer_->OnExit(own);
  }
}

// --- Lines out --------------------------------------------------------------

absl::Status SharedProcess::Write(Seat& seat, std::string_view line) {
  const std::string_view id = JsonRpcRequestId(line);
  if (!id.empty()) {
    const std::string_view method = JsonRpcRequestMethod(line);
    if (method == kClose) {
      seat.closing_.emplace(id);
    } else if (IsWork(method)) {
      seat.unanswered_.emplace(id);
    }
    if (IsOnce(method) && !AskOnce(seat, method, id)) {
      return absl::OkStatus();
    }
    asked_.insert_or_assign(std::string(id), &seat);
  }
  return child_->WriteLine(line);
}

// Whether it is to be written. If not, the answer is there, or comes.
bool SharedProcess::AskOnce(Seat& seat, std::string_view method,
                            std::string_view id) {
  Once& once = once_[std::string(method)];
  if (once.asked_id.empty()) {
    once.asked_id = id;
    return true;
  }
  once.waiting.emplace_back(&seat, id);
  if (once.answer.empty()) return false;
  // As if it had been asked.
  seat.answering_ = loop_.RunAfter(
      absl::ZeroDuration(), [this, method = std::string(method)] {
        const std::shared_ptr<SharedProcess> self = shared_from_this();
        Once& once = once_[method];
        AnswerOnce(once.asked_id, std::string(once.answer));
      });
  return false;
}

// Gives the answer to all who wait for it, with their own ids.
void SharedProcess::AnswerOnce(std::string_view id, std::string_view raw) {
  for (auto& [unused, once] : once_) {
    if (once.asked_id != id) continue;
    once.answer = raw;
    const std::string asked = JsonString(once.asked_id);
    for (const auto& [seat, own_id] : std::exchange(once.waiting, {})) {
      if (!Present(seat)) continue;
      std::string line(raw);
      const size_t at = line.find(asked);
      if (at != std::string::npos) {
        line.replace(at, asked.size(), JsonString(own_id));
      }
      seat->unanswered_.erase(own_id);
      Deliver(*seat, line);
    }
    return;
  }
}

// --- Lines in ---------------------------------------------------------------

void SharedProcess::OnStarted(pid_t pid) {
  const std::shared_ptr<SharedProcess> self = shared_from_this();
  for (Seat* const seat : std::vector<Seat*>(seats_.begin(), seats_.end())) {
    if (!Present(seat) || std::exchange(seat->started_, true)) continue;
    if (seat->observer_ != nullptr) seat->observer_->OnStarted(pid);
  }
}

// A copy: an agent may change its line, and reads behind its end.
void SharedProcess::Deliver(Seat& seat, std::string_view line) {
  if (seat.gone_ || seat.observer_ == nullptr) return;
  seat.touched_ = true;
  std::string copy;
  copy.reserve(line.size() + kLinePadding);
  copy.assign(line);
  seat.observer_->OnLine(copy.data(), copy.size());
}

void SharedProcess::DeliverToAll(std::string_view line) {
  for (Seat* const seat : std::vector<Seat*>(seats_.begin(), seats_.end())) {
    // Who has just joined has not missed it.
    if (Present(seat) && seat->started_) Deliver(*seat, line);
  }
}

void SharedProcess::OnLine(char* line, size_t size) {
  static thread_local JsonDocument document;
  const std::shared_ptr<SharedProcess> self = shared_from_this();
  const std::string_view raw(line, size);
  if (!document.Parse(raw).ok() || !document.root().IsObject()) {
    return DeliverToAll(raw);
  }
  const JsonRpcMessage message = ReadJsonRpc(document.root());
  if (message.kind == JsonRpcMessage::Kind::kResponse) {
    const std::string id = document.root()["id"].String();
    const bool failed = message.error.exists();
    AnswerOnce(id, raw);
    if (failed) {
      // Who comes later asks for himself.
      std::erase_if(
          once_, [&id](const auto& one) { return one.second.asked_id == id; });
    }
    const auto it = asked_.find(id);
    if (it == asked_.end()) return;  // of a seat that is gone
    Seat& seat = *it->second;
    asked_.erase(it);
    seat.unanswered_.erase(id);
    seat.closing_.erase(id);
    Deliver(seat, raw);
    if (Present(&seat) && seat.stopping_ && !seat.gone_ && seat.settled() &&
        seat.timer_ != nullptr) {
      seat.timer_ = loop_.RunAfter(
          absl::ZeroDuration(), [this, &seat] { Left(seat, /*clean=*/true); });
    }
    return;
  }
  const JsonValue channel = message.params["sessionId"];
  const bool request = message.kind == JsonRpcMessage::Kind::kRequest;
  if (!channel.IsString() && !request) return DeliverToAll(raw);
  const auto it = channels_.find(channel.String());
  if (it != channels_.end() &&
      !(request && (it->second->stopping_ || it->second->gone_))) {
    return Deliver(*it->second, raw);
  }
  if (request) {
    // Nobody would answer it, or could.
    (void)child_->WriteLine(JsonRpcError(message.id, kJsonRpcInvalidParams,
                                         "no such session here"));
  }
}

void SharedProcess::OnLinesDone() {
  const std::shared_ptr<SharedProcess> self = shared_from_this();
  for (Seat* const seat : std::vector<Seat*>(seats_.begin(), seats_.end())) {
    if (!Present(seat) || !std::exchange(seat->touched_, false)) continue;
    if (!seat->gone_ && seat->observer_ != nullptr) {
      seat->observer_->OnLinesDone();
    }
  }
}

}  // namespace understudy::session
