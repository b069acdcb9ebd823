#include "tests/support/history_checker.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"

namespace understudy::session {
namespace {

struct TurnHistory {
  bool accepted = false;
  bool started = false;
  bool completed = false;
  bool unsolicited = false;
};

class Checker {
 public:
  explicit Checker(bool settled) : settled_(settled) {}

  std::vector<std::string> Check(const std::vector<v1::Event>& events) {
    for (const v1::Event& event : events) {
      Envelope(event);
      Turn(event);
      Model(event);
      Process(event);
      Conversation(event);
      Permission(event);
      last_ = event.sequence();
    }
    if (!settled_) return broken_;
    for (const auto& [id, turn] : turns_) {
      if (!turn.completed) Broken(absl::StrCat("turn ", id, " has no end"));
    }
    for (const pid_t pid : live_) {
      Broken(absl::StrCat("process ", pid, " has no agent_exited"));
    }
    for (const std::string& id : asked_) {
      Broken(absl::StrCat("permission ", id, " was never settled"));
    }
    return broken_;
  }

 private:
  void Broken(const std::string& what) {
    broken_.push_back(absl::StrCat("at ", last_ + 1, ": ", what));
  }

  void Envelope(const v1::Event& event) {
    if (event.sequence() != last_ + 1) {
      Broken(absl::StrCat("sequence ", event.sequence(), " follows ", last_));
    }
    if (event.epoch() < epoch_) Broken("the epoch goes back");
    if (event.incarnation() < incarnation_) Broken("the incarnation goes back");
    epoch_ = event.epoch();
    incarnation_ = event.incarnation();
    if (event.sequence() == 1 && !event.has_session_created()) {
      Broken("the log does not begin with session_created");
    }
  }

  void Turn(const v1::Event& event) {
    if (event.turn_id().empty()) return;
    TurnHistory& turn = turns_[event.turn_id()];
    if (turn.completed) Broken("an event of a turn after its turn_completed");
    if (event.has_message_accepted()) {
      if (turn.accepted || turn.started) Broken("message_accepted comes late");
      turn.accepted = true;
      return;
    }
    if (event.has_turn_started()) {
      turn.unsolicited = event.turn_started().unsolicited();
      if (turn.started) Broken("a second turn_started");
      if (turn.accepted == turn.unsolicited) {
        Broken("turn_started without its message_accepted");
      }
      turn.started = true;
      if (event.turn_started().model() != model_) {
        Broken(absl::StrCat("turn_started names the model ",
                            event.turn_started().model(), ", in effect is ",
                            model_));
      }
      return;
    }
    if (event.has_turn_completed()) {
      turn.completed = true;
      if (!turn.accepted && !turn.unsolicited) {
        Broken("turn_completed of an unknown turn");
      }
      const v1::TurnCompleted& completed = event.turn_completed();
      if (!turn.started && completed.delivered() != v1::DELIVERED_NO) {
        Broken("a turn that never started was delivered");
      }
      const bool fine = completed.outcome() == v1::TURN_OUTCOME_SUCCEEDED ||
                        completed.outcome() == v1::TURN_OUTCOME_INTERRUPTED;
      if (fine == completed.has_error()) Broken("error and outcome disagree");
      return;
    }
    if (!turn.started) Broken("an event of a turn before its turn_started");
  }

  void Model(const v1::Event& event) {
    if (event.has_session_created()) model_ = event.session_created().model();
    if (event.has_agent_started()) {
      // The agent may name by another word what is in effect.
      model_ = event.agent_started().model();
    }
    if (!event.has_model_changed()) return;
    const v1::ModelChanged& changed = event.model_changed();
    if (changed.previous_model() != model_) {
      Broken(absl::StrCat("model_changed from ", changed.previous_model(),
                          ", in effect is ", model_));
    }
    if (changed.previous_model() == changed.model()) {
      Broken("model_changed without a change");
    }
    model_ = changed.model();
  }

  void Process(const v1::Event& event) {
    if (event.has_agent_started()) {
      // A pid comes again, an incarnation does not.
      if (!all_.insert(event.incarnation()).second) {
        Broken("an incarnation starts twice");
      }
      if (!live_.insert(event.agent_started().pid()).second) {
        Broken("a process that serves starts to serve");
      }
    }
    if (event.has_agent_exited() &&
        live_.erase(event.agent_exited().pid()) != 1) {
      Broken(absl::StrCat("agent_exited of ", event.agent_exited().pid(),
                          ", which does not serve"));
    }
  }

  void Conversation(const v1::Event& event) {
    std::string before;
    std::string after;
    if (event.has_conversation_cleared()) {
      before = event.conversation_cleared().previous_agent_session_id();
      after = event.conversation_cleared().agent_session_id();
    } else if (event.has_conversation_resumed()) {
      before = event.conversation_resumed().previous_agent_session_id();
      after = event.conversation_resumed().agent_session_id();
    } else {
      return;
    }
    if (before == after) Broken("a conversation changed into itself");
  }

  void Permission(const v1::Event& event) {
    if (event.has_permission_requested()) {
      asked_.insert(event.permission_requested().permission_id());
    }
    if (event.has_permission_resolved() &&
        asked_.erase(event.permission_resolved().permission_id()) != 1) {
      Broken("permission_resolved of a request that is not open");
    }
  }

  const bool settled_;
  std::vector<std::string> broken_;
  uint64_t last_ = 0;
  uint64_t epoch_ = 0;
  uint64_t incarnation_ = 0;
  std::string model_;
  std::map<std::string, TurnHistory> turns_;
  std::set<uint64_t> all_;
  std::set<pid_t> live_;
  std::set<std::string> asked_;
};

}  // namespace

std::vector<std::string> CheckHistory(const std::vector<v1::Event>& events,
                                      bool settled) {
  return Checker(settled).Check(events);
}

std::vector<std::string> CheckDeliveries(
    const std::vector<v1::Event>& events,
    const std::vector<FakeDelivery>& deliveries) {
  std::vector<std::string> broken;
  std::map<std::string, std::vector<const FakeDelivery*>> by_turn;
  for (const FakeDelivery& delivery : deliveries) {
    by_turn[delivery.turn_id].push_back(&delivery);
  }
  // Nobody sent a turn that an agent began by itself.
  std::set<std::string> accepted;
  for (const v1::Event& event : events) {
    if (event.has_message_accepted()) accepted.insert(event.turn_id());
    const std::vector<const FakeDelivery*>& got = by_turn[event.turn_id()];
    if (got.size() > 1) {
      broken.push_back(
          absl::StrCat("turn ", event.turn_id(), " was delivered twice"));
    }
    if (event.has_turn_started() && !event.turn_started().unsolicited() &&
        !got.empty() && got[0]->text != event.turn_started().text()) {
      broken.push_back(absl::StrCat("turn ", event.turn_id(),
                                    " was delivered with another text"));
    }
    if (!event.has_turn_completed()) continue;
    const v1::TurnCompleted& completed = event.turn_completed();
    if (completed.delivered() == v1::DELIVERED_NO && !got.empty()) {
      broken.push_back(absl::StrCat("turn ", event.turn_id(),
                                    " is told undelivered, and was not"));
    }
    if (completed.outcome() == v1::TURN_OUTCOME_SUCCEEDED && got.empty() &&
        accepted.contains(event.turn_id()) && !completed.text().empty()) {
      broken.push_back(absl::StrCat("turn ", event.turn_id(),
                                    " succeeded without a delivery"));
    }
  }
  return broken;
}

}  // namespace understudy::session
