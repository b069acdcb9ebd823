#include "client/cli/turn_text.h"

#include "client/cli/output.h"

namespace understudy::client {

void TurnText::Add(const v1::TextDelta& delta) {
  if (interrupted_) return;
  Write(delta.text());
  shown_ += delta.text();
}

void TurnText::Add(const v1::Message& message) {
  const std::string& text = message.text();
  if (text.compare(0, shown_.size(), shown_) == 0) {
    Write(std::string_view(text).substr(shown_.size()));
    shown_.clear();
  } else if (shown_.compare(0, text.size(), text) == 0) {
    // A part of what was shown; the next part has more of it.
    shown_.erase(0, text.size());
  } else {
    EndLine();
    Write(text);
    shown_.clear();
  }
  if (message.last_part()) {
    message_ended_ = true;
    interrupted_ = false;
    shown_.clear();
  }
}

void TurnText::EndLine() {
  if (line_open_) out_ << "\n";
  line_open_ = false;
  out_.flush();
}

void TurnText::Write(std::string_view text) {
  if (text.empty()) return;
  if (message_ended_) EndLine();
  message_ended_ = false;
  if (to_terminal_) {
    out_ << Printable(text);
  } else {
    out_ << text;
  }
  line_open_ = text.back() != '\n';
  out_.flush();
}

}  // namespace understudy::client
