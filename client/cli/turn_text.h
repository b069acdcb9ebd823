// TurnText: the text of a turn, written as it comes.
//
// Deltas are written at once. The `message` that follows has the whole text: of
// it, only what the deltas have not shown is written; if some of them were
// dropped, the whole of it, on a line of its own. Messages are on lines of
// their own, too. Deltas that come after an interruption may begin anywhere in a
// text: they are left out until the next message.
//
// Threads: one.

#ifndef UNDERSTUDY_CLIENT_CLI_TURN_TEXT_H_
#define UNDERSTUDY_CLIENT_CLI_TURN_TEXT_H_

#include <ostream>
#include <string>
#include <string_view>

#include "understudy/v1/event.pb.h"

namespace understudy::client {

class TurnText {
 public:
  // `to_terminal`: leave control characters out.
  TurnText(std::ostream& out, bool to_terminal)
      : out_(out), to_terminal_(to_terminal) {}

  void Add(const v1::TextDelta& delta);
  void Add(const v1::Message& message);

  // Deltas may have been missed.
  void Interrupted() { interrupted_ = true; }

  // Ends the last line.
  void EndLine();

 private:
  void Write(std::string_view text);

  std::ostream& out_;
  const bool to_terminal_;
  // What deltas have shown and no `message` has confirmed yet.
  std::string shown_;
  bool interrupted_ = false;
  bool message_ended_ = false;
  bool line_open_ = false;
};

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_TURN_TEXT_H_
