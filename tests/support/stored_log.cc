#include "tests/support/stored_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/decode_batch.h"

namespace understudy::session {

StoredLog::StoredLog(Store& store, size_t max_window_bytes)
    : store_(store) {
  EventLog::Options options{.session_id = kSessionId,
                            .max_window_bytes = max_window_bytes};
  if (absl::StatusOr<StoredSession> stored = store.Acquire(kSessionId);
      stored.ok()) {
    epoch_ = stored->epoch;
    options.oldest_sequence = stored->oldest_sequence;
    options.newest_sequence = stored->newest_sequence;
  } else {
    auto record = std::make_shared<SessionRecord>();
    record->set_session_id(kSessionId);
    const Append create{.kind = Append::Kind::kCreate,
                        .session_id = kSessionId,
                        .epoch = epoch_,
                        .record = record};
    EXPECT_EQ(store.Write({&create, 1})[0], absl::OkStatus());
  }
  options.epoch = epoch_;
  log_ = std::make_shared<EventLog>(std::move(options), store);
}

uint64_t StoredLog::Say(std::string_view text, std::string_view raw) {
  v1::Event event;
  event.mutable_message()->set_text(std::string(text));
  return Add(std::move(event), raw);
}

uint64_t StoredLog::Add(v1::Event event, std::string_view raw) {
  return log_->Add(std::move(event),
                   {.turn_id = kTurnId,
                    .agent_session_id = "conversation",
                    .incarnation = 1,
                    .time = absl::FromUnixSeconds(1'700'000'000)},
                   raw);
}

void StoredLog::Delta(std::string_view text, std::string_view raw) {
  log_->AddDelta(DeltaKind::kText, kTurnId, "", text, raw);
}

void StoredLog::Save(uint64_t oldest) {
  Append append{.session_id = kSessionId,
                .epoch = epoch_,
                .oldest_sequence = oldest};
  log_->Take(append);
  EXPECT_EQ(store_.Write({&append, 1})[0], absl::OkStatus());
}

void StoredLog::Commit() {
  Save();
  log_->Publish(log_->taken());
}

void StoredLog::SayAndCommit(int messages) {
  for (int i = 0; i < messages; ++i) {
    Say(absl::StrCat(log_->added() + 1));
    Commit();
  }
}

Reading::Reading(EventLog& log, const EventLog::ReaderOptions& options) {
  auto cursor = log.Subscribe(options, [wakes = wakes_] { ++*wakes; });
  EXPECT_EQ(cursor.status(), absl::OkStatus());
  cursor_ = *std::move(cursor);
}

EventLog::Cursor::Result Reading::Next(size_t max_bytes) {
  EventLog::Batch batch;
  const EventLog::Cursor::Result result = cursor_->Next(max_bytes, batch);
  EXPECT_EQ(batch.events > 0, result == EventLog::Cursor::Result::kEvents);
  for (v1::Event& event : DecodeBatch(batch)) {
    events_.push_back(std::move(event));
  }
  return result;
}

absl::Status Reading::ReadStored(size_t max_bytes) {
  EventLog::Batch batch;
  absl::Status status = cursor_->ReadStored(max_bytes, batch);
  for (v1::Event& event : DecodeBatch(batch)) {
    events_.push_back(std::move(event));
  }
  return status;
}

std::vector<v1::Event> Reading::Take() { return std::exchange(events_, {}); }

std::vector<std::string> Reading::All() {
  for (;;) {
    const EventLog::Cursor::Result result = Next();
    if (result == EventLog::Cursor::Result::kEvents) continue;
    if (result != EventLog::Cursor::Result::kBehind) break;
    const absl::Status status = ReadStored();
    EXPECT_EQ(status, absl::OkStatus());
    if (!status.ok()) break;
  }
  std::vector<std::string> texts;
  for (const v1::Event& event : Take()) {
    if (event.has_message()) {
      texts.push_back(event.message().text());
    } else if (event.has_text_delta()) {
      texts.push_back(absl::StrCat("~", event.text_delta().text()));
    } else if (event.has_gap()) {
      texts.push_back(absl::StrCat("gap(", event.gap().missing_from(), "-",
                                   event.gap().missing_to(), ")"));
    } else {
      texts.push_back(absl::StrCat("[", event.sequence(), "]"));
    }
  }
  return texts;
}

}  // namespace understudy::session
