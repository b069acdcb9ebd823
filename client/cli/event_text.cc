#include "client/cli/event_text.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/output.h"

namespace understudy::client {
namespace {

constexpr size_t kMaxDetail = 400;

std::string Change(const std::string& before, const std::string& after) {
  const auto name = [](const std::string& text) {
    return text.empty() ? std::string("-") : text;
  };
  return absl::StrCat(name(before), " -> ", name(after));
}

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", OneLine(text), "\"");
}

std::string PartText(int part, bool last_part) {
  return part > 1 || !last_part ? absl::StrCat(" (part ", part, ")") : "";
}

std::string Detail(const v1::MessageAccepted& event) {
  if (event.has_content()) {
    return absl::StrCat(event.content().parts_size(), " parts");
  }
  return Quoted(event.text());
}

std::string Detail(const v1::TurnStarted& event) {
  return absl::StrCat(event.model(), event.unsolicited() ? " unsolicited" : "");
}

std::string Detail(const v1::Message& event) {
  return Quoted(event.text()) + PartText(event.part(), event.last_part());
}

std::string Detail(const v1::Thought& event) {
  return Quoted(event.text()) + PartText(event.part(), event.last_part());
}

std::string Detail(const v1::ToolCall& event) {
  return absl::StrCat(
      event.tool_call_id(), " ", event.name(), " ", EnumText(event.status()),
      " ", OneLine(event.title().empty() ? event.input_json() : event.title()));
}

std::string Detail(const v1::ToolResult& event) {
  return absl::StrCat(event.tool_call_id(), event.is_error() ? " error" : "",
                      " ", Quoted(event.output()),
                      PartText(event.part(), event.last_part()));
}

std::string Detail(const v1::PermissionRequested& event) {
  return absl::StrCat(
      event.permission_id(), " ", event.tool_name(), " ",
      OneLine(event.description().empty() ? event.input_json()
                                          : event.description()));
}

std::string Detail(const v1::PermissionResolved& event) {
  return absl::StrCat(
      event.permission_id(), " ",
      event.withdrawn() ? "withdrawn" : EnumText(event.decision()), " ",
      EnumText(event.scope()), " by ", EnumText(event.by()));
}

std::string Detail(const v1::Plan& event) {
  return absl::StrJoin(event.entries(), "; ",
                       [](std::string* out, const v1::PlanEntry& entry) {
                         absl::StrAppend(out, OneLine(entry.content()), " [",
                                         entry.status(), "]");
                       });
}

std::string Detail(const v1::TurnCompleted& event) {
  return OutcomeText(event.outcome(), event.error());
}

std::string Detail(const v1::ModelChanged& event) {
  return absl::StrCat(Change(event.previous_model(), event.model()), ", ",
                      EnumText(event.route()),
                      event.verified() ? ", verified" : ", not verified",
                      ", by ", EnumText(event.cause()), ", ",
                      DurationText(event.elapsed()));
}

// Of conversation_cleared and conversation_resumed.
template <typename Transition>
std::string ConversationText(const Transition& event) {
  return absl::StrCat(
      Change(event.previous_agent_session_id(), event.agent_session_id()), ", ",
      EnumText(event.route()), ", by ", EnumText(event.cause()), ", ",
      DurationText(event.elapsed()));
}

std::string Detail(const v1::TransitionFailed& event) {
  return absl::StrCat(EnumText(event.operation()), " ", event.reason(), ": ",
                      OneLine(event.message()), ", now ",
                      EnumText(event.state()));
}

std::string Detail(const v1::AgentStarted& event) {
  return absl::StrCat("pid ", event.pid(), ", ", event.agent_version(), " ",
                      event.model(), ", ", EnumText(event.route()));
}

std::string Detail(const v1::AgentExited& event) {
  std::string text =
      absl::StrCat("pid ", event.pid(), ", ", EnumText(event.cause()));
  if (event.signal() != 0) {
    absl::StrAppend(&text, ", signal ", event.signal());
  } else if (event.exit_code() != 0) {
    absl::StrAppend(&text, ", exit code ", event.exit_code());
  }
  if (!event.expected() && !event.stderr_tail().empty()) {
    absl::StrAppend(&text, ": ", OneLine(event.stderr_tail()));
  }
  return text;
}

std::string Detail(const v1::Event& event) {
  switch (event.payload_case()) {
    case v1::Event::kTextDelta:
      return Quoted(event.text_delta().text());
    case v1::Event::kThoughtDelta:
      return Quoted(event.thought_delta().text());
    case v1::Event::kToolOutputDelta:
      return absl::StrCat(event.tool_output_delta().tool_call_id(), " ",
                          Quoted(event.tool_output_delta().text()));
    case v1::Event::kMessage:
      return Detail(event.message());
    case v1::Event::kThought:
      return Detail(event.thought());
    case v1::Event::kTurnStarted:
      return Detail(event.turn_started());
    case v1::Event::kTurnCompleted:
      return Detail(event.turn_completed());
    case v1::Event::kPlan:
      return Detail(event.plan());
    case v1::Event::kToolCall:
      return Detail(event.tool_call());
    case v1::Event::kToolResult:
      return Detail(event.tool_result());
    case v1::Event::kPermissionRequested:
      return Detail(event.permission_requested());
    case v1::Event::kUsage:
      return UsageText(event.usage());
    case v1::Event::kNotice:
      return absl::StrCat(EnumText(event.notice().kind()), " ",
                          OneLine(event.notice().message()));
    case v1::Event::kUnknown:
      return event.unknown().type();
    case v1::Event::kSessionCreated:
      return absl::StrCat(event.session_created().agent(), " ",
                          event.session_created().model(), " ",
                          event.session_created().working_directory());
    case v1::Event::kMessageAccepted:
      return Detail(event.message_accepted());
    case v1::Event::kModelChanged:
      return Detail(event.model_changed());
    case v1::Event::kConversationCleared:
      return ConversationText(event.conversation_cleared());
    case v1::Event::kConversationResumed:
      return absl::StrCat(
          ConversationText(event.conversation_resumed()), ", context ",
          EnumText(event.conversation_resumed().context_restored()));
    case v1::Event::kTransitionFailed:
      return Detail(event.transition_failed());
    case v1::Event::kPermissionResolved:
      return Detail(event.permission_resolved());
    case v1::Event::kAgentStarted:
      return Detail(event.agent_started());
    case v1::Event::kAgentExited:
      return Detail(event.agent_exited());
    case v1::Event::kOwnerChanged:
      return absl::StrCat(event.owner_changed().node(), ", epoch ",
                          event.owner_changed().epoch());
    case v1::Event::kGap:
      return absl::StrCat(event.gap().missing_from(), " to ",
                          event.gap().missing_to(), " are no longer retained");
    case v1::Event::kHistoryTruncated:
      return absl::StrCat("begins with ",
                          event.history_truncated().from_sequence());
    case v1::Event::kSessionDeleted:
    case v1::Event::PAYLOAD_NOT_SET:
      return "";
  }
  return "";
}

// The name of what is set, as in the schema; "?" if it is newer than that.
std::string KindOf(const v1::Event& event) {
  const auto* field = v1::Event::descriptor()->FindFieldByNumber(
      static_cast<int>(event.payload_case()));
  return field == nullptr ? "?" : field->name();
}

}  // namespace

std::string EventText(const v1::Event& event) {
  const std::string sequence =
      event.sequence() > 0 ? absl::StrCat(event.sequence()) : "-";
  const std::string time =
      event.has_time()
          ? absl::FormatTime("%H:%M:%E3S",
                             absl::FromUnixSeconds(event.time().seconds()) +
                                 absl::Nanoseconds(event.time().nanos()),
                             absl::LocalTimeZone())
          : "";
  std::string line =
      absl::StrFormat("%6s  %-12s  %-20s  %s", sequence, time, KindOf(event),
                      OneLine(Detail(event), kMaxDetail));
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string UsageText(const v1::Usage& usage) {
  std::string text = absl::StrCat("in ", usage.input_tokens(), ", out ",
                                  usage.output_tokens());
  if (usage.cache_read_tokens() > 0 || usage.cache_write_tokens() > 0) {
    absl::StrAppend(&text, ", cache ", usage.cache_read_tokens(), " read, ",
                    usage.cache_write_tokens(), " written");
  }
  if (usage.cost_usd() > 0) {
    absl::StrAppendFormat(&text, ", $%.4f", usage.cost_usd());
  }
  return text;
}

std::string OutcomeText(v1::TurnOutcome outcome, const v1::TurnError& error) {
  std::string text = EnumText(outcome);
  if (!error.reason().empty()) absl::StrAppend(&text, " ", error.reason());
  if (!error.message().empty()) absl::StrAppend(&text, ": ", error.message());
  return text;
}

}  // namespace understudy::client
