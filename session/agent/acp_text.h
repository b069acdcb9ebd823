// AcpText: the message, or thought, that an agent which speaks ACP is writing,
// put together from its chunks. A message ends where the next one begins, by
// its id or its kind, and with whatever else the agent does. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_ACP_TEXT_H_
#define UNDERSTUDY_SESSION_AGENT_ACP_TEXT_H_

#include <optional>
#include <string>
#include <string_view>

#include "session/agent/agent.h"

namespace understudy::session {

class AcpText {
 public:
  // A longer message is told as several.
  static constexpr size_t kMaxBytes = 4 << 20;

  // A chunk. The message before, if it ends with this.
  std::optional<v1::Event> Add(DeltaKind kind, std::string_view message_id,
                               std::string_view text);
  // Ends the message that is being written, if there is one.
  std::optional<v1::Event> End();

  // The text of the last message of the turn, once that has ended.
  const std::string& answer() const { return answer_; }
  void BeginTurn() { answer_.clear(); }

 private:
  DeltaKind kind_ = DeltaKind::kText;
  std::string message_id_;
  std::string text_;
  std::string answer_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_ACP_TEXT_H_
