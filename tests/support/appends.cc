#include "tests/support/appends.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace understudy::session {
namespace {

struct Written {
  std::string bytes;
  std::string raw;
};

void AddEvents(Append& append, const Texts& events) {
  auto written = std::make_shared<std::vector<Written>>();
  for (const std::string& text : events) {
    written->push_back({text, absl::StrCat("raw ", text)});
  }
  for (const Written& event : *written) {
    append.events.push_back({event.bytes, event.raw});
  }
  append.hold = std::move(written);
}

}  // namespace

SessionRecord RecordOf(std::string_view session_id) {
  SessionRecord record;
  record.set_session_id(std::string(session_id));
  record.set_tenant("default");
  record.set_agent("claude");
  record.mutable_create_time()->set_seconds(1000);
  return record;
}

Append CreationOf(const SessionRecord& record, const Texts& events) {
  Append append = ChangeOf(record.session_id(), 1, 0, events);
  append.kind = Append::Kind::kCreate;
  append.record = std::make_shared<SessionRecord>(record);
  return append;
}

Append ChangeOf(std::string_view session_id, uint64_t epoch,
                uint64_t base_sequence, const Texts& events) {
  Append append;
  append.session_id = session_id;
  append.epoch = epoch;
  append.base_sequence = base_sequence;
  AddEvents(append, events);
  return append;
}

Append DeletionOf(std::string_view session_id, uint64_t epoch,
                  uint64_t base_sequence) {
  Append append = ChangeOf(session_id, epoch, base_sequence);
  append.kind = Append::Kind::kDelete;
  return append;
}

StoredRequest RequestOf(std::string_view scope, std::string_view request_id,
                        absl::Time time) {
  StoredRequest request;
  request.scope = scope;
  request.request_id = request_id;
  request.fingerprint = std::string("finger\0print", 12);
  request.session_id = scope;
  request.result.set_operation("SendMessage");
  request.result.mutable_sent()->set_turn_id(std::string(request_id));
  request.time = time;
  return request;
}

absl::Status WriteOne(Store& store, Append append) {
  return store.Write({&append, 1}).at(0);
}

Texts TextsAfter(Store& store, std::string_view session_id, uint64_t after) {
  Texts texts;
  for (;;) {
    const absl::StatusOr<std::vector<StoredEvent>> events =
        store.ReadEvents(session_id, after, 1000, 1 << 20);
    if (!events.ok()) return {std::string(events.status().message())};
    if (events->empty()) return texts;
    for (const StoredEvent& event : *events) {
      if (event.sequence != after + 1) {
        return {absl::StrCat(event.sequence, " follows ", after)};
      }
      if (event.raw != absl::StrCat("raw ", event.bytes)) {
        return {absl::StrCat("raw of ", event.sequence, ": ", event.raw)};
      }
      texts.push_back(event.bytes);
      after = event.sequence;
    }
  }
}

}  // namespace understudy::session
