#include "session/conversation_list.h"

#include <algorithm>
#include <set>
#include <utility>

#include "google/protobuf/util/time_util.h"

namespace understudy::session {

std::vector<ConversationRow> ConversationList(const SessionRecord& record,
                                              KnownConversations known) {
  std::vector<ConversationRow> rows;
  std::set<std::string> seen;
  for (const store::Conversation& one : record.conversations()) {
    seen.insert(one.agent_session_id());
    rows.push_back(
        {.agent_session_id = one.agent_session_id(),
         .update_time = absl::FromUnixNanos(
             google::protobuf::util::TimeUtil::TimestampToNanoseconds(
                 one.update_time())),
         .first_prompt = one.first_prompt()});
  }
  for (LocalConversation& one : known.conversations) {
    if (!seen.insert(one.agent_session_id).second) continue;
    rows.push_back({.agent_session_id = std::move(one.agent_session_id),
                    .update_time = one.update_time,
                    .first_prompt = std::move(one.first_prompt)});
  }
  if (!known.any) {
    std::erase_if(rows, [&](const ConversationRow& row) {
      return std::find(known.open.begin(), known.open.end(),
                       row.agent_session_id) == known.open.end();
    });
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ConversationRow& a, const ConversationRow& b) {
                     return a.update_time > b.update_time;
                   });
  return rows;
}

}  // namespace understudy::session
