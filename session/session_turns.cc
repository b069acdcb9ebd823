// Messages and turns: their way from the call to the agent, and their end.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "session/base/log.h"
#include "session/base/utf8.h"
#include "session/event_codec.h"
#include "session/session.h"

namespace understudy::session {
namespace {

// An agent's own words about the end of a turn.
constexpr size_t kMaxWordsBytes = 16 << 10;

bool HasImage(const v1::Content* content) {
  return content != nullptr &&
         std::any_of(content->parts().begin(), content->parts().end(),
                     [](const v1::Part& part) { return part.has_image(); });
}

// As an event shows it.
v1::Content WithoutImages(const v1::Content& content) {
  v1::Content shown;
  for (const v1::Part& part : content.parts()) {
    v1::Part& copy = *shown.add_parts();
    if (part.has_image()) {
      copy.mutable_image()->set_mime_type(part.image().mime_type());
    } else {
      copy.set_text(part.text());
    }
  }
  return shown;
}

absl::Status NoImages(const std::string& session_id) {
  return MakeError(Reason::kCapabilityMissing,
                   absl::StrCat("send a message to session ", session_id,
                                ": its agent takes no images"),
                   {{"capability", "images"}});
}

// What the event tells of how an agent was lost, for a later answer.
absl::Status LossOf(const v1::AgentExited& exited) {
  ErrorMetadata metadata;
  if (exited.signal() != 0) {
    metadata["signal"] = absl::StrCat(exited.signal());
  } else if (exited.cause() == v1::EXIT_CAUSE_EXITED) {
    metadata["exit_code"] = absl::StrCat(exited.exit_code());
  }
  if (!exited.stderr_tail().empty()) {
    metadata["stderr_tail"] = exited.stderr_tail();
  }
  return MakeError(Reason::kAgentLost, "the agent has ended", metadata);
}

// The answer to who waits for the end of a turn: a turn that failed is an
// answer like another, one whose agent could not be had, or was lost, an error.
absl::StatusOr<SendResult> ToSendResult(const std::string& turn_id,
                                        uint64_t sequence,
                                        const v1::TurnCompleted& completed,
                                        const absl::Status& loss) {
  const bool lost = completed.outcome() == v1::TURN_OUTCOME_AGENT_LOST;
  const bool refused = completed.outcome() == v1::TURN_OUTCOME_FAILED &&
                       completed.delivered() == v1::DELIVERED_NO;
  if (!lost && !refused) {
    return SendResult{
        .turn_id = turn_id, .sequence = sequence, .completed = completed};
  }
  const Reason reason =
      FindReason(completed.error().reason()).value_or(Reason::kAgentLost);
  ErrorMetadata metadata = MetadataOf(loss);  // exit code or signal
  metadata["turn_id"] = turn_id;
  metadata["delivered"] = v1::Delivered_Name(completed.delivered())
                              .substr(sizeof("DELIVERED_") - 1);
  return MakeError(
      reason, absl::StrCat("turn ", turn_id, ": ", completed.error().message()),
      metadata, RetryAfterOf(loss));
}

}  // namespace

void Session::Send(CallId id, Caller caller, SendParams params,
                   Reply<SendResult> reply) {
  const bool wait = params.wait_completed;
  auto answer = [this, self = self_, wait, reply = std::move(reply)](
                    absl::StatusOr<RequestResult> result) mutable {
    if (!result.ok()) {
      std::move(reply)(result.status());
    } else if (wait && *self != nullptr) {
      AwaitTurn(result->sent(), std::move(reply));
    } else {
      std::move(reply)(SendResult{.turn_id = result->sent().turn_id(),
                                  .sequence = result->sent().sequence(),
                                  .completed = std::nullopt});
    }
  };
  const std::shared_ptr<Call> call =
      ledger_.Admit(id, std::move(caller), std::move(answer));
  if (call == nullptr || !Takes(call)) return;
  if (!ground_.committer.health().ok()) {
    ledger_.Finish(call, ground_.committer.health());
    return;
  }
  if (const absl::Status open = Circuit(); !open.ok()) {
    ledger_.Finish(call, open);
    return;
  }
  if (queued_messages_ >= options_.max_queued_messages) {
    ledger_.Finish(
        call, MakeError(Reason::kQueueFull,
                        absl::StrCat(
                            "send a message to session ", record_.session_id(),
                            ": ", queued_messages_, " messages wait already"),
                        {}, absl::Seconds(1)));
    return;
  }
  if (HasImage(params.content.get()) && !TakesImages()) {
    ledger_.Finish(call, NoImages(record_.session_id()));
    return;
  }
  MessageBody body{.text = std::move(params.text),
                   .content = std::move(params.content)};
  if (params.model.has_value() && (MovesWait() || !SameModel(*params.model))) {
    Item item;
    item.call = call;
    item.move.kind = MoveParams::Kind::kSwitchModel;
    item.move.model = params.model;
    item.operation = v1::OPERATION_SWITCH_MODEL;
    item.message = std::move(body);
    item.timer = ground_.loop.RunAfter(profile_.quiesce_timeout,
                                       [this, call] { GiveUpWaiting(call); });
    mailbox_.push_back(std::move(item));
    ++queued_messages_;
    Pump();
    return;
  }
  Accept(call, std::move(body), params.model, /*next=*/false);
}

// What a message that is accepted adds to the log and to the record.
std::shared_ptr<Session::Turn> Session::AddAccepted(
    const Call& call, MessageBody body,
    const std::optional<std::string>& model) {
  auto turn = std::make_shared<Turn>();
  turn->turn_id = NewUuid();
  turn->request_id = call.caller.request_id;
  turn->body = std::move(body);
  turn->model = model;

  v1::Event event;
  event.set_turn_id(turn->turn_id);
  v1::MessageAccepted& accepted = *event.mutable_message_accepted();
  if (turn->body.content != nullptr) {
    *accepted.mutable_content() = WithoutImages(*turn->body.content);
  } else {
    accepted.set_text(turn->body.text);
  }
  accepted.set_request_id(turn->request_id);
  if (model.has_value()) accepted.set_model(*model);
  turn->sequence = AddSynthetic(std::move(event));
  store::OpenTurn& open = *record_.add_open_turns();
  open.set_turn_id(turn->turn_id);
  open.set_request_id(turn->request_id);
  open.set_sequence(turn->sequence);
  record_changed_ = true;
  return turn;
}

RequestResult Session::Turn::Accepted() const {
  RequestResult result;
  result.set_operation("SendMessage");
  result.mutable_sent()->set_turn_id(turn_id);
  result.mutable_sent()->set_sequence(sequence);
  return result;
}

// Stores the message and answers the call. If the session rests, the turn
// begins with the same commit. `next`: the message follows its own switch, and
// comes before all that waits.
void Session::Accept(const std::shared_ptr<Call>& call, MessageBody body,
                     const std::optional<std::string>& model, bool next) {
  const std::shared_ptr<Turn> turn = AddAccepted(*call, std::move(body), model);
  const RequestResult result = turn->Accepted();
  const bool now = Rests() && slot_ != nullptr && retiring_.empty() &&
                   (mailbox_.empty() || next);
  if (now) {
    Begin(turn);
  } else {
    Item item;
    item.turn = turn;
    if (next) {
      mailbox_.push_front(std::move(item));
    } else {
      mailbox_.push_back(std::move(item));
    }
    ++queued_messages_;
  }
  std::vector<StoredRequest> rows =
      ledger_.Row(*call, record_.session_id(), result);
  Commit(std::move(rows), [this, call, result, turn, now] {
    if (now) SendToAgent(turn);
    ledger_.Finish(call, result);
  });
  Pump();
}

// Takes the next from the mailbox, if the session rests.
void Session::Pump() {
  ChangeModes();
  if (!Rests() || !refuse_.ok()) return;
  if (mailbox_.empty()) {
    ScheduleIdle();
    return;
  }
  idle_timer_ = nullptr;
  idle_since_ = absl::InfiniteFuture();
  // What starts now would not know how the turn of such a one has ended, or not
  // get the conversation.
  if (WaitsForAnEnd()) return;
  if (slot_ == nullptr && NeedsAgent(mailbox_.front()) && !MayStart()) return;
  if (mailbox_.front().turn == nullptr) {
    Item item = std::move(mailbox_.front());
    mailbox_.pop_front();
    if (item.message.has_value()) --queued_messages_;
    BeginMove(std::move(item));
    return;
  }
  if (slot_ == nullptr) {
    StartAgent(agent_died_ ? v1::OPERATION_RECOVER : v1::OPERATION_START);
    return;
  }
  if (const std::shared_ptr<Turn>& turn = mailbox_.front().turn;
      turn->model.has_value()) {
    // Another move came between the message and the model it named.
    const std::string model = *std::exchange(turn->model, std::nullopt);
    if (!SameModel(model)) {
      Item item;
      item.move.kind = MoveParams::Kind::kSwitchModel;
      item.move.model = model;
      item.operation = v1::OPERATION_SWITCH_MODEL;
      item.serves = turn;
      BeginMove(std::move(item));
      return;
    }
  }
  // A replaced agent is gone before its successor gets a message.
  if (!retiring_.empty()) return;
  std::shared_ptr<Turn> turn = std::move(mailbox_.front().turn);
  mailbox_.pop_front();
  --queued_messages_;
  Begin(turn);
  Commit({}, [this, turn] { SendToAgent(turn); });
}

// The turn runs from here on; it is sent once that is stored.
void Session::Begin(const std::shared_ptr<Turn>& turn) {
  running_ = turn;
  AddStarted(*turn);
  ArmTurnTimer(turn);
}

void Session::ArmTurnTimer(const std::shared_ptr<Turn>& turn) {
  if (profile_.turn_timeout == absl::InfiniteDuration()) return;
  turn->timer = ground_.loop.RunAfter(
      profile_.turn_timeout, [this, weak = std::weak_ptr<Turn>(turn)] {
        const std::shared_ptr<Turn> turn = weak.lock();
        if (turn == nullptr) return;
        Log(LogLevel::kWarning, "turn over its time: interrupted",
            {{"session_id", record_.session_id()}, {"turn_id", turn->turn_id}});
        turn->timed_out = true;
        turn->timed_out_at = ground_.loop.Now();
        if (turn == current_turn()) {
          InterruptRunning();
        } else {
          turn->interrupt = true;  // behind one of the agent's own
        }
      });
}

void Session::AddStarted(Turn& turn) {
  ++turns_;
  idle_timer_ = nullptr;
  turn.first = !record_.conversation_spoken();
  NoteConversation(turn.body.text);
  record_changed_ = true;
  if (std::exchange(turn.started, true)) return;
  v1::Event event;
  event.set_turn_id(turn.turn_id);
  v1::TurnStarted& started = *event.mutable_turn_started();
  started.set_text(turn.body.text);
  started.set_model(record_.model());
  started.set_request_id(turn.request_id);
  started.set_unsolicited(turn.unsolicited);
  AddSynthetic(std::move(event));
  for (store::OpenTurn& open : *record_.mutable_open_turns()) {
    if (open.turn_id() == turn.turn_id) open.set_started(true);
  }
}

void Session::SendToAgent(const std::shared_ptr<Turn>& turn) {
  // Its agent may have died, or the turn may be over, since it was begun.
  if (running_ != turn || slot_ == nullptr || turn->sent) return;
  if (turn->interrupt) {
    if (turn->first) ForgetConversation();
    v1::TurnCompleted completed;
    completed.set_outcome(v1::TURN_OUTCOME_INTERRUPTED);
    completed.set_delivered(v1::DELIVERED_NO);
    Complete(turn, std::move(completed));
    Pump();
    return;
  }
  if (HasImage(turn->body.content.get()) &&
      !slot_->agent().capabilities().images) {
    // It was not known when the message was accepted.
    if (turn->first) ForgetConversation();
    Fail(turn, NoImages(record_.session_id()));
    Pump();
    return;
  }
  turn->sent = true;
  AwaitReceipt(turn);
  slot_->agent().Send({.turn_id = turn->turn_id,
                       .text = turn->body.text,
                       .content = turn->body.content});
}

// An agent that does not take up what it was sent, though it is at nothing
// else, does not read any more. Its start may take its time once more: tools
// of its own are started with its first turn.
void Session::AwaitReceipt(const std::shared_ptr<Turn>& turn) {
  if (!slot_->agent().capabilities().acknowledges) return;
  turn->receipt = ground_.loop.RunAfter(
      4 * profile_.start_timeout, [this, weak = std::weak_ptr<Turn>(turn)] {
        const std::shared_ptr<Turn> turn = weak.lock();
        if (turn == nullptr || turn != running_ || slot_ == nullptr) return;
        if (unsolicited_ != nullptr) {
          AwaitReceipt(turn);
        } else if (slot_->agent().delivered() != v1::DELIVERED_YES) {
          EndMidTurn(MakeError(
              Reason::kAgentUnresponsive,
              absl::StrCat("session ", record_.session_id(),
                           ": its agent has not taken up the message within ",
                           absl::FormatDuration(4 * profile_.start_timeout))));
        }
      });
}

// The last event of a turn, and what follows for those who wait for it.
void Session::Complete(std::shared_ptr<Turn> turn,
                       v1::TurnCompleted completed) {
  // An answer is no longer than the event, and no message of the API too long
  // for a client with the usual bounds.
  completed.mutable_text()->resize(
      Utf8Prefix(completed.text(), kMaxFieldBytes).size());
  completed.mutable_stop_reason()->resize(
      Utf8Prefix(completed.stop_reason(), kMaxWordsBytes).size());
  if (completed.has_error()) {
    std::string& words = *completed.mutable_error()->mutable_message();
    words.resize(Utf8Prefix(words, kMaxWordsBytes).size());
  }
  v1::Event event;
  event.set_turn_id(turn->turn_id);
  *event.mutable_turn_completed() = completed;
  AddSynthetic(std::move(event));
  auto& open = *record_.mutable_open_turns();
  open.erase(std::remove_if(open.begin(), open.end(),
                            [&turn](const store::OpenTurn& one) {
                              return one.turn_id() == turn->turn_id;
                            }),
             open.end());
  record_changed_ = true;
  turn->timer = nullptr;
  if (turn->receipt != nullptr) Discard(std::move(turn->receipt));
  if (running_ == turn) running_ = nullptr;
  if (unsolicited_ == turn) unsolicited_ = nullptr;
  ending_.push_back(turn);
  std::vector<StoredRequest> rows;
  RequestResult interrupted;
  // Also if the agent had to be ended for it.
  interrupted.mutable_done()->set_interrupted(
      completed.outcome() == v1::TURN_OUTCOME_INTERRUPTED ||
      ReasonOf(turn->loss) == Reason::kAgentUnresponsive);
  interrupted.mutable_done()->set_turn_id(turn->turn_id);
  for (const std::shared_ptr<Call>& call : turn->interrupting) {
    for (StoredRequest& row :
         ledger_.Row(*call, record_.session_id(), interrupted)) {
      rows.push_back(std::move(row));
    }
  }
  Commit(std::move(rows),
         [this, turn, completed = std::move(completed), interrupted] {
           std::erase(ending_, turn);
           for (Reply<SendResult>& reply : std::exchange(turn->waiting, {})) {
             std::move(reply)(ToSendResult(turn->turn_id, turn->sequence,
                                           completed, turn->loss));
           }
           for (const std::shared_ptr<Call>& call :
                std::exchange(turn->interrupting, {})) {
             ledger_.Finish(call, interrupted);
           }
         });
}

// The agent that runs, or one like it.
bool Session::TakesImages() const {
  if (slot_ != nullptr) return slot_->agent().capabilities().images;
  const AgentCatalog::Row row = ground_.catalog.Find(profile_.name);
  return row.known ? row.capabilities.images : kind_.capabilities.images;
}

std::shared_ptr<Session::Turn> Session::FindTurn(
    std::string_view turn_id) const {
  if (running_ != nullptr && running_->turn_id == turn_id) return running_;
  for (const std::shared_ptr<Turn>& turn : ending_) {
    if (turn->turn_id == turn_id) return turn;
  }
  for (const Item& item : mailbox_) {
    if (item.turn != nullptr && item.turn->turn_id == turn_id) {
      return item.turn;
    }
  }
  return nullptr;
}

// Answers when the turn is over; it may be since long.
void Session::AwaitTurn(const RequestResult::Sent& sent,
                        Reply<SendResult> reply) {
  if (const std::shared_ptr<Turn> turn = FindTurn(sent.turn_id());
      turn != nullptr) {
    turn->waiting.push_back(std::move(reply));
    return;
  }
  if (!closed_.ok()) {
    std::move(reply)(closed_);
    return;
  }
  ground_.reading.Run([&loop = ground_.loop, &store = ground_.store,
                       session_id = record_.session_id(),
                       oldest = log_->oldest_sequence(), sent,
                       reply = std::move(reply)]() mutable {
    absl::StatusOr<SendResult> result = MakeError(
        Reason::kSequenceOutOfRange,
        absl::StrCat("turn ", sent.turn_id(),
                     ": it is over, and its end is no longer retained"),
        {{"turn_id", sent.turn_id()},
         {"oldest_sequence", absl::StrCat(oldest)}});
    bool found = false;
    absl::Status loss;  // of the agent that ended last
    for (uint64_t after = sent.sequence(); !found;) {
      absl::StatusOr<std::vector<StoredEvent>> events =
          store.ReadEvents(session_id, after, 256, 4 << 20);
      if (!events.ok()) result = events.status();
      if (!events.ok() || events->empty()) break;
      for (const StoredEvent& stored : *events) {
        after = stored.sequence;
        v1::Event event;
        if (!event.ParseFromString(stored.bytes)) continue;
        if (event.has_agent_exited()) loss = LossOf(event.agent_exited());
        if (!event.has_turn_completed() || event.turn_id() != sent.turn_id()) {
          continue;
        }
        result = ToSendResult(sent.turn_id(), sent.sequence(),
                              event.turn_completed(), loss);
        found = true;
        break;
      }
    }
    loop.Post([reply = std::move(reply), result = std::move(result)]() mutable {
      std::move(reply)(std::move(result));
    });
  });
}

void Session::InterruptRunning() {
  if (running_ != nullptr && !running_->sent) running_->interrupt = true;
  const bool agent_runs =
      unsolicited_ != nullptr || (running_ != nullptr && running_->sent);
  if (agent_runs && slot_ != nullptr) slot_->agent().Interrupt();
}

void Session::Interrupt(Caller caller, std::string turn_id,
                        Reply<InterruptResult> reply) {
  auto answer =
      [reply = std::move(reply)](absl::StatusOr<RequestResult> result) mutable {
        if (!result.ok()) {
          std::move(reply)(result.status());
        } else {
          std::move(reply)(
              InterruptResult{.interrupted = result->done().interrupted(),
                              .turn_id = result->done().turn_id()});
        }
      };
  const std::shared_ptr<Call> call =
      ledger_.Admit(0, std::move(caller), std::move(answer));
  if (call == nullptr) return;
  if (!closed_.ok()) {
    ledger_.Finish(call, closed_);
    return;
  }

  std::shared_ptr<Turn> turn = current_turn();
  if (!turn_id.empty() && running_ != nullptr && running_->turn_id == turn_id) {
    turn = running_;
  }
  if (turn != nullptr && (turn_id.empty() || turn->turn_id == turn_id)) {
    if (slot_ != nullptr && !slot_->agent().capabilities().interrupt) {
      ledger_.Finish(call, MakeError(Reason::kCapabilityMissing,
                                     absl::StrCat("interrupt session ",
                                                  record_.session_id(),
                                                  ": its agent cannot")));
      return;
    }
    turn->interrupting.push_back(call);
    if (turn == current_turn()) {
      InterruptRunning();
    } else {
      turn->interrupt = true;  // behind one of the agent's own
    }
    return;
  }
  // A message that waits, or for which the agent is being started.
  const auto waits = std::find_if(
      mailbox_.begin(), mailbox_.end(), [this, &turn_id](const Item& item) {
        if (item.turn == nullptr) return false;
        return turn_id.empty() ? moving_ == v1::OPERATION_START ||
                                     moving_ == v1::OPERATION_RECOVER ||
                                     start_timer_ != nullptr
                               : item.turn->turn_id == turn_id;
      });
  if (waits != mailbox_.end()) {
    const std::shared_ptr<Turn> turn = waits->turn;
    mailbox_.erase(waits);
    --queued_messages_;
    turn->interrupting.push_back(call);
    v1::TurnCompleted completed;
    completed.set_outcome(v1::TURN_OUTCOME_INTERRUPTED);
    completed.set_delivered(v1::DELIVERED_NO);
    Complete(turn, std::move(completed));
    return;
  }
  RequestResult result;
  result.mutable_done()->set_interrupted(false);
  std::vector<StoredRequest> rows =
      ledger_.Row(*call, record_.session_id(), result);
  if (rows.empty()) {
    ledger_.Finish(call, result);
    return;
  }
  Commit(std::move(rows),
         [this, call, result] { ledger_.Finish(call, result); });
}

}  // namespace understudy::session
