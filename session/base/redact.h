// Redact: makes what a child printed fit to be shown.

#ifndef UNDERSTUDY_SESSION_BASE_REDACT_H_
#define UNDERSTUDY_SESSION_BASE_REDACT_H_

#include <string>
#include <string_view>

namespace understudy::session {

// `text` with secrets replaced by "[redacted]" and control characters (but
// newline and tab) escaped as \xNN. Secrets are what looks like one: an API
// key (sk-..., AKIA...), a bearer token, the user information of a URL, and the
// value of a variable or header whose name ends in KEY, TOKEN, SECRET or
// PASSWORD. The result is valid UTF-8, whatever `text` is.
std::string Redact(std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_REDACT_H_
