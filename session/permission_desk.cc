#include "session/permission_desk.h"

#include <algorithm>
#include <utility>

namespace understudy::session {
namespace {

constexpr size_t kRemembered = 256;

PermissionDesk::Decision DecisionOf(const v1::PermissionRequested& request,
                                    const PermissionAnswer& answer) {
  if (answer.option_id.empty()) return {answer.decision, answer.scope};
  for (const v1::PermissionOption& option : request.options()) {
    if (option.option_id() != answer.option_id) continue;
    switch (option.kind()) {
      case v1::PERMISSION_OPTION_KIND_ALLOW_ONCE:
        return {v1::PERMISSION_DECISION_ALLOW, v1::PERMISSION_SCOPE_ONCE};
      case v1::PERMISSION_OPTION_KIND_ALLOW_ALWAYS:
        return {v1::PERMISSION_DECISION_ALLOW, v1::PERMISSION_SCOPE_SESSION};
      case v1::PERMISSION_OPTION_KIND_DENY_ALWAYS:
        return {v1::PERMISSION_DECISION_DENY, v1::PERMISSION_SCOPE_SESSION};
      default:
        return {v1::PERMISSION_DECISION_DENY, v1::PERMISSION_SCOPE_ONCE};
    }
  }
  return {};
}

}  // namespace

void PermissionDesk::Open(const v1::PermissionRequested& request,
                          std::unique_ptr<EventLoop::Handle> timer) {
  pending_[request.permission_id()] = {request, std::move(timer)};
}

PermissionDesk::State PermissionDesk::Find(
    std::string_view permission_id, const PermissionAnswer& answer) const {
  if (pending(permission_id)) return State::kPending;
  // The newest first: another process may use an id again.
  for (auto it = settled_.rbegin(); it != settled_.rend(); ++it) {
    if (it->permission_id != permission_id) continue;
    if (!it->answer.has_value()) return State::kAnsweredOtherwise;
    // By whatever words.
    const Decision now = DecisionOf(it->request, answer);
    const Decision then = DecisionOf(it->request, *it->answer);
    return now.decision == then.decision && now.scope == then.scope &&
                   answer.updated_input_json == it->answer->updated_input_json
               ? State::kAnsweredSo
               : State::kAnsweredOtherwise;
  }
  return State::kUnknown;
}

PermissionDesk::Decision PermissionDesk::Decide(
    std::string_view permission_id, const PermissionAnswer& answer) const {
  const auto it = pending_.find(permission_id);
  if (it != pending_.end()) return DecisionOf(it->second.request, answer);
  return DecisionOf({}, answer);
}

void PermissionDesk::Close(std::string_view permission_id,
                           const std::optional<PermissionAnswer>& answer) {
  Settled& settled = settled_.emplace_back();
  settled.permission_id = std::string(permission_id);
  settled.answer = answer;
  if (auto it = pending_.find(permission_id); it != pending_.end()) {
    *settled.request.mutable_options() =
        std::move(*it->second.request.mutable_options());
    pending_.erase(it);
  }
  if (settled_.size() > kRemembered) settled_.pop_front();
}

bool PermissionDesk::pending(std::string_view permission_id) const {
  return pending_.find(permission_id) != pending_.end();
}

std::vector<std::string> PermissionDesk::pending() const {
  std::vector<std::string> ids;
  for (const auto& [id, unused] : pending_) ids.push_back(id);
  return ids;
}

}  // namespace understudy::session
