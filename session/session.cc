// What is common to all a session does: its state, the log, the record and the
// store.

#include "session/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "session/base/check.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "session/retention.h"
#include "session/retiring.h"

namespace understudy::session {
namespace {

v1::ExitCause ToExitCause(const ExitStatus& exit, const absl::Status& why,
                          bool expected) {
  if (expected) return v1::EXIT_CAUSE_STOPPED;
  const std::optional<Reason> reason = ReasonOf(why);
  if (reason == Reason::kAgentUnresponsive ||
      reason == Reason::kAgentStartTimeout) {
    return v1::EXIT_CAUSE_UNRESPONSIVE;
  }
  if (reason == Reason::kAgentOutOfMemory) return v1::EXIT_CAUSE_OUT_OF_MEMORY;
  if (reason == Reason::kAgentProtocol || reason == Reason::kAgentLineTooLong ||
      reason == Reason::kAgentStalled) {
    return v1::EXIT_CAUSE_PROTOCOL;
  }
  switch (exit.cause) {
    case ExitStatus::Cause::kSignaled:
    case ExitStatus::Cause::kGuardLost:
      return v1::EXIT_CAUSE_SIGNALED;
    case ExitStatus::Cause::kStopped:
      return v1::EXIT_CAUSE_STOPPED;
    case ExitStatus::Cause::kLineTooLong:
    case ExitStatus::Cause::kClosedOutput:
    case ExitStatus::Cause::kStalled:
      return v1::EXIT_CAUSE_PROTOCOL;
    case ExitStatus::Cause::kOutOfMemory:
      return v1::EXIT_CAUSE_OUT_OF_MEMORY;
    case ExitStatus::Cause::kExited:
    case ExitStatus::Cause::kNotStarted:
      return v1::EXIT_CAUSE_EXITED;
  }
  return v1::EXIT_CAUSE_EXITED;
}

}  // namespace

Session::Session(Ground ground, Options options, const AgentKind& kind,
                 const Profile& profile, StoredSession stored,
                 std::vector<std::string> request_ids,
                 absl::AnyInvocable<void() &&> gone)
    : ground_(ground),
      options_(options),
      kind_(kind),
      profile_(profile),
      gone_(std::move(gone)),
      record_(stored.record),
      stored_(std::make_shared<const SessionRecord>(stored.record)),
      epoch_(stored.epoch),
      log_(std::make_shared<EventLog>(
          EventLog::Options{
              .session_id = record_.session_id(),
              .epoch = stored.epoch,
              .oldest_sequence = stored.oldest_sequence,
              .newest_sequence = stored.newest_sequence,
              .max_window_bytes = options.max_window_bytes,
          },
          ground.store)),
      ledger_(ground.loop, ground.reading, ground.store, record_.session_id(),
              std::move(request_ids)),
      self_(std::make_shared<Session*>(this)) {}

Session::~Session() {
  *self_ = nullptr;
  ground_.claims.Release(record_.session_id(),
                         [](const std::string&) { return false; });
}

void Session::Created(Append& append) {
  v1::Event event;
  v1::SessionCreated& created = *event.mutable_session_created();
  created.set_agent(record_.agent());
  created.set_model(record_.model());
  created.set_working_directory(record_.working_directory());
  AddSynthetic(std::move(event));
  log_->Take(append);
  log_changed_ = false;
  append.kind = Append::Kind::kCreate;
  append.session_id = record_.session_id();
  append.epoch = epoch_;
  append.record = stored_;
}

void Session::Recover() {
  for (const int64_t pid : record_.processes()) {
    v1::Event event;
    event.mutable_agent_exited()->set_pid(pid);
    event.mutable_agent_exited()->set_cause(v1::EXIT_CAUSE_SERVER_LOST);
    AddSynthetic(std::move(event));
    record_changed_ = true;
    agent_died_ = true;
  }
  record_.clear_processes();
  for (const store::OpenPermission& open : record_.open_permissions()) {
    v1::Event event;
    event.set_turn_id(open.turn_id());
    v1::PermissionResolved& resolved = *event.mutable_permission_resolved();
    resolved.set_permission_id(open.permission_id());
    resolved.set_by(v1::RESOLVED_BY_AGENT);
    resolved.set_withdrawn(true);
    AddSynthetic(std::move(event));
    record_changed_ = true;
  }
  record_.clear_open_permissions();
  const auto open_turns = record_.open_turns();
  for (const store::OpenTurn& open : open_turns) {
    auto turn = std::make_shared<Turn>();
    turn->turn_id = open.turn_id();
    turn->sequence = open.sequence();
    v1::TurnCompleted completed;
    // A turn that had not started cannot have been delivered: nothing is in
    // doubt.
    completed.set_outcome(open.started() ? v1::TURN_OUTCOME_INDETERMINATE
                                         : v1::TURN_OUTCOME_FAILED);
    completed.set_delivered(open.started() ? v1::DELIVERED_MAYBE
                                           : v1::DELIVERED_NO);
    completed.mutable_error()->set_reason(
        std::string(ReasonName(Reason::kAgentLost)));
    completed.mutable_error()->set_message("the server ended during the turn");
    Complete(turn, std::move(completed));
  }
  if (log_changed_ || record_changed_) Commit();
}

// ---- What it is doing ----

bool Session::MovesWait() const {
  return transition_ != nullptr || undecided_ != nullptr || busy_ ||
         std::any_of(mailbox_.begin(), mailbox_.end(),
                     [](const Item& item) { return item.turn == nullptr; });
}

bool Session::Rests() const {
  return closed_.ok() && running_ == nullptr && unsolicited_ == nullptr &&
         transition_ == nullptr && undecided_ == nullptr && !busy_ &&
         !changing_mode_;
}

SessionState Session::state() const {
  if (current_turn() != nullptr) return SessionState::kRunning;
  if (transition_ != nullptr || undecided_ != nullptr || busy_) {
    return SessionState::kTransitioning;
  }
  return slot_ == nullptr ? SessionState::kDormant : SessionState::kIdle;
}

absl::Time Session::idle_since() const {
  return Rests() && mailbox_.empty() && MayPark() ? idle_since_
                                                  : absl::InfiniteFuture();
}

SessionInfo Session::info() const {
  SessionInfo info;
  info.record = *stored_;
  info.state = state();
  info.epoch = epoch_;
  info.oldest_sequence = log_->oldest_sequence();
  info.newest_sequence = log_->newest_sequence();
  if (current_turn() != nullptr) {
    info.running_turn_id = current_turn()->turn_id;
  }
  info.queued_messages = static_cast<int>(queued_messages_);
  info.pending_permission_ids = permissions_.pending();
  return info;
}

// ---- The log, the record and the store ----

EventLog::Stamp Session::Stamp(bool synthetic) const {
  const Turn* turn = current_turn().get();
  return {.turn_id = turn == nullptr ? "" : turn->turn_id,
          .agent_session_id = record_.agent_session_id(),
          .incarnation = record_.incarnation(),
          .time = ground_.loop.Now(),
          .synthetic = synthetic};
}

uint64_t Session::Add(v1::Event event, std::string_view raw) {
  log_changed_ = true;
  return log_->Add(std::move(event), Stamp(/*synthetic=*/false), raw);
}

// The turn of a synthetic event is the one that the event names, if any.
uint64_t Session::AddSynthetic(v1::Event event) {
  log_changed_ = true;
  EventLog::Stamp stamp = Stamp(/*synthetic=*/true);
  stamp.turn_id = event.turn_id();
  return log_->Add(std::move(event), stamp);
}

void Session::AddExited(pid_t pid, const ExitStatus& exit,
                        const absl::Status& why, bool expected) {
  v1::Event event;
  v1::AgentExited& exited = *event.mutable_agent_exited();
  exited.set_pid(pid);
  exited.set_cause(ToExitCause(exit, why, expected));
  exited.set_exit_code(exit.exit_code);
  exited.set_signal(exit.signal);
  exited.set_expected(expected);
  exited.set_stderr_tail(exit.stderr_tail);
  AddSynthetic(std::move(event));
  auto& processes = *record_.mutable_processes();
  processes.erase(std::remove(processes.begin(), processes.end(), pid),
                  processes.end());
  record_changed_ = true;
}

// What has been added to the log and to the record since the last commit.
Append Session::TakeAppend(std::vector<StoredRequest> rows) {
  Append append;
  append.session_id = record_.session_id();
  append.epoch = epoch_;
  log_->Take(append);
  log_changed_ = false;
  if (record_changed_) {
    *record_.mutable_update_time() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
            absl::ToUnixNanos(ground_.loop.Now()));
    append.record = std::make_shared<const SessionRecord>(record_);
    record_changed_ = false;
  }
  append.requests = std::move(rows);
  return append;
}

// Stores that, and `rows`; then publishes it and runs `then`.
void Session::Commit(std::vector<StoredRequest> rows, Task then) {
  UNDERSTUDY_CHECK(undecided_ == nullptr, "nothing comes behind such a commit");
  Append append = TakeAppend(std::move(rows));
  std::shared_ptr<const SessionRecord> record = append.record;
  AddTrim(append);
  const uint64_t oldest = append.oldest_sequence;
  ++writes_;
  ground_.committer.Write(
      std::move(append), [this, self = self_, sequence = log_->added(), oldest,
                          record = std::move(record),
                          then = std::move(then)](absl::Status status) mutable {
        if (*self == nullptr) return;
        if (status.ok()) log_->Trim(oldest);
        Committed(sequence, std::move(record), std::move(status),
                  std::move(then));
      });
}

// Of more events than are retained, the oldest go.
void Session::AddTrim(Append& append) {
  const uint64_t oldest = log_->oldest_sequence();
  trim_ = std::max({trim_, oldest,
                    OldestByNumber(std::max(trim_, oldest), log_->added(),
                                   options_.max_events)});
  // Once more in every append until the store has done it.
  if (trim_ > oldest) append.oldest_sequence = trim_;
}

void Session::Trim(uint64_t oldest) {
  if (undecided_ != nullptr) return;  // another time
  // What is being added is not to go.
  oldest = std::min(oldest, log_->newest_sequence() + 1);
  if (!closed_.ok() || oldest <= std::max(trim_, log_->oldest_sequence())) {
    return;
  }
  trim_ = oldest;
  Commit();
}

void Session::Committed(uint64_t sequence,
                        std::shared_ptr<const SessionRecord> record,
                        absl::Status status, Task then) {
  --writes_;
  if (!status.ok()) {
    CloseDown(std::move(status));
    return;
  }
  if (record != nullptr) stored_ = std::move(record);
  log_->Publish(sequence);
  if (slot_ != nullptr && undecided_ == nullptr &&
      log_->unpublished_bytes() <= kMaxUnpublishedBytes) {
    slot_->agent().set_reading(true);
  }
  if (then) std::move(then)();
  // What is stored need not be kept in memory where no agent adds to it.
  if (slot_ == nullptr && writes_ == 0 && Rests() && mailbox_.empty()) {
    log_->ReleaseWindow();
  }
}

}  // namespace understudy::session
