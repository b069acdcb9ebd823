#include "tests/fakes/fake_launcher.h"

#include <signal.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/base/check.h"

namespace understudy::session {
namespace {

constexpr pid_t kFirstPid = 100'000;
constexpr uint64_t kMaxQueuedBytes = 16 << 20;

}  // namespace

// The code under test's end of a FakeChild.
class FakeSubprocess final : public Subprocess {
 public:
  explicit FakeSubprocess(FakeChild& child) : child_(child) {}
  ~FakeSubprocess() override {
    child_.observer_ = nullptr;
    child_.destroyed_ = true;
    child_.ended_ = true;
    child_.kill_timer_.reset();
  }

  pid_t pid() const override { return child_.started_ ? child_.pid_ : 0; }
  absl::Status WriteLine(std::string_view line) override {
    return child_.Write(line);
  }
  uint64_t queued_bytes() const override { return child_.queued_bytes_; }
  uint64_t written_bytes() const override { return child_.written_bytes_; }
  void Stop(absl::Duration grace) override { child_.Stop(grace); }
  void set_reading(bool reading) override {
    child_.reading_ = reading;
    if (reading) child_.Pump();
  }
  void set_observer(Observer* observer) override {
    child_.observer_ = observer;
  }

 private:
  FakeChild& child_;
};

FakeChild::FakeChild(EventLoop& loop, const Command& command, pid_t pid)
    : loop_(loop),
      command_(command),
      pid_(pid),
      self_(std::make_shared<FakeChild*>(this)) {}

void FakeChild::Say(std::vector<std::string> lines) {
  UNDERSTUDY_CHECK(!ended_, "a child that has ended says nothing");
  Enqueue([lines = std::move(lines)](FakeChild& self) { self.Deliver(lines); },
          /*is_output=*/true);
}

void FakeChild::Exit(ExitStatus status) {
  if (ended_) return;
  ended_ = true;
  kill_timer_.reset();
  if (stopping_) status.cause = ExitStatus::Cause::kStopped;
  // What is left in the pipe of a dead child is delivered even to an observer
  // that has stopped reading.
  for (Queued& queued : items_) queued.is_output = false;
  Enqueue(
      [status = std::move(status)](FakeChild& self) {
        if (auto* observer = std::exchange(self.observer_, nullptr)) {
          observer->OnExit(status);
        }
      },
      /*is_output=*/false);
}

void FakeChild::set_reads_stdin(bool reads) {
  reads_stdin_ = reads;
  Read();
}

void FakeChild::Enqueue(Item item, bool is_output) {
  items_.push_back({std::move(item), is_output});
  Pump();
}

void FakeChild::Pump() {
  if (std::exchange(pumping_, true)) return;
  loop_.Post([weak = std::weak_ptr<FakeChild*>(self_)] {
    auto self = weak.lock();
    if (!self) return;
    FakeChild& child = **self;
    child.pumping_ = false;
    if (child.items_.empty()) return;
    if (child.items_.front().is_output && !child.reading_) return;
    Item item = std::move(child.items_.front().item);
    child.items_.pop_front();
    if (!child.items_.empty()) child.Pump();
    item(child);
  });
}

void FakeChild::Deliver(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    if (observer_ == nullptr) return;
    std::string bytes = line;
    bytes.resize(line.size() + kLinePadding);
    observer_->OnLine(bytes.data(), line.size());
  }
  if (observer_ != nullptr) observer_->OnLinesDone();
}

void FakeChild::Begin(std::optional<int> exec_error) {
  if (exec_error.has_value()) {
    Exit(
        {.cause = ExitStatus::Cause::kNotStarted, .error_number = *exec_error});
    return;
  }
  Enqueue(
      [](FakeChild& self) {
        self.started_ = true;
        if (self.observer_ != nullptr) self.observer_->OnStarted(self.pid_);
      },
      /*is_output=*/false);
}

absl::Status FakeChild::Write(std::string_view line) {
  if (stopping_ || ended_) {
    return absl::FailedPreconditionError(
        absl::StrCat("write to agent ", pid_, ": it is ending"));
  }
  if (queued_bytes_ - written_bytes_ > kMaxQueuedBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("write to agent ", pid_, ": it does not read"));
  }
  queued_bytes_ += line.size() + 1;
  unread_.emplace_back(line);
  if (reads_stdin_) {
    written_bytes_ = queued_bytes_;
    loop_.Post([weak = std::weak_ptr<FakeChild*>(self_)] {
      if (auto self = weak.lock()) (*self)->Read();
    });
  }
  return absl::OkStatus();
}

void FakeChild::Read() {
  while (reads_stdin_ && !destroyed_ && !unread_.empty()) {
    std::string line = std::move(unread_.front());
    unread_.pop_front();
    written_bytes_ = queued_bytes_;
    lines_.push_back(line);
    if (script_ && !ended_) script_(*this, line);
  }
}

void FakeChild::Stop(absl::Duration grace) {
  if (ended_) return;
  grace_ = stopping_ ? std::min(grace_, grace) : grace;
  stopping_ = true;
  if (obedient_ && grace > absl::ZeroDuration()) {
    Exit();
    return;
  }
  if (grace_ == absl::InfiniteDuration()) return;
  kill_timer_ =
      loop_.RunAfter(2 * grace_, [this] { Exit({.signal = SIGKILL}); });
}

FakeLauncher::~FakeLauncher() {
  for (auto& child : children_) {
    UNDERSTUDY_CHECK(child->destroyed_, "a Subprocess outlives its Launcher");
  }
}

absl::StatusOr<std::unique_ptr<Subprocess>> FakeLauncher::Launch(
    const Command& command, Subprocess::Observer* observer) {
  if (!failures_.empty()) {
    absl::Status failure = std::move(failures_.front());
    failures_.pop_front();
    return failure;
  }
  children_.push_back(std::make_unique<FakeChild>(
      loop_, command, kFirstPid + static_cast<pid_t>(children_.size())));
  FakeChild& child = *children_.back();
  child.observer_ = observer;
  auto subprocess = std::make_unique<FakeSubprocess>(child);
  child.Begin(std::exchange(exec_error_, std::nullopt));
  if (on_launch_) on_launch_(child);
  return subprocess;
}

size_t FakeLauncher::alive() const {
  size_t alive = 0;
  for (const auto& child : children_) alive += child->ended_ ? 0 : 1;
  return alive;
}

}  // namespace understudy::session
