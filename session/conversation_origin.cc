#include "session/conversation_origin.h"

#include <algorithm>

#include "session/base/status_macros.h"

namespace understudy::session {
namespace {

constexpr int kPage = 256;

bool HasBeenIn(const SessionRecord& record, const std::string& conversation) {
  return record.agent_session_id() == conversation ||
         std::any_of(record.conversations().begin(),
                     record.conversations().end(),
                     [&](const store::Conversation& one) {
                       return one.agent_session_id() == conversation;
                     });
}

}  // namespace

absl::StatusOr<bool> IsOfOthers(Store& store, const SessionRecord& mine,
                                const std::string& conversation) {
  if (HasBeenIn(mine, conversation)) return false;
  bool of_others = false;
  std::string token;
  do {
    UNDERSTUDY_ASSIGN_OR_RETURN(const Store::Page page,
                                store.List(token, kPage));
    for (const StoredSession& stored : page.sessions) {
      const SessionRecord& other = stored.record;
      if (other.tenant() != mine.tenant() || !HasBeenIn(other, conversation)) {
        continue;
      }
      if (other.agent() == mine.agent() &&
          other.working_directory() == mine.working_directory()) {
        return false;
      }
      of_others = true;
    }
    token = page.next_page_token;
  } while (!token.empty());
  return of_others;
}

}  // namespace understudy::session
