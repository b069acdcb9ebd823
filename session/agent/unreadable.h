// What model APIs say of a conversation that a model does not take, whichever
// agent passes it on. Pure.

#ifndef UNDERSTUDY_SESSION_AGENT_UNREADABLE_H_
#define UNDERSTUDY_SESSION_AGENT_UNREADABLE_H_

#include <string_view>

namespace understudy::session {

// Whether the text of an error speaks of thinking that another model has
// signed, or that a model wants and does not find.
bool SaysUnreadable(std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_UNREADABLE_H_
