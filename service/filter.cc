#include "service/filter.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/id.h"

namespace understudy::service {
namespace {

using session::ListParams;
using session::SessionState;

constexpr size_t kMaxFilterBytes = 4096;

absl::Status Invalid(std::string_view description) {
  return FieldInvalid("filter", description);
}

// Removes `prefix` from the front of `text` if it is there.
bool Consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::optional<SessionState> ToState(std::string_view name) {
  if (name == "DORMANT") return SessionState::kDormant;
  if (name == "IDLE") return SessionState::kIdle;
  if (name == "RUNNING") return SessionState::kRunning;
  if (name == "TRANSITIONING") return SessionState::kTransitioning;
  return std::nullopt;
}

void SkipSpaces(std::string_view& rest) {
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
}

// Reads a value from the front of `rest`.
std::optional<std::string> ReadValue(std::string_view& rest) {
  std::string value;
  if (rest.empty() || rest.front() != '"') {
    while (!rest.empty() && rest.front() != ' ') {
      if (rest.front() == '"') return std::nullopt;
      value.push_back(rest.front());
      rest.remove_prefix(1);
    }
    if (value.empty()) return std::nullopt;
    return value;
  }
  rest.remove_prefix(1);
  while (!rest.empty() && rest.front() != '"') {
    if (rest.front() == '\\') rest.remove_prefix(1);
    if (rest.empty()) return std::nullopt;
    value.push_back(rest.front());
    rest.remove_prefix(1);
  }
  if (rest.empty()) return std::nullopt;
  rest.remove_prefix(1);
  if (!rest.empty() && rest.front() != ' ') return std::nullopt;
  return value;
}

absl::Status Take(std::string_view field, std::string value,
                  ListParams& params) {
  if (field == "agent") {
    if (!params.agent.empty()) return Invalid("names agent twice");
    if (!session::IsId(value)) {
      return Invalid("agent= must be followed by a profile's name");
    }
    params.agent = std::move(value);
    return absl::OkStatus();
  }
  if (field == "state") {
    if (params.state.has_value()) return Invalid("names state twice");
    std::string_view name = value;
    Consume(name, "SESSION_STATE_");
    params.state = ToState(name);
    if (!params.state.has_value()) {
      return Invalid(
          "state= must be followed by DORMANT, IDLE, RUNNING or TRANSITIONING");
    }
    return absl::OkStatus();
  }
  if (Consume(field, "label.") && session::IsId(field)) {
    if (!params.labels.emplace(field, std::move(value)).second) {
      return Invalid(
          absl::StrCat("names label.", std::string(field), " twice"));
    }
    return absl::OkStatus();
  }
  return Invalid("a term must begin with agent=, state= or label.KEY=");
}

}  // namespace

absl::StatusOr<ListParams> ParseFilter(std::string_view filter) {
  if (filter.size() > kMaxFilterBytes) {
    return Invalid(absl::StrCat("must not exceed ", kMaxFilterBytes, " bytes"));
  }
  ListParams params;
  std::string_view rest = filter;
  SkipSpaces(rest);
  for (bool first = true; !rest.empty(); first = false) {
    if (!first && Consume(rest, "AND ")) SkipSpaces(rest);
    const size_t equals = rest.find('=');
    if (equals == rest.npos) {
      return Invalid("must be terms FIELD=VALUE, separated by spaces");
    }
    const std::string_view field = rest.substr(0, equals);
    rest.remove_prefix(equals + 1);
    std::optional<std::string> value = ReadValue(rest);
    if (!value.has_value()) {
      return Invalid(
          "has a term without a value, or a quote that does not end");
    }
    if (absl::Status status = Take(field, *std::move(value), params);
        !status.ok()) {
      return status;
    }
    SkipSpaces(rest);
  }
  return params;
}

}  // namespace understudy::service
