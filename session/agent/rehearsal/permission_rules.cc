#include "session/agent/rehearsal/permission_rules.h"

#include <algorithm>
#include <string_view>

namespace understudy::session {
namespace {

bool Matches(std::string_view rule, const std::string& tool,
             const std::string& subject) {
  if (rule.substr(0, tool.size()) != tool) return false;
  rule.remove_prefix(tool.size());
  if (rule.empty()) return true;
  if (rule.front() != '(') return false;
  rule = rule.substr(1, rule.size() - 2);
  if (rule.size() < 2 || rule.substr(rule.size() - 2) != " *") {
    return rule == subject;
  }
  rule.remove_suffix(2);
  return std::string_view(subject).substr(0, rule.size()) == rule;
}

}  // namespace

std::string SubjectOf(const Json& input) {
  std::string command = GetString(input, "command");
  return command.empty() ? GetString(input, "file_path") : command;
}

bool AnyMatches(const std::set<std::string>& rules, const std::string& tool,
                const Json& input) {
  const std::string subject = SubjectOf(input);
  return std::any_of(rules.begin(), rules.end(), [&](const std::string& rule) {
    return Matches(rule, tool, subject);
  });
}

bool IsEdit(const std::string& tool) {
  return tool == "Edit" || tool == "Write" || tool == "NotebookEdit";
}

bool IsAllowed(const Conversation& c, const std::string& tool,
               const Json& input) {
  return c.permission_mode == "bypassPermissions" ||
         c.permission_mode == "auto" ||
         (c.permission_mode == "acceptEdits" && IsEdit(tool)) ||
         AnyMatches(c.allowed_tools, tool, input);
}

}  // namespace understudy::session
