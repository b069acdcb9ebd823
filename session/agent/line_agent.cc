#include "session/agent/line_agent.h"

#include <errno.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/base/check.h"

namespace understudy::session {
namespace {

static_assert(kLinePadding >= kJsonPadding);

// Lines in a row that are not JSON objects: then it is not our protocol.
constexpr int kMaxNonsense = 10;

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

ErrorMetadata ExitMetadata(const ExitStatus& exit) {
  ErrorMetadata metadata;
  if (exit.signal != 0) {
    metadata["signal"] = absl::StrCat(exit.signal);
  } else if (exit.cause != ExitStatus::Cause::kNotStarted) {
    metadata["exit_code"] = absl::StrCat(exit.exit_code);
  }
  if (!exit.stderr_tail.empty()) metadata["stderr_tail"] = exit.stderr_tail;
  return metadata;
}

LineAgent::LineAgent(EventLoop& loop, std::string name, const Bounds& bounds,
                     Agent::Observer* observer)
    : loop_(loop),
      name_(std::move(name)),
      bounds_(bounds),
      observer_(observer) {}

absl::Status LineAgent::Launch(Launcher& launcher, const Command& command) {
  absl::StatusOr<std::unique_ptr<Subprocess>> process =
      launcher.Launch(command, this);
  if (!process.ok()) {
    return MakeError(
        Reason::kAgentStartFailed,
        absl::StrCat("start ", name_, ": ", process.status().message()));
  }
  process_ = *std::move(process);
  program_ = command.argv.front();
  directory_ = command.cwd;
  return absl::OkStatus();
}

// --- Operations -------------------------------------------------------------

void LineAgent::Begin(Done done, absl::Duration bound,
                      absl::AnyInvocable<void() &&> late) {
  operation_.emplace();
  operation_->done = std::move(done);
  operation_->timer = loop_.RunAfter(bound, std::move(late));
}

void LineAgent::Start(Done ready) {
  UNDERSTUDY_CHECK(!ready_ && !busy(), "an agent is started once");
  Begin(std::move(ready), bounds_.start, [this] {
    const absl::Status late =
        MakeError(Reason::kAgentStartTimeout,
                  absl::StrCat("start ", name_, ": not ready within ",
                               absl::FormatDuration(bounds_.start)));
    End(late);
    Finish(late);
  });
  beginning_ = true;
  Handshake();
  beginning_ = false;
}

void LineAgent::Apply(const Change& change, Done done) {
  UNDERSTUDY_CHECK(!busy() && !mode_operation_,
                   "an agent makes one change at a time");
  Begin(std::move(done), bounds_.change, [this] {
    Finish(MakeError(Reason::kAgentUnresponsive,
                     absl::StrCat("change of ", name_, ": not done within ",
                                  absl::FormatDuration(bounds_.change))));
  });
  beginning_ = true;
  Make(change);
  beginning_ = false;
}

void LineAgent::SetPermissionMode(const std::string& mode, Done done) {
  UNDERSTUDY_CHECK(ready_ && !busy() && !mode_operation_,
                   "an agent makes one change at a time");
  mode_operation_.emplace();
  mode_operation_->done = std::move(done);
  mode_operation_->timer = loop_.RunAfter(bounds_.change, [this] {
    FinishMode(MakeError(
        Reason::kAgentUnresponsive,
        absl::StrCat("set the permission mode of ", name_, ": not done within ",
                     absl::FormatDuration(bounds_.change))));
  });
  beginning_ = true;
  MakeMode(mode);
  beginning_ = false;
}

void LineAgent::FinishMode(absl::Status status) {
  if (!mode_operation_) return;
  if (beginning_) {
    mode_operation_->timer = loop_.RunAfter(
        absl::ZeroDuration(),
        [this, status = std::move(status)] { FinishMode(status); });
    return;
  }
  Operation operation = *std::exchange(mode_operation_, std::nullopt);
  std::move(operation.done)(std::move(status));
}

void LineAgent::Finish(absl::Status status) {
  if (!busy()) return;
  if (beginning_) {
    operation_->timer =
        loop_.RunAfter(absl::ZeroDuration(),
                       [this, status = std::move(status)] { Finish(status); });
    return;
  }
  waiting_.clear();
  if (status.ok()) ready_ = true;
  Operation operation = *std::exchange(operation_, std::nullopt);
  std::move(operation.done)(std::move(status));
}

// --- Lines out --------------------------------------------------------------

void LineAgent::Write(std::string_view line) {
  const absl::Status status = process_->WriteLine(line);
  // Otherwise it is ending, or is ended for having closed its stdin, and OnExit
  // says how.
  if (absl::IsResourceExhausted(status)) {
    End(MakeError(Reason::kAgentStalled, std::string(status.message())));
  }
}

std::string LineAgent::NextId() { return absl::StrCat("u-", next_id_++); }

void LineAgent::Ask(std::string id, std::string_view line, Answered answered) {
  waiting_.insert_or_assign(std::move(id), std::move(answered));
  Write(line);
}

bool LineAgent::HandleAnswer(std::string_view id, JsonValue answer) {
  const auto it = waiting_.find(id);
  if (it == waiting_.end()) return false;
  Answered answered = std::move(it->second);
  waiting_.erase(it);
  std::move(answered)(answer);
  return true;
}

// --- Lines in ---------------------------------------------------------------

void LineAgent::OnLine(char* line, size_t size) {
  // One for all agents: its memory follows the longest line.
  static thread_local JsonDocument document;

  if (!end_.ok()) return;
  const std::string_view raw(line, size);
  if (HandleRaw(raw) || IsBlank(raw)) return;
  if (!document.Parse(raw).ok() || !document.root().IsObject()) {
    HandleNonsense(raw);
    return;
  }
  nonsense_ = 0;
  HandleLine(document.root(), raw);
}

void LineAgent::HandleNonsense(std::string_view line) {
  // Of a shared process, each hears all nonsense, but not all that has sense.
  if (++nonsense_ >= kMaxNonsense && !shares_process()) {
    End(MakeError(Reason::kAgentProtocol,
                  absl::StrCat("read ", name_, ": ", nonsense_,
                               " lines in a row are not JSON objects")));
  }
  EmitUnknown("", line);
}

void LineAgent::EmitUnknown(std::string_view type, std::string_view raw) {
  v1::Event event;
  event.mutable_unknown()->set_type(std::string(type));
  observer_->OnEvent(std::move(event), raw);
}

void LineAgent::OnLinesDone() { observer_->OnQuiet(); }

// --- The end ----------------------------------------------------------------

void LineAgent::Stop(absl::Duration grace) {
  if (shares_process()) Leave();
  process_->Stop(grace);
}

void LineAgent::End(absl::Status why) {
  if (!end_.ok()) return;
  end_ = std::move(why);
  if (shares_process()) Leave();
  process_->Stop(absl::ZeroDuration());
}

absl::Status LineAgent::ExplainStart(const ExitStatus& exit) const {
  return MakeError(Reason::kAgentStartFailed,
                   absl::StrCat("start ", name_, ": ", exit.ToString()),
                   ExitMetadata(exit));
}

absl::Status LineAgent::Explain(const ExitStatus& exit) const {
  using Cause = ExitStatus::Cause;
  if (!end_.ok()) return end_;
  if (exit.cause == Cause::kNotStarted && exit.in_directory) {
    const std::string why =
        exit.error_number == ENOENT
            ? " does not exist"
            : absl::StrCat(": ", std::strerror(exit.error_number));
    return MakeError(
        Reason::kAgentStartFailed,
        absl::StrCat("start ", name_, ": working directory ", directory_, why),
        {{"working_directory", directory_}});
  }
  if (exit.cause == Cause::kNotStarted && exit.error_number == ENOENT) {
    return MakeError(
        Reason::kAgentStartFailed,
        absl::StrCat("start ", name_, ": ", program_, " is not installed"));
  }
  if (exit.cause == Cause::kLineTooLong) {
    return MakeError(Reason::kAgentLineTooLong,
                     absl::StrCat("read ", name_, ": ", exit.ToString()));
  }
  if (exit.cause == Cause::kStalled) {
    return MakeError(Reason::kAgentStalled,
                     absl::StrCat("write to ", name_, ": ", exit.ToString()));
  }
  if (exit.cause == Cause::kOutOfMemory) {
    return MakeError(Reason::kAgentOutOfMemory,
                     absl::StrCat(name_, " ", exit.ToString()),
                     {{"memory_bytes", absl::StrCat(exit.memory_bytes)}});
  }
  if (!ready_ && exit.cause != Cause::kStopped) return ExplainStart(exit);
  if (exit.cause == Cause::kClosedOutput && !exit.closed_input) {
    return MakeError(Reason::kAgentProtocol,
                     absl::StrCat(name_, " ", exit.ToString()));
  }
  return MakeError(Reason::kAgentLost,
                   absl::StrCat(name_, " ", exit.ToString()),
                   ExitMetadata(exit));
}

void LineAgent::OnExit(const ExitStatus& status) {
  const Loss loss{status, Explain(status)};
  const Witness witness(*this);
  Finish(loss.why);
  if (witness.gone()) return;
  FinishMode(loss.why);
  if (witness.gone()) return;
  observer_->OnLost(loss);
}

}  // namespace understudy::session
