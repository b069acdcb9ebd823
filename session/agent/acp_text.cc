#include "session/agent/acp_text.h"

#include <utility>

namespace understudy::session {

std::optional<v1::Event> AcpText::Add(DeltaKind kind,
                                      std::string_view message_id,
                                      std::string_view text) {
  std::optional<v1::Event> before;
  if (kind != kind_ || message_id != message_id_ ||
      text_.size() + text.size() > kMaxBytes) {
    before = End();
  }
  kind_ = kind;
  message_id_ = message_id;
  text_.append(text);
  return before;
}

std::optional<v1::Event> AcpText::End() {
  if (text_.empty()) return std::nullopt;
  v1::Event event;
  std::string text = std::exchange(text_, {});
  if (kind_ == DeltaKind::kThought) {
    event.mutable_thought()->set_text(std::move(text));
  } else {
    answer_ = text;
    event.mutable_message()->set_text(std::move(text));
  }
  return event;
}

}  // namespace understudy::session
