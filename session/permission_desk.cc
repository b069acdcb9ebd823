#include "session/permission_desk.h"

#include <algorithm>
#include <utility>

namespace understudy::session {
namespace {

constexpr size_t kRemembered = 256;

bool Same(const PermissionAnswer& a, const PermissionAnswer& b) {
  return a.decision == b.decision && a.scope == b.scope &&
         a.option_id == b.option_id &&
         a.updated_input_json == b.updated_input_json;
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
    return it->answer.has_value() && Same(*it->answer, answer)
               ? State::kAnsweredSo
               : State::kAnsweredOtherwise;
  }
  return State::kUnknown;
}

PermissionDesk::Decision PermissionDesk::Decide(
    std::string_view permission_id, const PermissionAnswer& answer) const {
  if (answer.option_id.empty()) return {answer.decision, answer.scope};
  const auto it = pending_.find(permission_id);
  if (it == pending_.end()) return {};
  for (const v1::PermissionOption& option : it->second.request.options()) {
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

void PermissionDesk::Close(std::string_view permission_id,
                           const std::optional<PermissionAnswer>& answer) {
  if (auto it = pending_.find(permission_id); it != pending_.end()) {
    pending_.erase(it);
  }
  settled_.push_back({std::string(permission_id), answer});
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
