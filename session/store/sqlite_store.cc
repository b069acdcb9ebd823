// The store in a file. One connection writes, a few read beside it, and SQLite
// gives each read the state after some commit.
//
// Reads hold `readers_out_` shared. The writer takes it exclusively in the rare
// case that reads have overlapped for so long that the write-ahead log could
// never begin anew.
//
// Threads: `write_` guards the writer, `pool_` the readers that are not in use.
// Whoever takes more than one takes them in the order write_, readers_out_,
// pool_.

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/error.h"
#include "session/base/status_macros.h"
#include "session/store/sqlite.h"
#include "session/store/sqlite_file.h"
#include "session/store/sqlite_reader.h"
#include "session/store/sqlite_schema.h"
#include "session/store/sqlite_writer.h"
#include "session/store/store.h"

namespace understudy::session {
namespace {

constexpr int kReaders = 4;

class SqliteStore final : public Store {
 public:
  static absl::StatusOr<std::unique_ptr<Store>> Open(std::string_view path) {
    UNDERSTUDY_ASSIGN_OR_RETURN(std::unique_ptr<SqliteFile> file,
                                SqliteFile::Take(path));
    const bool left_open = file->LeftOpen();
    UNDERSTUDY_ASSIGN_OR_RETURN(
        std::unique_ptr<SqliteConnection> writer,
        SqliteConnection::Open(file->path(), SqliteConnection::Mode::kWriter));
    UNDERSTUDY_RETURN_IF_ERROR(PrepareSqliteSchema(*writer, left_open));
    std::unique_ptr<SqliteStore> store(
        new SqliteStore(std::move(file), std::move(writer)));
    UNDERSTUDY_RETURN_IF_ERROR(store->OpenReaders());
    return store;
  }

  std::vector<absl::Status> Write(absl::Span<const Append> appends) override {
    ++waiting_;
    absl::MutexLock lock(&write_);
    --waiting_;
    std::vector<absl::Status> answers = writer_.Write(appends);
    KeepLogShort();
    return answers;
  }

  absl::StatusOr<StoredSession> Acquire(std::string_view session_id) override {
    ++waiting_;
    absl::MutexLock lock(&write_);
    --waiting_;
    return writer_.Acquire(session_id);
  }

  absl::Status ForgetRequests(absl::Time before) override {
    for (bool more = true; more;) {
      // Writes get their turn between the parts: the mutex alone would rather
      // be taken again by the thread that has just had it.
      absl::MutexLock lock(
          &write_, absl::Condition(
                       +[](std::atomic<int>* waiting) { return *waiting == 0; },
                       &waiting_));
      UNDERSTUDY_ASSIGN_OR_RETURN(more, writer_.ForgetSome(before));
      KeepLogShort();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<StoredSession> Get(std::string_view session_id) override {
    return Read(&SqliteReader::Get, session_id);
  }
  absl::StatusOr<Page> List(std::string_view page_token,
                            int page_size) override {
    return Read(&SqliteReader::List, page_token, page_size);
  }
  absl::StatusOr<std::vector<std::string>> Unfinished() override {
    return Read(&SqliteReader::Unfinished);
  }
  absl::StatusOr<std::vector<StoredEvent>> ReadEvents(
      std::string_view session_id, uint64_t after, size_t max_events,
      size_t max_bytes) override {
    return Read(&SqliteReader::ReadEvents, session_id, after, max_events,
                max_bytes);
  }
  absl::StatusOr<std::vector<std::string>> RequestIds(
      std::string_view scope) override {
    return Read(&SqliteReader::RequestIds, scope);
  }
  absl::StatusOr<std::optional<StoredRequest>> FindRequest(
      std::string_view scope, std::string_view request_id) override {
    return Read(&SqliteReader::FindRequest, scope, request_id);
  }
  absl::StatusOr<std::optional<std::string>> FindByConversation(
      std::string_view tenant, std::string_view agent_session_id,
      std::string_view except) override {
    return Read(&SqliteReader::FindByConversation, tenant, agent_session_id,
                except);
  }

  std::string_view kind() const override { return "sqlite"; }

 private:
  struct Reader {
    explicit Reader(std::unique_ptr<SqliteConnection> opened)
        : connection(std::move(opened)) {}
    const std::unique_ptr<SqliteConnection> connection;
    SqliteReader reader{*connection};
  };

  SqliteStore(std::unique_ptr<SqliteFile> file,
              std::unique_ptr<SqliteConnection> writer)
      : file_(std::move(file)),
        connection_(std::move(writer)),
        writer_(*connection_),
        in_doubt_(writer_.in_doubt()) {}

  absl::Status OpenReaders() {
    absl::MutexLock lock(&pool_);
    for (std::unique_ptr<Reader>& reader : readers_) {
      UNDERSTUDY_ASSIGN_OR_RETURN(
          std::unique_ptr<SqliteConnection> connection,
          SqliteConnection::Open(file_->path(),
                                 SqliteConnection::Mode::kReader));
      reader = std::make_unique<Reader>(std::move(connection));
      idle_.push_back(reader.get());
    }
    return absl::OkStatus();
  }

  template <typename Result, typename... Params, typename... Args>
  Result Read(Result (SqliteReader::*method)(Params...), Args... args) {
    UNDERSTUDY_RETURN_IF_ERROR(Settle());
    absl::ReaderMutexLock out(&readers_out_);
    Reader* const reader = Borrow();
    Result result = (reader->reader.*method)(args...);
    GiveBack(reader);
    return result;
  }

  // A state that a crash might change is not shown.
  absl::Status Settle() {
    if (!in_doubt_) return absl::OkStatus();
    absl::MutexLock lock(&write_);
    return writer_.Settle();
  }

  Reader* Borrow() {
    absl::MutexLock lock(&pool_);
    pool_.Await(absl::Condition(
        +[](SqliteStore* self)
             ABSL_NO_THREAD_SAFETY_ANALYSIS { return !self->idle_.empty(); },
        this));
    // The one that was used last has the warmest cache.
    Reader* const reader = idle_.back();
    idle_.pop_back();
    return reader;
  }

  void GiveBack(Reader* reader) {
    absl::MutexLock lock(&pool_);
    idle_.push_back(reader);
  }

  void KeepLogShort() ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_) {
    writer_.CheckpointIfDue();
    if (!writer_.LogIsTooLong()) return;
    absl::WriterMutexLock nobody_reads(&readers_out_);
    writer_.CheckpointAll();
  }

  // Members go in the opposite order: readers, writer (which cleans up if it is
  // the last connection), and only then the lock on the file.
  const std::unique_ptr<SqliteFile> file_;
  const std::unique_ptr<SqliteConnection> connection_;

  absl::Mutex write_ ABSL_ACQUIRED_BEFORE(readers_out_);
  SqliteWriter writer_ ABSL_GUARDED_BY(write_);
  const std::atomic<bool>& in_doubt_;
  std::atomic<int> waiting_ = 0;  // for write_, to write

  absl::Mutex readers_out_;
  std::array<std::unique_ptr<Reader>, kReaders> readers_;  // since Open
  absl::Mutex pool_;
  std::vector<Reader*> idle_ ABSL_GUARDED_BY(pool_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Open_sqlite(std::string_view rest) {
  if (rest.empty()) {
    return FieldInvalid("store", "\"sqlite:\" must be followed by a path");
  }
  return SqliteStore::Open(rest);
}

}  // namespace understudy::session
