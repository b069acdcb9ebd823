#include "tests/stress/history.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "proto/error.h"
#include "tests/support/history_checker.h"

namespace understudy::stress {
namespace {

using Json = nlohmann::json;

std::string Text(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>()
                                                   : std::string();
}

AgentEntry ToEntry(const Json& json) {
  AgentEntry entry;
  entry.event = Text(json, "event");
  entry.pid = json.value("pid", 0);
  if (const std::string uuid = Text(json, "uuid"); !uuid.empty()) {
    entry.turns.push_back(uuid);
  }
  if (json.contains("uuids")) {
    for (const Json& uuid : json["uuids"]) entry.turns.push_back(uuid);
  }
  entry.text = Text(json, "text");
  entry.model = Text(json, "model");
  entry.outcome = Text(json, "outcome");
  entry.result = Text(json, "result");
  entry.line = Text(json, "line");
  entry.fault = Text(json, "fault");
  return entry;
}

class Checker {
 public:
  explicit Checker(const SessionHistory& history) : history_(history) {}

  std::vector<std::string> Check() {
    for (const v1::Event& event : history_.stored) Index(event);
    for (std::string& one :
         session::CheckHistory(history_.stored, /*settled=*/true)) {
      Broken(one);
    }
    CheckSeen();
    for (const Call& call : history_.calls) CheckCall(call);
    CheckEmitted();
    CheckDeliveries();
    return broken_;
  }

 private:
  struct Turn {
    const v1::Event* accepted = nullptr;
    const v1::Event* started = nullptr;
    const v1::Event* completed = nullptr;
    // In effect when it ended. A message whose agent dies before it is sent
    // goes to the next one, and that may have another model than its
    // turn_started says.
    std::string model;
  };

  void Broken(std::string what) { broken_.push_back(std::move(what)); }

  void Index(const v1::Event& event) {
    if (event.has_message_accepted()) {
      turns_[event.turn_id()].accepted = &event;
      const std::string& id = event.message_accepted().request_id();
      if (!id.empty() && !accepted_.emplace(id, &event).second) {
        Broken(absl::StrCat("request ", id, " was accepted twice"));
      }
    }
    if (event.has_turn_started()) turns_[event.turn_id()].started = &event;
    if (event.has_session_created()) model_ = event.session_created().model();
    if (event.has_model_changed()) model_ = event.model_changed().model();
    if (event.has_turn_completed()) {
      Turn& turn = turns_[event.turn_id()];
      turn.completed = &event;
      turn.model = model_;
    }
    if (event.has_agent_started()) {
      pids_[event.incarnation()] = event.agent_started().pid();
    }
  }

  const v1::Event* At(uint64_t sequence) const {
    return sequence >= 1 && sequence <= history_.stored.size()
               ? &history_.stored[sequence - 1]
               : nullptr;
  }

  // --- b ---

  void CheckSeen() {
    uint64_t last = 0;
    for (const v1::Event& event : history_.seen) {
      if (event.sequence() != last + 1) {
        Broken(
            absl::StrCat("a reader saw ", event.sequence(), " after ", last));
      }
      last = event.sequence();
      const v1::Event* const stored = At(last);
      if (stored == nullptr) {
        Broken(absl::StrCat("a reader saw ", last, ", which is not stored"));
        continue;
      }
      v1::Event plain = *stored;
      if (!plain.has_unknown()) plain.clear_raw();
      plain.clear_truncated_bytes();
      v1::Event seen = event;
      seen.clear_truncated_bytes();
      if (plain.SerializeAsString() != seen.SerializeAsString()) {
        Broken(absl::StrCat("a reader saw another event at ", last));
      }
    }
    if (last < history_.stored.size()) {
      Broken(absl::StrCat("a reader saw only ", last, " of ",
                          history_.stored.size(), " events"));
    }
  }

  void CheckCall(const Call& call) {
    const std::string name = absl::StrCat("request ", call.request_id);
    const std::optional<Reason> reason = ReasonOf(call.status);
    switch (call.status.code()) {
      case absl::StatusCode::kDeadlineExceeded:
        return Broken(absl::StrCat(name, " was not answered in time"));
      case absl::StatusCode::kInternal:
        // An agent that talks nonsense or closes its output is not our error.
        if (reason == Reason::kAgentProtocol) break;
        [[fallthrough]];
      case absl::StatusCode::kUnknown:
      case absl::StatusCode::kDataLoss:
        return Broken(absl::StrCat(name, ": ", call.status.ToString()));
      default:
        break;
    }
    if (reason == Reason::kQueueFull && accepted_.contains(call.request_id)) {
      Broken(absl::StrCat(name, " was refused, and accepted"));
    }
    if (!call.status.ok()) return;
    if (call.kind == Call::Kind::kSend) return CheckSent(call, name);
    if (call.kind == Call::Kind::kInterrupt) {
      if (call.interrupted.interrupted() &&
          turns_[call.interrupted.turn_id()].completed == nullptr) {
        Broken(absl::StrCat(name, ": the interrupted turn has no end"));
      }
      return;
    }
    CheckMoved(call, name);
  }

  void CheckSent(const Call& call, const std::string& name) {
    const v1::Event* const event = At(call.sent.sequence());
    if (event == nullptr || !event->has_message_accepted() ||
        event->turn_id() != call.sent.turn_id() ||
        event->message_accepted().request_id() != call.request_id ||
        event->message_accepted().text() != call.text) {
      return Broken(absl::StrCat(name, ": its message_accepted is lost"));
    }
    if (call.sent.outcome() == v1::TURN_OUTCOME_UNSPECIFIED) return;
    const v1::Event* const completed = turns_[call.sent.turn_id()].completed;
    if (completed == nullptr ||
        completed->turn_completed().outcome() != call.sent.outcome() ||
        completed->turn_completed().text() != call.sent.text()) {
      Broken(absl::StrCat(name, " was told another end of its turn"));
    }
  }

  void CheckMoved(const Call& call, const std::string& name) {
    if (!call.moved.changed()) return;
    const v1::Event* const event = At(call.moved.sequence());
    if (event == nullptr) {
      return Broken(absl::StrCat(name, ": the event of its change is lost"));
    }
    const bool fits =
        event->has_model_changed()
            ? event->model_changed().model() == call.moved.model()
        : event->has_conversation_cleared()
            ? event->conversation_cleared().agent_session_id() ==
                  call.moved.agent_session_id()
            : event->has_conversation_resumed() &&
                  event->conversation_resumed().agent_session_id() ==
                      call.moved.agent_session_id();
    if (!fits) {
      Broken(absl::StrCat(name, " was told another change than ",
                          event->ShortDebugString()));
    }
  }

  // --- c ---

  void CheckEmitted() {
    std::map<int, std::vector<const std::string*>> written;
    for (const AgentEntry& entry : history_.agents) {
      if (entry.event == "line") written[entry.pid].push_back(&entry.line);
    }
    std::map<int, size_t> next;
    for (const v1::Event& event : history_.stored) {
      if (event.synthetic() || event.raw().empty()) continue;
      if (event.truncated_bytes() > 0) continue;
      const int pid = pids_[event.incarnation()];
      const std::vector<const std::string*>& lines = written[pid];
      size_t& at = next[pid];
      size_t found = at;
      while (found < lines.size() && *lines[found] != event.raw()) ++found;
      if (found == lines.size()) {
        Broken(absl::StrCat("at ", event.sequence(), ": process ", pid,
                            " wrote no such line there: ", event.raw()));
      } else {
        at = found + 1;
      }
    }
  }

  // --- e, f ---

  void CheckDeliveries() {
    std::map<std::string, std::vector<const AgentEntry*>> got;
    std::map<std::string, std::vector<const AgentEntry*>> ended;
    std::vector<session::FakeDelivery> deliveries;
    for (const AgentEntry& entry : history_.agents) {
      if (entry.event != "user" && entry.event != "turn") continue;
      for (const std::string& id : entry.turns) {
        (entry.event == "user" ? got : ended)[id].push_back(&entry);
        if (entry.event == "user") {
          deliveries.push_back({.turn_id = id, .text = entry.text});
        }
      }
    }
    for (std::string& one :
         session::CheckDeliveries(history_.stored, deliveries)) {
      Broken(one);
    }
    for (const auto& [id, turn] : turns_) {
      if (turn.completed == nullptr || turn.accepted == nullptr) continue;
      const v1::TurnCompleted& completed = turn.completed->turn_completed();
      if (completed.delivered() == v1::DELIVERED_YES && got[id].empty()) {
        Broken(absl::StrCat("turn ", id, " is told delivered, and was not"));
      }
      CheckEnd(id, turn, completed, ended[id]);
    }
  }

  void CheckEnd(const std::string& id, const Turn& turn,
                const v1::TurnCompleted& completed,
                const std::vector<const AgentEntry*>& ended) {
    if (completed.outcome() == v1::TURN_OUTCOME_SUCCEEDED &&
        (ended.size() != 1 || ended[0]->outcome != "ok" ||
         ended[0]->result != completed.text())) {
      Broken(
          absl::StrCat("turn ", id, " is told another end than its agent's"));
    }
    if (turn.started == nullptr || ended.empty()) return;
    if (turn.model != ended[0]->model) {
      Broken(absl::StrCat("turn ", id, " ran on ", ended[0]->model,
                          "; the log says ", turn.model));
    }
  }

  const SessionHistory& history_;
  std::vector<std::string> broken_;
  std::string model_;
  std::map<std::string, Turn> turns_;
  std::map<std::string, const v1::Event*> accepted_;  // by request_id
  std::map<uint64_t, int> pids_;                      // by incarnation
};

}  // namespace

std::vector<AgentEntry> ReadAgentLog(std::string_view text) {
  std::vector<AgentEntry> entries;
  for (absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n',
                      absl::SkipEmpty())) {
    Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    // An agent that is killed in the middle leaves half a line, and the next
    // one goes on behind it.
    while (json.is_discarded()) {
      const size_t next = line.find("{\"time\":", 1);
      if (next == line.npos) break;
      line.remove_prefix(next);
      json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    }
    if (json.is_object()) entries.push_back(ToEntry(json));
  }
  return entries;
}

std::vector<std::string> CheckSession(const SessionHistory& history) {
  return Checker(history).Check();
}

}  // namespace understudy::stress
