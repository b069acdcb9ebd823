#include "session/store/sqlite_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proto/error.h"
#include "session/base/status_macros.h"
#include "session/store/page_token.h"
#include "session/store/store_rules.h"

namespace understudy::session {
namespace {

template <typename Message>
bool Parse(std::string_view bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

absl::StatusOr<std::vector<std::string>> AllTexts(SqliteRows& rows) {
  std::vector<std::string> texts;
  while (rows.Next()) texts.emplace_back(rows.Bytes(0));
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return texts;
}

}  // namespace

absl::Status SqliteReader::Undecodable(std::string_view what) const {
  return MakeError(Reason::kStoreCorrupt,
                   absl::StrCat("store ", db_.path(), ": ", std::string(what),
                                " cannot be decoded"));
}

absl::StatusOr<StoredSession> SqliteReader::Decode(
    const SqliteRows& row) const {
  StoredSession session;
  if (!Parse(row.Bytes(0), session.record)) {
    return Undecodable("the record of a session");
  }
  session.epoch = row.Uint(1);
  session.oldest_sequence = row.Uint(2);
  session.newest_sequence = row.Uint(3);
  return session;
}

absl::StatusOr<StoredSession> SqliteReader::Get(std::string_view session_id) {
  SqliteRows rows(get_, session_id);
  if (rows.Next()) return Decode(rows);
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return SessionNotFound(session_id);
}

absl::StatusOr<Store::Page> SqliteReader::List(std::string_view page_token,
                                               int page_size) {
  UNDERSTUDY_ASSIGN_OR_RETURN(const ListPosition start,
                              ParsePageToken(page_token));
  const size_t size = static_cast<size_t>(std::max(page_size, 1));
  Store::Page page;
  // One more than asked for tells whether there is another page.
  SqliteRows rows(list_, start.create_time, start.session_id,
                  uint64_t{size} + 1);
  while (rows.Next()) {
    if (page.sessions.size() == size) {
      page.next_page_token =
          MakePageToken(PositionOf(page.sessions.back().record));
      break;
    }
    UNDERSTUDY_ASSIGN_OR_RETURN(StoredSession session, Decode(rows));
    page.sessions.push_back(std::move(session));
  }
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return page;
}

absl::StatusOr<std::vector<std::string>> SqliteReader::Unfinished() {
  SqliteRows rows(unfinished_);
  return AllTexts(rows);
}

absl::StatusOr<std::vector<StoredEvent>> SqliteReader::ReadEvents(
    std::string_view session_id, uint64_t after, size_t max_events,
    size_t max_bytes) {
  UNDERSTUDY_RETURN_IF_ERROR(begin_.Run());
  absl::StatusOr<std::vector<StoredEvent>> events =
      ReadSnapshot(session_id, after, max_events, max_bytes);
  const absl::Status end = end_.Run();
  if (events.ok()) UNDERSTUDY_RETURN_IF_ERROR(end);
  return events;
}

// The bounds and the events are of one moment: without it, events that are
// being deleted would show as holes.
absl::StatusOr<std::vector<StoredEvent>> SqliteReader::ReadSnapshot(
    std::string_view session_id, uint64_t after, size_t max_events,
    size_t max_bytes) {
  SqliteRows log(find_log_, session_id);
  if (!log.Next()) {
    UNDERSTUDY_RETURN_IF_ERROR(log.status());
    return SessionNotFound(session_id);
  }
  const uint64_t session_key = log.Uint(0);
  const uint64_t from = std::max(after + 1, log.Uint(1));
  std::vector<StoredEvent> events;
  if (after + 1 == 0) return events;
  SqliteRows rows(events_, session_key, from, uint64_t{max_events});
  size_t bytes = 0;
  while (rows.Next()) {
    const std::string_view event = rows.Bytes(1);
    const std::string_view raw = rows.Bytes(2);
    bytes += event.size() + raw.size();
    if (!events.empty() && bytes > max_bytes) break;
    events.push_back({rows.Uint(0), std::string(event), std::string(raw)});
  }
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return events;
}

absl::StatusOr<std::vector<std::string>> SqliteReader::RequestIds(
    std::string_view scope) {
  SqliteRows rows(request_ids_, scope);
  return AllTexts(rows);
}

absl::StatusOr<std::optional<StoredRequest>> SqliteReader::FindRequest(
    std::string_view scope, std::string_view request_id) {
  SqliteRows rows(request_, scope, request_id);
  if (!rows.Next()) {
    UNDERSTUDY_RETURN_IF_ERROR(rows.status());
    return std::nullopt;
  }
  StoredRequest request;
  request.scope = scope;
  request.request_id = request_id;
  request.fingerprint = rows.Bytes(0);
  request.session_id = rows.Bytes(1);
  request.time = absl::FromUnixNanos(rows.Int(2));
  if (!Parse(rows.Bytes(3), request.result)) {
    return Undecodable("the result of a request");
  }
  return request;
}

absl::StatusOr<std::optional<std::string>> SqliteReader::FindByConversation(
    std::string_view tenant, std::string_view agent_session_id,
    std::string_view except) {
  SqliteRows rows(conversation_, agent_session_id, tenant, except);
  if (rows.Next()) return std::string(rows.Bytes(0));
  UNDERSTUDY_RETURN_IF_ERROR(rows.status());
  return std::nullopt;
}

}  // namespace understudy::session
