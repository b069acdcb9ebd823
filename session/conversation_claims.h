// ConversationClaims: which session of this server may have a process in which
// conversation. The store knows what sessions have settled on; this knows also
// of moves under way, of processes that are still ending, and of conversations
// that a process has left and holds on to (shared_conversation false).
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_
#define UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "session/base/event_loop.h"

namespace understudy::session {

class ConversationClaims {
 public:
  // Asks a session to end the process that holds a conversation which it is
  // not in any more; it says whether it does.
  using LetGo = absl::AnyInvocable<bool(const std::string& session_id,
                                        const std::string& conversation)>;

  explicit ConversationClaims(LetGo let_go) : let_go_(std::move(let_go)) {}

  // The session that has it: `session_id` itself if it was free.
  const std::string& Claim(std::string_view conversation,
                           const std::string& session_id) {
    return claims_.emplace(conversation, session_id).first->second;
  }

  // Gives up all that `session_id` has, but for what `keeps` says.
  template <typename Keeps>
  void Release(const std::string& session_id, Keeps keeps) {
    std::vector<Task> free;
    std::erase_if(claims_, [&](const auto& claim) {
      if (claim.second != session_id || keeps(claim.first)) return false;
      if (auto waits = waiting_.extract(claim.first); !waits.empty()) {
        for (Task& task : waits.mapped()) free.push_back(std::move(task));
      }
      return true;
    });
    for (Task& task : free) std::move(task)();
  }

  // Runs `free` once nobody has `conversation`, if whoever has it lets go of
  // it. False if he does not.
  bool AskFor(const std::string& conversation, Task free) {
    const auto it = claims_.find(conversation);
    if (it == claims_.end()) return false;
    // It may be free at once.
    const std::string holder = it->second;
    std::vector<Task>& waiting = waiting_[conversation];
    waiting.push_back(std::move(free));
    if (let_go_(holder, conversation)) return true;
    waiting.pop_back();
    if (waiting.empty()) waiting_.erase(conversation);
    return false;
  }

 private:
  LetGo let_go_;
  // Conversation -> session. Two profiles may share the files of one program.
  std::map<std::string, std::string> claims_;
  std::map<std::string, std::vector<Task>> waiting_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_
