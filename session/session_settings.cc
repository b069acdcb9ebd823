// What a client changes of the record, at once and without an agent being
// started for it: labels, and the permission mode, which an agent that runs is
// asked to change first.

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/session.h"

namespace understudy::session {
namespace {

v1::Event ModeNotice(const std::string& mode) {
  v1::Event event;
  event.mutable_notice()->set_kind(v1::NOTICE_KIND_MODE);
  event.mutable_notice()->set_message(mode);
  return event;
}

}  // namespace

// A call that may change the record; null: it has its answer, or will get it.
std::shared_ptr<Call> Session::AdmitChange(Caller caller, Call::Answer answer) {
  std::shared_ptr<Call> call =
      ledger_.Admit(0, std::move(caller), std::move(answer));
  if (call == nullptr || !Takes(call)) return nullptr;
  const absl::Status& health = ground_.committer.health();
  if (!health.ok()) {
    ledger_.Finish(call, health);
    return nullptr;
  }
  return call;
}

// ---- Labels ----

void Session::Update(Caller caller, UpdateParams params, Reply<Labels> reply) {
  auto answer =
      [reply = std::move(reply)](absl::StatusOr<RequestResult> result) mutable {
        if (!result.ok()) {
          std::move(reply)(result.status());
        } else {
          const auto& labels = result->updated().labels();
          std::move(reply)(Labels(labels.begin(), labels.end()));
        }
      };
  const std::shared_ptr<Call> call =
      AdmitChange(std::move(caller), std::move(answer));
  if (call == nullptr) return;
  Labels labels;
  if (!params.replace) {
    labels = {record_.labels().begin(), record_.labels().end()};
  }
  for (auto& [key, value] : params.labels) {
    if (value.has_value()) {
      labels[key] = *std::move(value);
    } else {
      labels.erase(key);
    }
  }
  if (labels.size() > kMaxLabels) {
    ledger_.Finish(
        call, FieldInvalid("session.labels",
                           absl::StrCat("must not be more than ", kMaxLabels,
                                        "; there would be ", labels.size())));
    return;
  }
  RequestResult result;
  result.set_operation("UpdateSession");
  *result.mutable_updated()->mutable_labels() = {labels.begin(), labels.end()};
  if (Labels(record_.labels().begin(), record_.labels().end()) != labels) {
    *record_.mutable_labels() = {labels.begin(), labels.end()};
    record_changed_ = true;
  }
  std::vector<StoredRequest> rows =
      ledger_.Row(*call, record_.session_id(), result);
  Commit(std::move(rows),
         [this, call, result] { ledger_.Finish(call, result); });
}

// ---- The permission mode ----

void Session::SetPermissionMode(Caller caller, ModeParams params,
                                Reply<std::string> reply) {
  auto answer =
      [reply = std::move(reply)](absl::StatusOr<RequestResult> result) mutable {
        if (!result.ok()) {
          std::move(reply)(result.status());
        } else {
          std::move(reply)(result->permission_mode());
        }
      };
  const std::shared_ptr<Call> call =
      AdmitChange(std::move(caller), std::move(answer));
  if (call == nullptr) return;
  if (!kind_.capabilities.permissions || !profile_.permissions) {
    ledger_.Finish(
        call,
        MakeError(Reason::kCapabilityMissing,
                  absl::StrCat("set the permission mode of session ",
                               record_.session_id(), ": its agent has none"),
                  {{"capability", "permissions"}}));
    return;
  }
  mode_changes_.push_back({call, params.permission_mode.empty()
                                     ? profile_.permission_mode
                                     : params.permission_mode});
  ChangeModes();
}

// One after the other, and not beside a move: a process that is being prepared
// has the mode that the record has. A turn that runs does not matter.
void Session::ChangeModes() {
  while (!mode_changes_.empty() && closed_.ok() && !changing_mode_ &&
         transition_ == nullptr && undecided_ == nullptr && !busy_) {
    ModeChange change = std::move(mode_changes_.front());
    mode_changes_.pop_front();
    if (slot_ == nullptr) {
      if (change.mode != record_.permission_mode()) {
        AddSynthetic(ModeNotice(change.mode));
      }
      KeepMode(change.call, change.mode);
      continue;
    }
    changing_mode_ = true;
    slot_->agent().SetPermissionMode(
        change.mode, [self = self_, call = change.call,
                      mode = change.mode](absl::Status status) {
          if (*self != nullptr) (*self)->ModeChanged(call, mode, status);
        });
  }
}

// The agent first: it knows whether there is such a mode. While the record does
// not say so yet, the agent lives no longer than this server, and is ended if
// the store refuses the session.
void Session::ModeChanged(const std::shared_ptr<Call>& call,
                          const std::string& mode, const absl::Status& status) {
  if (!closed_.ok()) return;  // whoever called has had the answer
  const std::optional<Reason> reason = ReasonOf(status);
  const bool definite =
      reason == Reason::kFieldInvalid || reason == Reason::kCapabilityMissing;
  if (status.ok() || definite) {
    changing_mode_ = false;
    if (status.ok()) {
      KeepMode(call, mode);
    } else {
      ledger_.Finish(call, status);
    }
    ReplySoon([this] { Pump(); });
    return;
  }
  ledger_.Finish(call, status);
  // In which mode it is, nobody knows: it must not go on. One that is dead says
  // so first.
  ReplySoon([this, status, slot = slot_.get()] {
    changing_mode_ = false;
    if (slot != nullptr && slot_.get() == slot && closed_.ok()) {
      EndMidTurn(status);
    }
    Pump();
  });
}

void Session::KeepMode(const std::shared_ptr<Call>& call,
                       const std::string& mode) {
  if (mode != record_.permission_mode()) {
    record_.set_permission_mode(mode);
    record_changed_ = true;
  }
  RequestResult result;
  result.set_operation("SetPermissionMode");
  result.set_permission_mode(mode);
  std::vector<StoredRequest> rows =
      ledger_.Row(*call, record_.session_id(), result);
  Commit(std::move(rows),
         [this, call, result] { ledger_.Finish(call, result); });
}

}  // namespace understudy::session
