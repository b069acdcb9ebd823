// Events a second, from an agent's standard output to the parsed Event of a C++
// client, beside what can be had without a server in the same run.
//
//   throughput [bulk] [line] [durable] [--repetitions=N]

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "session/store/store.h"
#include "tests/bench/programs.h"
#include "tests/bench/report.h"
#include "tests/bench/subscriber.h"

namespace understudy::bench {
namespace {

constexpr int kDeltaBytes = 8;
constexpr int kSessions = 16;
constexpr int kEventsOfATurn = 4000;
// Events of a commit of the store alone.
constexpr int kGroup = 256;

// What a reader of deltas finds out.
struct Deltas {
  int64_t count = 0;
  int64_t bytes = 0;
  bool in_order = true;

  void Add(std::string_view text) {
    int number = 0;
    for (const char c : text.substr(0, 7)) number = number * 10 + (c - '0');
    in_order = in_order && number == count;
    ++count;
    bytes += text.size();
  }
};

class DeltaRun {
 public:
  DeltaRun(const std::string& write, int64_t deltas)
      : deltas_(deltas),
        script_(absl::StrCat("!deltas ", deltas, " ", kDeltaBytes)),
        raw_({"--write=" + write}),
        server_(absl::StrCat(
            R"(profile { name: "deltas" agent: "claude" command: ")",
            Program("understudy-rehearsal"), R"(" arg: "--write=)", write,
            R"(" })")),
        client_(server_.Connect()),
        session_(server_.CreateSession(*client_, "deltas")),
        events_(client_->StreamEvents({.session_id = session_,
                                       .after_sequence = 0,
                                       .include_deltas = true})) {
    raw_.RunTurn("warm up");
    Send("warm up");
    ReadTurn();
  }

  // Lines a second.
  double Raw() {
    const absl::Time start = absl::Now();
    raw_.RunTurn(script_);
    return deltas_ / absl::ToDoubleSeconds(absl::Now() - start);
  }

  // Events that arrived, a second.
  double Served() {
    const absl::Time start = absl::Now();
    Send(script_);
    const Deltas seen = ReadTurn();
    const absl::Duration took = absl::Now() - start;
    lost_ += deltas_ - seen.count;
    if (seen.count == deltas_ &&
        (!seen.in_order || seen.bytes != deltas_ * kDeltaBytes)) {
      OrDie(absl::DataLossError("texts are not what the agent wrote"),
            "read deltas");
    }
    return seen.count / absl::ToDoubleSeconds(took);
  }

  int64_t lost() const { return lost_; }

 private:
  void Send(const std::string& text) {
    v1::SendMessageRequest request;
    request.set_session_id(session_);
    request.set_text(text);
    OrDie(client_->SendMessage(request), "send a message");
  }

  // The deltas of the first block of the turn.
  Deltas ReadTurn() {
    Deltas deltas;
    bool first_block = true;
    bool over = false;
    OrDie(events_->ForEach([&](absl::Span<const v1::Event* const> events) {
      for (const v1::Event* event : events) {
        if (event->has_text_delta()) {
          if (first_block) deltas.Add(event->text_delta().text());
        } else {
          first_block = first_block && !event->has_message();
          over = over || event->has_turn_completed();
        }
      }
      return !over;
    }),
          "read events");
    return deltas;
  }

  const int64_t deltas_;
  const std::string script_;
  RawAgent raw_;
  const Server server_;
  const std::unique_ptr<client::Client> client_;
  const std::string session_;
  const std::unique_ptr<client::EventStream> events_;
  int64_t lost_ = 0;
};

void MeasureDeltas(const std::string& write, int64_t deltas, int repetitions,
                   const std::string& must, const std::string& aim) {
  DeltaRun run(write, deltas);
  std::vector<double> raw;
  std::vector<double> served;
  std::vector<double> ratios;
  for (int i = 0; i < repetitions; ++i) {
    raw.push_back(run.Raw());
    served.push_back(run.Served());
    ratios.push_back(served.back() / raw.back());
  }
  Print({.what = absl::StrCat("text deltas, the agent writes by ", write),
         .measured = Count(Median(served)) + "/s",
         .reference = "pipe read and parsed: " + Count(Median(raw)) + "/s",
         .ratio = Fixed(Median(ratios), 2),
         .must = must,
         .aim = aim});
  Print({.what = absl::StrCat("lost of them, by ", write),
         .measured = absl::StrCat(run.lost(), " of ", deltas * repetitions),
         .reference = "",
         .ratio = "",
         .must = "0",
         .aim = "0"});
}

// Many sessions whose agents write nothing but lines that are stored.
class DurableRun {
 public:
  DurableRun()
      : client_(server_.Connect()),
        subscriber_(*client_, [this](uint64_t id, const v1::Event& event) {
          Seen(id - 1, event);
        }) {
    for (int i = 0; i < kEventsOfATurn; ++i) script_ += "!unknown\n";
    for (int i = 0; i < kSessions; ++i) {
      sessions_.push_back(server_.CreateSession(*client_));
      subscriber_.Subscribe(i + 1, sessions_.back(), false);
    }
    RunTurns("warm up");
  }

  // Durable events a second.
  double Served() {
    const int64_t before = events_;
    const absl::Time start = absl::Now();
    RunTurns(script_);
    const absl::Duration took = absl::Now() - start;
    if (unknown_ != int64_t{kSessions} * kEventsOfATurn) {
      lost_ += int64_t{kSessions} * kEventsOfATurn - unknown_;
    }
    return (events_ - before) / absl::ToDoubleSeconds(took);
  }

  int64_t lost() const { return lost_; }
  int64_t events() const { return events_; }
  size_t event_bytes() const { return event_bytes_; }

 private:
  void RunTurns(const std::string& text) {
    absl::BlockingCounter over(kSessions);
    unknown_ = 0;
    over_ = &over;
    for (const std::string& session : sessions_) {
      subscriber_.Send(session, text, v1::WAIT_UNTIL_ACCEPTED,
                       [](const absl::StatusOr<v1::Result>& result) {
                         OrDie(result.status(), "send a message");
                       });
    }
    over.Wait();
  }

  void Seen(size_t session, const v1::Event& event) {
    // Dense from wherever the subscription began.
    uint64_t& last = last_[session];
    if (last != 0 && event.sequence() != last + 1) {
      lost_ += event.sequence() - last - 1;
    }
    last = event.sequence();
    ++events_;
    if (event.has_unknown()) {
      ++unknown_;
      if (event_bytes_ == 0) event_bytes_ = event.ByteSizeLong();
    }
    if (event.has_turn_completed()) over_->DecrementCount();
  }

  const Server server_;
  const std::unique_ptr<client::Client> client_;
  std::vector<std::string> sessions_;
  std::string script_;
  absl::BlockingCounter* over_ = nullptr;
  uint64_t last_[kSessions] = {};
  int64_t events_ = 0;
  int64_t unknown_ = 0;
  int64_t lost_ = 0;
  size_t event_bytes_ = 0;
  Subscriber subscriber_;
};

// The same store, alone: commits of kGroup events of one session.
class StoreRun {
 public:
  explicit StoreRun(size_t event_bytes)
      : event_(event_bytes, 'e'),
        store_(
            OrDie(session::OpenStore("sqlite:" + folder_.path() + "/store.db"),
                  "open a store")) {
    session::SessionRecord record;
    record.set_session_id("00000000-0000-4000-8000-000000000000");
    session::Append append;
    append.kind = session::Append::Kind::kCreate;
    append.session_id = record.session_id();
    append.epoch = 1;
    append.record = std::make_shared<session::SessionRecord>(record);
    Write(append);
  }

  double Commits(int commits) {
    const absl::Time start = absl::Now();
    for (int i = 0; i < commits; ++i) {
      session::Append append;
      append.session_id = "00000000-0000-4000-8000-000000000000";
      append.epoch = 1;
      append.base_sequence = newest_;
      append.events.assign(kGroup, {event_, {}});
      Write(append);
      newest_ += kGroup;
    }
    return commits * kGroup / absl::ToDoubleSeconds(absl::Now() - start);
  }

 private:
  void Write(const session::Append& append) {
    OrDie(store_->Write({&append, 1}).at(0), "write to the store");
  }

  const Folder folder_;
  const std::string event_;
  const std::unique_ptr<session::Store> store_;
  uint64_t newest_ = 0;
};

void MeasureDurable(int repetitions) {
  DurableRun run;
  run.Served();
  StoreRun store(run.event_bytes());
  std::vector<double> served;
  std::vector<double> stored;
  std::vector<double> ratios;
  for (int i = 0; i < repetitions; ++i) {
    stored.push_back(store.Commits(kSessions * kEventsOfATurn / kGroup / 2));
    served.push_back(run.Served());
    ratios.push_back(served.back() / stored.back());
  }
  Print({.what = absl::StrCat("durable events, SQLite `FULL`, ", kSessions,
                              " sessions"),
         .measured = Count(Median(served)) + "/s",
         .reference = absl::StrCat("store alone, ", kGroup,
                                   " a commit: ", Count(Median(stored)), "/s"),
         .ratio = Fixed(Median(ratios), 2),
         .must = "20 k/s",
         .aim = "60 k/s"});
  Print({.what = "lost of them",
         .measured = absl::StrCat(run.lost(), " of ", run.events()),
         .reference = "",
         .ratio = "",
         .must = "0",
         .aim = "0"});
}

}  // namespace
}  // namespace understudy::bench

int main(int argc, char** argv) {
  using namespace understudy::bench;  // NOLINT
  int repetitions = 5;
  std::vector<std::string_view> parts;
  for (int i = 1; i < argc; ++i) {
    constexpr std::string_view kRepetitions = "--repetitions=";
    const std::string_view argument = argv[i];
    if (argument.substr(0, kRepetitions.size()) != kRepetitions) {
      parts.push_back(argument);
    } else if (!absl::SimpleAtoi(argv[i] + kRepetitions.size(), &repetitions) ||
               repetitions < 1) {
      std::cerr << "throughput: " << argument << "\n";
      return 2;
    }
  }
  const auto wanted = [&parts](std::string_view part) {
    return parts.empty() ||
           std::find(parts.begin(), parts.end(), part) != parts.end();
  };
  if (wanted("bulk")) {
    MeasureDeltas("bulk", 2'000'000, repetitions, "0.25", "0.45");
  }
  if (wanted("line")) {
    MeasureDeltas("line", 500'000, repetitions, "0.60", "0.86");
  }
  if (wanted("durable")) MeasureDurable(repetitions);
  return 0;
}
