// An event log of a session that is in a store, with the writer's steps in a
// test's hand: add, store, publish.

#ifndef UNDERSTUDY_TESTS_SUPPORT_STORED_LOG_H_
#define UNDERSTUDY_TESTS_SUPPORT_STORED_LOG_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "session/event_log.h"
#include "session/store/store.h"
#include "understudy/v1/event.pb.h"

namespace understudy::session {

class StoredLog {
 public:
  static constexpr char kSessionId[] = "5e55109a-0000-4000-8000-000000000001";
  static constexpr char kTurnId[] = "70410000-0000-4000-8000-000000000001";

  // Creates the session in `store`, without events, or takes it over.
  explicit StoredLog(Store& store, size_t max_window_bytes = 8 << 20);

  EventLog* operator->() const { return log_.get(); }
  EventLog& operator*() const { return *log_; }
  const std::shared_ptr<EventLog>& log() const { return log_; }

  // Adds a message that says `text`.
  uint64_t Say(std::string_view text, std::string_view raw = {});
  uint64_t Add(v1::Event event, std::string_view raw = {});
  void Delta(std::string_view text, std::string_view raw = {});

  // Writes what was added to the store. `oldest`: and drops what is older.
  void Save(uint64_t oldest = 0);
  // Save, and publish it.
  void Commit();
  // Commits messages "1", "2", ... one by one.
  void SayAndCommit(int messages);

 private:
  Store& store_;
  uint64_t epoch_ = 1;
  std::shared_ptr<EventLog> log_;
};

// A cursor as a stream uses one: it counts its wakes and decodes what it gets.
class Reading {
 public:
  // Fails the test if the log refuses.
  Reading(EventLog& log, const EventLog::ReaderOptions& options);

  EventLog::Cursor& operator*() { return *cursor_; }
  EventLog::Cursor* operator->() { return cursor_.get(); }

  EventLog::Cursor::Result Next(size_t max_bytes = 1 << 20);
  absl::Status ReadStored(size_t max_bytes = 1 << 20);
  // What Next and ReadStored have given since the last call.
  std::vector<v1::Event> Take();

  // Everything there is now, by whatever way, as one string: "1", "2" for
  // messages by their text, "~x" for deltas, "gap(1-4)", else the sequence in
  // brackets.
  std::vector<std::string> All();

  int wakes() const { return *wakes_; }

 private:
  std::vector<v1::Event> events_;
  // The wake may come after the cursor has gone.
  const std::shared_ptr<int> wakes_ = std::make_shared<int>(0);
  std::unique_ptr<EventLog::Cursor> cursor_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_STORED_LOG_H_
