// FakeLauncher: children that a test plays itself.
//
//   FakeLoop loop;
//   FakeLauncher launcher(loop);
//   ... the code under test launches ...
//   FakeChild& child = launcher.child(0);
//   loop.RunUntilIdle();
//   EXPECT_THAT(child.lines(), ElementsAre("hello"));
//   child.Say(R"({"type":"result"})");
//   child.Exit({.exit_code = 1});
//   loop.RunUntilIdle();
//
// A FakeChild is the test's end of one launched child; it stays valid until the
// launcher dies, also when the code under test has destroyed its Subprocess.
// All callbacks to the code under test come from the loop.

#ifndef UNDERSTUDY_TESTS_FAKES_FAKE_LAUNCHER_H_
#define UNDERSTUDY_TESTS_FAKES_FAKE_LAUNCHER_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "session/base/event_loop.h"
#include "session/process/subprocess.h"

namespace understudy::session {

class FakeChild {
 public:
  FakeChild(EventLoop& loop, const Command& command, pid_t pid);

  const Command& command() const { return command_; }
  pid_t pid() const { return pid_; }

  // Every line written to its stdin that it has read.
  const std::vector<std::string>& lines() const { return lines_; }

  // Called for every line read, also those to come: a scripted agent.
  void OnLine(std::function<void(FakeChild&, std::string_view)> script) {
    script_ = std::move(script);
  }

  // Says one line on its stdout, or several that arrive in one read.
  void Say(std::string_view line) {
    Say(std::vector<std::string>{{std::string(line)}});
  }
  void Say(std::vector<std::string> lines);

  // Ends it. What it said before is delivered first. Ignored when it has
  // ended; the cause is kStopped when Stop() was called, whatever `status`
  // says.
  void Exit(ExitStatus status = {});

  // A child that is not obedient ignores the end of its stdin and SIGTERM, and
  // is killed when the grace has passed twice.
  void set_obedient(bool obedient) { obedient_ = obedient; }

  // A child that does not read leaves what is written to it queued, none of it
  // handed to the kernel.
  void set_reads_stdin(bool reads);

  bool stopping() const { return stopping_; }
  // The grace of the last Stop().
  absl::Duration grace() const { return grace_; }
  bool ended() const { return ended_; }
  // The code under test destroyed its Subprocess (which kills the child).
  bool destroyed() const { return destroyed_; }
  bool reading() const { return reading_; }

 private:
  friend class FakeLauncher;
  friend class FakeSubprocess;

  // One callback to come. Output held back by set_reading(false) holds back
  // what follows it.
  using Item = std::function<void(FakeChild&)>;

  void Enqueue(Item item, bool is_output);
  void Pump();
  void Deliver(const std::vector<std::string>& lines);
  void Begin(std::optional<int> exec_error);
  absl::Status Write(std::string_view line);
  void Read();
  void Stop(absl::Duration grace);

  EventLoop& loop_;
  const Command command_;
  const pid_t pid_;
  Subprocess::Observer* observer_ = nullptr;

  struct Queued {
    Item item;
    bool is_output;
  };
  std::deque<Queued> items_;
  bool pumping_ = false;

  std::vector<std::string> lines_;
  std::deque<std::string> unread_;
  std::function<void(FakeChild&, std::string_view)> script_;
  uint64_t queued_bytes_ = 0;
  uint64_t written_bytes_ = 0;

  bool started_ = false;
  bool ended_ = false;
  bool destroyed_ = false;
  bool stopping_ = false;
  bool obedient_ = true;
  bool reads_stdin_ = true;
  bool reading_ = true;
  absl::Duration grace_ = absl::InfiniteDuration();
  std::unique_ptr<EventLoop::Handle> kill_timer_;
  // Posted tasks find here whether the child still exists.
  std::shared_ptr<FakeChild*> self_;
};

class FakeLauncher final : public Launcher {
 public:
  explicit FakeLauncher(EventLoop& loop) : loop_(loop) {}
  ~FakeLauncher() override;

  absl::StatusOr<std::unique_ptr<Subprocess>> Launch(
      const Command& command, Subprocess::Observer* observer) override;

  // The next Launch() fails with `status`; repeated calls queue up.
  void FailNext(absl::Status status) { failures_.push_back(status); }
  // The exec of the next child fails.
  void RefuseNext(int error_number) { exec_error_ = error_number; }
  // Called from every Launch() that succeeds, to script the child.
  void OnLaunch(std::function<void(FakeChild&)> script) {
    on_launch_ = std::move(script);
  }

  // Children in the order of their launch, dead ones too.
  size_t children() const { return children_.size(); }
  FakeChild& child(size_t index) { return *children_.at(index); }
  FakeChild& last() { return *children_.back(); }
  // How many have neither ended nor been killed.
  size_t alive() const;

 private:
  EventLoop& loop_;
  std::vector<std::unique_ptr<FakeChild>> children_;
  std::deque<absl::Status> failures_;
  std::optional<int> exec_error_;
  std::function<void(FakeChild&)> on_launch_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_FAKES_FAKE_LAUNCHER_H_
