#include "service/commands.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "service/convert.h"

namespace understudy::service {
namespace {

using session::AgentInfo;
using session::CallId;
using session::ConversationRow;
using session::ModelRow;
using session::Reply;
using session::SessionInfo;

// Default clients refuse messages above 4 MiB.
constexpr size_t kMaxPageBytes = 3 << 20;

// Answers a request that breaks a rule; false if it does not.
template <typename Request, typename Response>
bool Refused(const Request& request, const Rules& rules,
             Answer<Response>& answer) {
  absl::Status status = Check(request, rules);
  if (status.ok()) return false;
  std::move(answer)(std::move(status));
  return true;
}

// The engine's reply, turned into the answer by `convert`.
template <typename Result, typename Response, typename Convert>
Reply<Result> Then(Answer<Response> answer, Convert convert) {
  return [answer = std::move(answer),
          convert = std::move(convert)](absl::StatusOr<Result> result) mutable {
    if (result.ok()) {
      std::move(answer)(convert(*result));
    } else {
      std::move(answer)(result.status());
    }
  };
}

// One page of a list that is all at hand: calls `add` for each of its rows and
// returns the token of the next page, which is the place in the list.
template <typename Request, typename Row, typename Add>
absl::StatusOr<std::string> Paginate(const Request& request,
                                     const std::vector<Row>& rows, Add add) {
  size_t begin = 0;
  if (!request.page_token().empty() &&
      (!absl::SimpleAtoi(request.page_token(), &begin) ||
       begin > rows.size())) {
    return FieldInvalid("page_token", "is not one that this list has given");
  }
  const size_t end =
      std::min(rows.size(), begin + ToPageSize(request.page_size()));
  for (size_t i = begin; i < end; ++i) add(rows[i]);
  return end < rows.size() ? absl::StrCat(end) : "";
}

// Asks for fewer sessions until they fit into a message.
void List(session::SessionManager& manager, session::ListParams params,
          Answer<v1::ListSessionsResponse> answer) {
  manager.ListSessions(
      {}, params,
      [&manager, params, answer = std::move(answer)](
          absl::StatusOr<session::SessionPage> page) mutable {
        if (!page.ok()) return std::move(answer)(page.status());
        v1::ListSessionsResponse response;
        for (const SessionInfo& info : page->sessions) {
          *response.add_sessions() = ToSession(info);
        }
        if (response.ByteSizeLong() > kMaxPageBytes && params.page_size > 1) {
          params.page_size /= 2;
          return List(manager, std::move(params), std::move(answer));
        }
        response.set_next_page_token(page->next_page_token);
        std::move(answer)(std::move(response));
      });
}

}  // namespace

absl::Status UnsupportedError(std::string_view method) {
  const std::string capability(method);
  return MakeError(Reason::kCapabilityMissing,
                   absl::StrCat(capability,
                                " is not available in this version of the"
                                " server"),
                   {{"capability", capability}});
}

Commands::Commands(session::SessionManager& manager, Rules rules)
    : manager_(manager), rules_(std::move(rules)) {}

CallId Commands::CreateSession(const v1::CreateSessionRequest& request,
                               Answer<v1::Session> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.CreateSession(ToCaller(request), ToParams(request, rules_),
                         Then<SessionInfo>(std::move(answer), &ToSession));
  return 0;
}

CallId Commands::GetSession(const v1::GetSessionRequest& request,
                            Answer<v1::Session> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.GetSession({}, LowerUuid(request.session_id()), request.prewarm(),
                      Then<SessionInfo>(std::move(answer), &ToSession));
  return 0;
}

CallId Commands::ListSessions(const v1::ListSessionsRequest& request,
                              Answer<v1::ListSessionsResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  if (auto params = ToParams(request); params.ok()) {
    List(manager_, *std::move(params), std::move(answer));
  } else {
    std::move(answer)(params.status());
  }
  return 0;
}

CallId Commands::UpdateSession(const v1::UpdateSessionRequest& request,
                               Answer<v1::UpdateSessionResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.UpdateSession(
      ToCaller(request), ToParams(request),
      Then<SessionInfo>(std::move(answer), [](const SessionInfo& info) {
        v1::UpdateSessionResponse response;
        *response.mutable_session() = ToSession(info);
        return response;
      }));
  return 0;
}

CallId Commands::DeleteSession(const v1::DeleteSessionRequest& request,
                               Answer<google::protobuf::Empty> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.DeleteSession(ToCaller(request), LowerUuid(request.session_id()),
                         Then<bool>(std::move(answer), [](bool) {
                           return google::protobuf::Empty();
                         }));
  return 0;
}

CallId Commands::SendMessage(const v1::SendMessageRequest& request,
                             Answer<v1::SendMessageResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  return manager_.SendMessage(
      ToCaller(request), ToParams(request),
      Then<session::SendResult>(std::move(answer), [](const auto& result) {
        return ToResponse(result);
      }));
}

template <typename Request>
CallId Commands::Move(const Request& request,
                      Answer<v1::TransitionResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  session::MoveParams params = ToParams(request);
  const std::string session_id = params.session_id;
  return manager_.Move(ToCaller(request), std::move(params),
                       Then<session::MoveResult>(
                           std::move(answer), [session_id](const auto& result) {
                             return ToResponse(session_id, result);
                           }));
}

CallId Commands::SwitchModel(const v1::SwitchModelRequest& request,
                             Answer<v1::TransitionResponse> answer) {
  return Move(request, std::move(answer));
}

CallId Commands::Clear(const v1::ClearRequest& request,
                       Answer<v1::TransitionResponse> answer) {
  return Move(request, std::move(answer));
}

CallId Commands::Resume(const v1::ResumeRequest& request,
                        Answer<v1::TransitionResponse> answer) {
  return Move(request, std::move(answer));
}

CallId Commands::Interrupt(const v1::InterruptRequest& request,
                           Answer<v1::InterruptResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.Interrupt(
      ToCaller(request), LowerUuid(request.session_id()), request.turn_id(),
      Then<session::InterruptResult>(std::move(answer), [](const auto& result) {
        return ToResponse(result);
      }));
  return 0;
}

CallId Commands::ResolvePermission(
    const v1::ResolvePermissionRequest& request,
    Answer<v1::ResolvePermissionResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.ResolvePermission(ToCaller(request), ToParams(request),
                             Then<bool>(std::move(answer), [](bool) {
                               return v1::ResolvePermissionResponse();
                             }));
  return 0;
}

CallId Commands::SetPermissionMode(
    const v1::SetPermissionModeRequest& request,
    Answer<v1::SetPermissionModeResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.SetPermissionMode(
      ToCaller(request), ToParams(request),
      Then<std::string>(std::move(answer), [](const std::string& mode) {
        v1::SetPermissionModeResponse response;
        response.set_permission_mode(mode);
        return response;
      }));
  return 0;
}

CallId Commands::ListAgents(const v1::ListAgentsRequest& request,
                            Answer<v1::ListAgentsResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  std::vector<AgentInfo> agents = manager_.ListAgents();
  std::sort(
      agents.begin(), agents.end(),
      [](const AgentInfo& a, const AgentInfo& b) { return a.name < b.name; });
  v1::ListAgentsResponse response;
  const auto token = Paginate(request, agents, [&](const AgentInfo& agent) {
    *response.add_agents() = ToAgent(agent);
  });
  if (token.ok()) {
    response.set_next_page_token(*token);
    std::move(answer)(std::move(response));
  } else {
    std::move(answer)(token.status());
  }
  return 0;
}

CallId Commands::ListModels(const v1::ListModelsRequest& request,
                            Answer<v1::ListModelsResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  const bool only_agent =
      request.session_id().empty() && request.agent().empty();
  manager_.ListModels(
      {}, LowerUuid(request.session_id()),
      only_agent ? rules_.agents.front() : request.agent(),
      Then<std::vector<ModelRow>>(
          std::move(answer),
          [request](
              const auto& rows) -> absl::StatusOr<v1::ListModelsResponse> {
            v1::ListModelsResponse response;
            const auto token = Paginate(request, rows, [&](const auto& row) {
              *response.add_models() = ToModel(row);
            });
            if (!token.ok()) return token.status();
            response.set_next_page_token(*token);
            return response;
          }));
  return 0;
}

CallId Commands::ListConversations(
    const v1::ListConversationsRequest& request,
    Answer<v1::ListConversationsResponse> answer) {
  if (Refused(request, rules_, answer)) return 0;
  manager_.ListConversations(
      {}, LowerUuid(request.session_id()),
      Then<std::vector<ConversationRow>>(
          std::move(answer),
          [request](const auto& rows)
              -> absl::StatusOr<v1::ListConversationsResponse> {
            v1::ListConversationsResponse response;
            const auto token = Paginate(request, rows, [&](const auto& row) {
              *response.add_conversations() = ToConversation(row);
            });
            if (!token.ok()) return token.status();
            response.set_next_page_token(*token);
            return response;
          }));
  return 0;
}

void Commands::Withdraw(CallId call) {
  if (call != 0) manager_.Withdraw(call);
}

}  // namespace understudy::service
