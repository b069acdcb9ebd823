// The seam between what a reader is given from the store and what it is given
// live: nothing is lost, doubled or reordered there, whatever the writer, the
// window, the store and the reader do meanwhile.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "session/event_log.h"
#include "tests/support/decode_batch.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_log.h"

namespace understudy::session {
namespace {

using Result = EventLog::Cursor::Result;

// What the event of this number says, and the line that it comes of.
std::string TextOf(uint64_t sequence) {
  return absl::StrCat(sequence, std::string(sequence * 37 % 3000, '.'));
}
std::string LineOf(uint64_t sequence) {
  return sequence % 3 == 0 ? "" : absl::StrCat("line ", sequence);
}

// Follows what one reader is given, over several cursors.
class Follower {
 public:
  Follower(uint64_t start, bool deltas, bool raw)
      : deltas_(deltas), raw_(raw), last_(start) {}

  EventLog::ReaderOptions options() const {
    return {.after = last_, .include_deltas = deltas_, .include_raw = raw_};
  }
  uint64_t last() const { return last_; }
  uint64_t missed() const { return missed_; }

  // Fails the test if these are not the next.
  void Follow(const std::vector<v1::Event>& events) {
    for (const v1::Event& event : events) {
      if (event.has_gap()) {
        EXPECT_EQ(event.gap().missing_from(), last_ + 1);
        ASSERT_GE(event.gap().missing_to(), event.gap().missing_from());
        missed_ += event.gap().missing_to() - last_;
        last_ = event.gap().missing_to();
      } else if (event.has_text_delta()) {
        FollowDelta(event);
      } else {
        ASSERT_EQ(event.sequence(), last_ + 1);
        last_ = event.sequence();
        EXPECT_EQ(event.message().text(), TextOf(last_));
        EXPECT_EQ(event.raw(), raw_ ? LineOf(last_) : "");
      }
    }
  }

 private:
  void FollowDelta(const v1::Event& event) {
    EXPECT_TRUE(deltas_);
    EXPECT_EQ(event.sequence(), 0u);
    EXPECT_EQ(event.after_sequence(), last_);
    uint64_t number = 0;
    ASSERT_TRUE(absl::SimpleAtoi(event.text_delta().text(), &number));
    EXPECT_GT(number, last_delta_);
    last_delta_ = number;
    if (!event.raw().empty()) {
      EXPECT_TRUE(raw_);
      EXPECT_EQ(event.raw(), absl::StrCat("line of ", number));
    }
  }

  const bool deltas_;
  const bool raw_;
  uint64_t last_;
  uint64_t last_delta_ = 0;
  uint64_t missed_ = 0;
};

// The writer, doing one thing after another.
class Writer {
 public:
  Writer(Store& store, size_t max_window_bytes)
      : log_(store, max_window_bytes) {}

  EventLog& log() { return *log_; }

  void Say() {
    const uint64_t sequence = log_->added() + 1;
    log_.Say(TextOf(sequence), LineOf(sequence));
  }
  void Delta() {
    ++deltas_;
    log_.Delta(absl::StrCat(deltas_), absl::StrCat("line of ", deltas_));
  }
  void Save() {
    log_.Save();
    saved_.push_back(log_->taken());
  }
  // One of the writes under way is done.
  void Publish() {
    if (saved_.empty()) return;
    log_->Publish(saved_.front());
    saved_.pop_front();
  }
  // Events up to the middle of what is published are dropped from the store;
  // the log is told later.
  void DropOld() {
    oldest_ = std::max(oldest_, (oldest_ + log_->newest_sequence()) / 2);
    log_.Save(oldest_);
    saved_.push_back(log_->taken());
  }
  void Trim() { log_->Trim(oldest_); }
  void Finish() {
    Save();
    while (!saved_.empty()) Publish();
    Trim();
  }

 private:
  StoredLog log_;
  uint64_t deltas_ = 0;
  uint64_t oldest_ = 1;
  std::deque<uint64_t> saved_;
};

// A reader that is moved on step by step.
struct SteppedReader {
  SteppedReader(EventLog& log, Follower start)
      : follower(start), reading(std::in_place, log, start.options()) {}

  void Step(EventLog& log, size_t max_bytes) {
    if (behind) {
      EXPECT_THAT(reading->ReadStored(max_bytes), IsOk());
      behind = false;
      follower.Follow(reading->Take());
      EXPECT_LE(follower.last(), log.newest_sequence());
      return;
    }
    const Result result = reading->Next(max_bytes);
    follower.Follow(reading->Take());
    EXPECT_LE(follower.last(), log.newest_sequence());
    EXPECT_NE(result, Result::kClosed);
    behind = result == Result::kBehind;
    if (result == Result::kEmpty) {
      ++empties;
      EXPECT_EQ(follower.last(), log.newest_sequence());
    }
  }

  void Reconnect(EventLog& log) {
    reading.emplace(log, follower.options());
    behind = false;
    empties = 0;
  }

  Follower follower;
  std::optional<Reading> reading;
  bool behind = false;
  int empties = 0;
};

TEST(EventLogSeamTest, E1_NoReaderLosesDoublesOrReordersAnything) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::unique_ptr<Store> store = *OpenStore("memory:");
    // From one chunk to many.
    Writer writer(*store, (16 << 10) << seed % 6);
    std::vector<SteppedReader> readers;
    for (const bool deltas : {false, true}) {
      for (const bool raw : {false, true}) {
        readers.emplace_back(writer.log(), Follower(0, deltas, raw));
      }
    }
    for (int step = 0; step < 4000; ++step) {
      SteppedReader& reader = readers[random() % readers.size()];
      const unsigned action = random() % 1000;
      const uint64_t before = writer.log().newest_sequence();
      if (action < 250) {
        writer.Say();
      } else if (action < 500) {
        writer.Delta();
      } else if (action < 600) {
        writer.Save();
      } else if (action < 700) {
        writer.Publish();
      } else if (action < 750) {
        writer.log().Flush();
      } else if (action < 760) {
        writer.log().ReleaseWindow();
      } else if (action < 762) {
        writer.DropOld();
      } else if (action < 770) {
        writer.Trim();
      } else if (action < 790) {
        reader.Reconnect(writer.log());
      } else {
        reader.Step(writer.log(), 1 + random() % 20'000);
      }
      for (SteppedReader& each : readers) {
        EXPECT_LE(each.reading->wakes(), each.empties);
        if (writer.log().newest_sequence() > before) {
          EXPECT_EQ(each.reading->wakes(), each.empties);
        }
      }
      if (testing::Test::HasFailure()) return;
    }
    writer.Finish();
    for (SteppedReader& reader : readers) {
      const int empties = reader.empties;
      while (reader.empties == empties && !testing::Test::HasFailure()) {
        reader.Step(writer.log(), 100'000);
      }
      EXPECT_EQ(reader.follower.last(), writer.log().added());
      EXPECT_LT(reader.follower.missed(), writer.log().added());
    }
    if (testing::Test::HasFailure()) return;
  }
}

// A reader on a thread of its own, until the log is closed.
class ThreadedReader {
 public:
  // `reconnects`: gives up its cursor now and then, while it waits.
  ThreadedReader(EventLog& log, Follower start, size_t max_bytes,
                 bool reconnects)
      : log_(log),
        follower_(start),
        max_bytes_(max_bytes),
        reconnects_(reconnects),
        thread_([this] { Read(); }) {}

  uint64_t Join() {
    thread_.join();
    return follower_.last();
  }
  bool was_behind() const { return was_behind_; }

 private:
  // May be rung when its cursor has gone.
  struct Bell {
    absl::Mutex mu;
    int rung ABSL_GUARDED_BY(mu) = 0;

    bool Rung() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { return rung > 0; }
  };

  void Connect() {
    bell_ = std::make_shared<Bell>();
    auto cursor = log_.Subscribe(follower_.options(), [bell = bell_] {
      absl::MutexLock lock(&bell->mu);
      ++bell->rung;
    });
    EXPECT_THAT(cursor.status(), IsOk());
    cursor_ = *std::move(cursor);
  }

  void Wait() {
    absl::MutexLock lock(&bell_->mu, absl::Condition(bell_.get(), &Bell::Rung));
    EXPECT_EQ(bell_->rung, 1);
    bell_->rung = 0;
  }

  void Read() {
    Connect();
    for (int empties = 0; !testing::Test::HasFailure();) {
      EventLog::Batch batch;
      const Result result = cursor_->Next(max_bytes_, batch);
      if (result == Result::kClosed) return;
      if (result == Result::kBehind) {
        was_behind_ = true;
        EXPECT_THAT(cursor_->ReadStored(max_bytes_, batch), IsOk());
      }
      follower_.Follow(DecodeBatch(batch));
      if (result != Result::kEmpty) continue;
      if (reconnects_ && ++empties % 3 == 0) {
        Connect();
      } else {
        Wait();
      }
    }
  }

  EventLog& log_;
  Follower follower_;
  const size_t max_bytes_;
  const bool reconnects_;
  std::shared_ptr<Bell> bell_;
  std::unique_ptr<EventLog::Cursor> cursor_;
  bool was_behind_ = false;
  std::thread thread_;  // last: it uses everything above
};

TEST(EventLogSeamTest, ReadersOnOtherThreadsDoNotEither) {
  const std::unique_ptr<Store> store = *OpenStore("memory:");
  Writer writer(*store, 512 << 10);
  for (int i = 0; i < 200; ++i) writer.Say();
  writer.Finish();
  writer.log().ReleaseWindow();

  std::vector<std::unique_ptr<ThreadedReader>> readers;
  const auto add = [&](bool deltas, bool raw, size_t max_bytes,
                       bool reconnects) {
    readers.push_back(std::make_unique<ThreadedReader>(
        writer.log(), Follower(0, deltas, raw), max_bytes, reconnects));
  };
  add(/*deltas=*/true, /*raw=*/false, 1 << 20, false);
  add(/*deltas=*/true, /*raw=*/true, 1 << 16, false);
  add(/*deltas=*/false, /*raw=*/false, 4000, false);  // falls behind
  add(/*deltas=*/true, /*raw=*/true, 1 << 16, true);
  for (int i = 0; i < 4000; ++i) {
    writer.Say();
    for (int delta = i % 4; delta > 0; --delta) writer.Delta();
    writer.Save();
    if (i % 5 != 0) writer.Publish();  // some come several at a time
    if (i % 100 == 0) {
      writer.Finish();
      writer.log().ReleaseWindow();
    }
    // Now and then everybody has all there is, and waits.
    if (i % 10 == 0) std::this_thread::yield();
  }
  writer.Finish();
  writer.log().Close(MakeError(Reason::kDraining, "stopping"));
  for (const std::unique_ptr<ThreadedReader>& reader : readers) {
    EXPECT_EQ(reader->Join(), 4200u);
    EXPECT_TRUE(reader->was_behind());
  }
}

}  // namespace
}  // namespace understudy::session
