// Check: whether a request keeps the rules of the API, before anything happens.
//
// Errors are FIELD_INVALID with every field that is at fault, named as in the
// request; beside it AGENT_NOT_FOUND for a profile that does not exist. What
// passes is safe to go into an argument list, a path, a log or the store.
//
// Nothing here knows the engine's state: functions are pure, but for
// CreateSession, which looks at the file system. Any thread.

#ifndef UNDERSTUDY_SERVICE_CHECK_H_
#define UNDERSTUDY_SERVICE_CHECK_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {

// What requests are measured against; constant while a server runs.
struct Rules {
  size_t max_text_bytes = 10 << 20;
  // Where sessions may work, symbolic links resolved; empty: anywhere.
  std::vector<std::string> working_directory_roots;
  // The names of the profiles.
  std::vector<std::string> agents;
};

absl::Status Check(const v1::CreateSessionRequest& request, const Rules& rules);
absl::Status Check(const v1::GetSessionRequest& request, const Rules& rules);
absl::Status Check(const v1::ListSessionsRequest& request, const Rules& rules);
absl::Status Check(const v1::UpdateSessionRequest& request, const Rules& rules);
absl::Status Check(const v1::DeleteSessionRequest& request, const Rules& rules);
absl::Status Check(const v1::SendMessageRequest& request, const Rules& rules);
absl::Status Check(const v1::SwitchModelRequest& request, const Rules& rules);
absl::Status Check(const v1::ClearRequest& request, const Rules& rules);
absl::Status Check(const v1::ResumeRequest& request, const Rules& rules);
absl::Status Check(const v1::InterruptRequest& request, const Rules& rules);
absl::Status Check(const v1::ResolvePermissionRequest& request,
                   const Rules& rules);
absl::Status Check(const v1::SetPermissionModeRequest& request,
                   const Rules& rules);
absl::Status Check(const v1::ListAgentsRequest& request, const Rules& rules);
absl::Status Check(const v1::ListModelsRequest& request, const Rules& rules);
absl::Status Check(const v1::ListConversationsRequest& request,
                   const Rules& rules);
absl::Status Check(const v1::WatchEventsRequest& request, const Rules& rules);

// KEY of `labels.KEY` in an update_mask; nothing if the path is no such one.
std::optional<std::string_view> LabelOfPath(std::string_view path);

// The envelope of a command and, for `subscribe` and `unsubscribe`, all of it;
// what the other commands carry is checked as the RPC's own request.
absl::Status Check(const v1::AttachRequest& request, const Rules& rules);

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_CHECK_H_
