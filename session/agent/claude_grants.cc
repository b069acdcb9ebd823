#include "session/agent/claude_grants.h"

#include <string_view>
#include <utility>

#include "session/agent/agent.h"
#include "session/base/concat.h"

namespace understudy::session {
namespace {

constexpr std::string_view kAllow = "allow:";
constexpr std::string_view kDirectory = "directory:";

// As Claude Code writes a rule down, so that what is in its parentheses cannot
// be taken for another rule.
std::string RuleText(JsonValue rule) {
  std::string text = rule["toolName"].String();
  const std::string content = rule["ruleContent"].String();
  if (text.empty() || content.empty()) return text;
  text.push_back('(');
  for (const char c : content) {
    if (c == '\\' || c == '(' || c == ')') text.push_back('\\');
    text.push_back(c);
  }
  text.push_back(')');
  return text;
}

void Add(std::string_view kind, std::string_view what,
         std::vector<std::string>& grants) {
  std::string grant = Concat({kind, what});
  // One that is too long holds for this process.
  if (what.empty() || grant.size() > Agent::kMaxGrantBytes) return;
  grants.push_back(std::move(grant));
}

// The strings after `kind`, as an array; "" if there are none.
std::string Array(std::string_view kind,
                  const std::vector<std::string>& grants) {
  std::string array;
  for (const std::string& grant : grants) {
    if (grant.size() <= kind.size() || grant.rfind(kind, 0) != 0) continue;
    array.push_back(array.empty() ? '[' : ',');
    AppendJsonString(std::string_view(grant).substr(kind.size()), array);
  }
  if (!array.empty()) array.push_back(']');
  return array;
}

}  // namespace

std::vector<std::string> ClaudeGrants(JsonValue suggestions) {
  std::vector<std::string> grants;
  for (const JsonValue update : suggestions) {
    if (update["type"].Is("addRules") && update["behavior"].Is("allow")) {
      for (const JsonValue rule : update["rules"]) {
        Add(kAllow, RuleText(rule), grants);
      }
    } else if (update["type"].Is("addDirectories")) {
      for (const JsonValue directory : update["directories"]) {
        Add(kDirectory, directory.String(), grants);
      }
    }
  }
  return grants;
}

std::string ClaudeGrantSettings(const std::vector<std::string>& grants) {
  const std::string rules = Array(kAllow, grants);
  const std::string directories = Array(kDirectory, grants);
  if (rules.empty() && directories.empty()) return "";
  return Concat({R"({"permissions":{)", rules.empty() ? "" : R"("allow":)",
                 rules, rules.empty() || directories.empty() ? "" : ",",
                 directories.empty() ? "" : R"("additionalDirectories":)",
                 directories, "}}"});
}

}  // namespace understudy::session
