#include "session/agent/rehearsal/api_error.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_cat.h"

namespace understudy::session {

int RetriesAfter(int status) {
  if (status != 401 && status != 429 && status < 500) return 0;
  const char* value = getenv("CLAUDE_CODE_MAX_RETRIES");
  return value != nullptr ? std::clamp(atoi(value), 0, 10) : 2;
}

std::string BlindModelError(const Conversation& c, const std::string& model) {
  const std::string& author = c.transcript.last_model();
  const std::vector<std::string>& blind = c.options.blind_models;
  if (author.empty() || author == model ||
      std::find(blind.begin(), blind.end(), model) == blind.end()) {
    return "";
  }
  return "API Error: 400 messages.1.content.0: Invalid `signature` in "
         "`thinking` block";
}

std::string ScriptedError(int status) {
  return absl::StrCat(status == 401 ? "Failed to authenticate. " : "",
                      "API Error: ", status, " scripted failure");
}

}  // namespace understudy::session
