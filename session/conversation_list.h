// Which conversations a session can resume, put together from what it has been
// in, what its agent keeps and what its agent can do. Pure.

#ifndef UNDERSTUDY_SESSION_CONVERSATION_LIST_H_
#define UNDERSTUDY_SESSION_CONVERSATION_LIST_H_

#include <string>
#include <vector>

#include "session/agent/agent.h"
#include "session/calls.h"
#include "session/store/store.h"

namespace understudy::session {

struct KnownConversations {
  // Whether its agents can load any. If not, only what a running one has open.
  bool any = true;
  std::vector<std::string> open{};
  // What the agent itself knows of, of its working directory.
  std::vector<LocalConversation> conversations{};
};

// The newest first.
std::vector<ConversationRow> ConversationList(const SessionRecord& record,
                                              KnownConversations known);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_CONVERSATION_LIST_H_
