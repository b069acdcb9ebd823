// PermissionDesk: the permission requests of one session that wait for an
// answer, and the last answers given.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_PERMISSION_DESK_H_
#define UNDERSTUDY_SESSION_PERMISSION_DESK_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "session/agent/agent.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class PermissionDesk {
 public:
  enum class State { kUnknown, kPending, kAnsweredSo, kAnsweredOtherwise };

  void Open(const v1::PermissionRequested& request,
            std::unique_ptr<EventLoop::Handle> timer);

  // How an answer to `permission_id` stands.
  State Find(std::string_view permission_id,
             const PermissionAnswer& answer) const;

  // The decision that `answer` amounts to: its option's kind, or its own.
  // kUnspecified if it names an option that was not offered.
  struct Decision {
    v1::PermissionDecision decision = v1::PERMISSION_DECISION_UNSPECIFIED;
    v1::PermissionScope scope = v1::PERMISSION_SCOPE_ONCE;
  };
  Decision Decide(std::string_view permission_id,
                  const PermissionAnswer& answer) const;

  // It is settled: by `answer`, or withdrawn (no answer).
  void Close(std::string_view permission_id,
             const std::optional<PermissionAnswer>& answer);

  bool pending(std::string_view permission_id) const;
  std::vector<std::string> pending() const;

 private:
  struct Pending {
    v1::PermissionRequested request;
    std::unique_ptr<EventLoop::Handle> timer;
  };
  struct Settled {
    std::string permission_id;
    v1::PermissionRequested request;  // its options alone
    std::optional<PermissionAnswer> answer;
  };

  std::map<std::string, Pending, std::less<>> pending_;
  std::deque<Settled> settled_;  // the newest, bounded
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_PERMISSION_DESK_H_
