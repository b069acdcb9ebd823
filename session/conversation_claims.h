// ConversationClaims: which session of this server may have a process in which
// conversation. The store knows what sessions have settled on; this knows also
// of moves under way and of processes that are still ending.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_
#define UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_

#include <map>
#include <string>
#include <string_view>

namespace understudy::session {

class ConversationClaims {
 public:
  // The session that has it: `session_id` itself if it was free.
  const std::string& Claim(std::string_view conversation,
                           const std::string& session_id) {
    return claims_.emplace(conversation, session_id).first->second;
  }

  // Gives up all that `session_id` has, but for `kept`.
  void ReleaseAllBut(const std::string& session_id, std::string_view kept) {
    std::erase_if(claims_, [&](const auto& claim) {
      return claim.second == session_id && claim.first != kept;
    });
  }

 private:
  // Conversation -> session. Two profiles may share the files of one program.
  std::map<std::string, std::string> claims_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_CONVERSATION_CLAIMS_H_
