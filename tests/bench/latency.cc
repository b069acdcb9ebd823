// How long a turn takes, how soon the loss of an agent is known, and what a
// server takes in memory, beside the parts that a turn is made of.
//
//   latency [turn] [kill] [memory]

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "session/store/store.h"
#include "tests/bench/programs.h"
#include "tests/bench/report.h"
#include "tests/bench/subscriber.h"

namespace understudy::bench {
namespace {

constexpr int kWarmUps = 30;
constexpr int kTurns = 500;
constexpr int kKills = 30;
constexpr int kLive = 64;
constexpr int kParked = 300;

double Microseconds(absl::Duration duration) {
  return absl::ToDoubleMicroseconds(duration);
}

std::string Both(const std::vector<double>& values, int digits,
                 const std::string& unit) {
  return absl::StrCat(Fixed(Percentile(values, 50), digits), " / ",
                      Fixed(Percentile(values, 99), digits), " ", unit);
}

// ---- A turn ----

class Turns {
 public:
  Turns()
      : client_(server_.Connect()),
        session_(server_.CreateSession(*client_)),
        subscriber_(*client_, [this](uint64_t, const v1::Event& event) {
          if (!event.has_turn_completed()) return;
          completed_ = absl::Now();
          over_->Notify();
        }) {
    subscriber_.Subscribe(1, session_, false);
  }

  // From the command until `turn_completed` is there.
  absl::Duration Run() {
    absl::Notification over;
    over_ = &over;
    const absl::Time start = absl::Now();
    subscriber_.Send(session_, "hello", v1::WAIT_UNTIL_ACCEPTED,
                     [](const absl::StatusOr<v1::Result>& result) {
                       OrDie(result.status(), "send a message");
                     });
    over.WaitForNotification();
    return completed_ - start;
  }

  absl::Duration RoundTrip() {
    const absl::Time start = absl::Now();
    OrDie(client_->GetServerInfo({}), "GetServerInfo");
    return absl::Now() - start;
  }

 private:
  const Server server_;
  const std::unique_ptr<client::Client> client_;
  const std::string session_;
  absl::Notification* over_ = nullptr;
  absl::Time completed_;
  Subscriber subscriber_;
};

class Commits {
 public:
  Commits()
      : store_(
            OrDie(session::OpenStore("sqlite:" + folder_.path() + "/store.db"),
                  "open a store")) {
    session::SessionRecord record;
    record.set_session_id(append_.session_id);
    append_.kind = session::Append::Kind::kCreate;
    append_.epoch = 1;
    append_.record = std::make_shared<session::SessionRecord>(record);
    Run();
    append_.kind = session::Append::Kind::kChange;
    append_.record = nullptr;
    append_.events.assign(1, {event_, {}});
  }

  absl::Duration Run() {
    const absl::Time start = absl::Now();
    OrDie(store_->Write({&append_, 1}).at(0), "write to the store");
    const absl::Duration took = absl::Now() - start;
    append_.base_sequence += append_.events.size();
    return took;
  }

 private:
  const Folder folder_;
  const std::string event_ = std::string(200, 'e');
  const std::unique_ptr<session::Store> store_;
  session::Append append_{.session_id = "00000000-0000-4000-8000-000000000000"};
};

void MeasureTurns() {
  Turns served;
  RawAgent raw({});
  Commits commits;
  std::vector<double> turns;
  std::vector<double> raw_turns;
  std::vector<double> round_trips;
  std::vector<double> writes;
  for (int i = -kWarmUps; i < kTurns; ++i) {
    const absl::Duration turn = served.Run();
    const absl::Time start = absl::Now();
    raw.RunTurn("hello");
    const absl::Duration raw_turn = absl::Now() - start;
    const absl::Duration round_trip = served.RoundTrip();
    const absl::Duration write = commits.Run();
    if (i < 0) continue;
    turns.push_back(Microseconds(turn));
    raw_turns.push_back(Microseconds(raw_turn));
    round_trips.push_back(Microseconds(round_trip));
    writes.push_back(Microseconds(write));
  }
  const double raw_p50 = Percentile(raw_turns, 50);
  const double added = Percentile(turns, 50) - raw_p50 - Percentile(writes, 50);
  Print({.what = "a turn over `Attach`, p50 / p99",
         .measured = Both(turns, 0, "us"),
         .reference = "the agent on pipes: " + Both(raw_turns, 0, "us"),
         .ratio = Fixed(Percentile(turns, 50) / raw_p50, 2),
         .must = "",
         .aim = ""});
  Print({.what = "added to it, p50",
         .measured = Fixed(added, 0) + " us",
         .reference = "less one commit: " + Both(writes, 0, "us"),
         .ratio = "",
         .must = "150 us",
         .aim = "100 us"});
  Print({.what = "a unary call (`GetServerInfo`), p50 / p99",
         .measured = Both(round_trips, 0, "us"),
         .reference = "",
         .ratio = "",
         .must = "",
         .aim = ""});
}

// ---- The loss of an agent ----

class Kills {
 public:
  Kills()
      : client_(server_.Connect()),
        session_(server_.CreateSession(*client_)),
        subscriber_(*client_,
                    [this](uint64_t, const v1::Event& event) { Seen(event); }) {
    subscriber_.Subscribe(1, session_, true);
  }

  // From the kill until the stream and the call that waits know.
  absl::Duration Run() {
    absl::Notification streaming;
    absl::BlockingCounter known(2);
    absl::Time answered;
    streaming_ = &streaming;
    known_ = &known;
    subscriber_.Send(session_, "!deltas 100000 8 1", v1::WAIT_UNTIL_COMPLETED,
                     [&](const absl::StatusOr<v1::Result>&) {
                       answered = absl::Now();
                       known.DecrementCount();
                     });
    streaming.WaitForNotification();
    const absl::Time start = absl::Now();
    kill(agent_, SIGKILL);
    known.Wait();
    const absl::Duration took = std::max(completed_, answered) - start;
    // A turn that ends: agents that only ever die are left alone after a while.
    absl::BlockingCounter ended(2);
    known_ = &ended;
    subscriber_.Send(session_, "hello", v1::WAIT_UNTIL_COMPLETED,
                     [&ended](const absl::StatusOr<v1::Result>&) {
                       ended.DecrementCount();
                     });
    ended.Wait();
    return took;
  }

 private:
  void Seen(const v1::Event& event) {
    if (event.has_agent_started()) agent_ = event.agent_started().pid();
    if (event.has_text_delta() && streaming_ != nullptr) {
      std::exchange(streaming_, nullptr)->Notify();
    }
    if (event.has_turn_completed()) {
      completed_ = absl::Now();
      known_->DecrementCount();
    }
  }

  const Server server_;
  const std::unique_ptr<client::Client> client_;
  const std::string session_;
  absl::Notification* streaming_ = nullptr;
  absl::BlockingCounter* known_ = nullptr;
  absl::Time completed_;
  pid_t agent_ = -1;
  Subscriber subscriber_;
};

void MeasureKills() {
  Kills kills;
  std::vector<double> took;
  for (int i = 0; i < kKills; ++i) {
    took.push_back(absl::ToDoubleMilliseconds(kills.Run()));
  }
  Print({.what = "`kill -9` of the agent mid-turn until the stream and the "
                 "pending call know, p50 / p99",
         .measured = Both(took, 2, "ms"),
         .reference = "",
         .ratio = "",
         .must = "p99 50 ms",
         .aim = "p99 5 ms"});
}

// ---- Memory ----

struct Memory {
  double resident = 0;      // KiB
  double proportional = 0;  // KiB
};

Memory MemoryOf(pid_t pid) {
  Memory memory;
  std::ifstream file(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  for (std::string name; file >> name;) {
    if (name == "Rss:") file >> memory.resident;
    if (name == "Pss:") file >> memory.proportional;
  }
  return memory;
}

class Sessions {
 public:
  explicit Sessions(const Server& server)
      : server_(server), client_(server.Connect()) {}

  // Adds sessions that have had a turn.
  void Add(int count, const std::string& profile) {
    for (int i = 0; i < count; ++i) {
      v1::SendMessageRequest request;
      request.set_session_id(server_.CreateSession(*client_, profile));
      request.set_text("hello");
      request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
      OrDie(client_->SendMessage(request), "send a message");
    }
  }

  // Waits until no session of the profile has an agent.
  void AwaitParked(const std::string& profile) {
    for (const char* state : {"IDLE", "RUNNING", "TRANSITIONING"}) {
      v1::ListSessionsRequest request;
      request.set_page_size(1);
      request.set_filter(absl::StrCat("agent=", profile, " state=", state));
      while (OrDie(client_->ListSessions(request), "list sessions")
                 .sessions_size() > 0) {
        absl::SleepFor(absl::Milliseconds(50));
      }
    }
  }

 private:
  const Server& server_;
  const std::unique_ptr<client::Client> client_;
};

void MeasureMemory() {
  const Server server(absl::StrCat(
      R"(max_slots: 512 profile { name: "parking" agent: "claude" command: ")",
      Program("understudy-rehearsal"),
      R"(" idle_timeout { nanos: 100000000 } })"));
  Sessions sessions(server);
  const Memory idle = MemoryOf(server.pid());
  Print({.what = "memory of an idle server (RSS)",
         .measured = Fixed(idle.resident / 1024, 1) + " MiB",
         .reference =
             absl::StrCat("PSS ", Fixed(idle.proportional / 1024, 1), " MiB"),
         .ratio = "",
         .must = "25 MiB",
         .aim = "20 MiB"});
  // What grows once only is there before it is counted.
  sessions.Add(kLive / 4, "rehearsal");
  const Memory few = MemoryOf(server.pid());
  sessions.Add(kLive, "rehearsal");
  const Memory live = MemoryOf(server.pid());
  Print({.what = "a live session more, without backlog",
         .measured = Fixed((live.resident - few.resident) / kLive, 1) + " KiB",
         .reference = "",
         .ratio = "",
         .must = "128 KiB",
         .aim = "64 KiB"});
  sessions.Add(kParked / 3, "parking");
  sessions.AwaitParked("parking");
  const Memory before = MemoryOf(server.pid());
  sessions.Add(kParked, "parking");
  sessions.AwaitParked("parking");
  const Memory parked = MemoryOf(server.pid());
  Print({.what = "a parked session more",
         .measured =
             Fixed((parked.resident - before.resident) / kParked, 1) + " KiB",
         .reference = "",
         .ratio = "",
         .must = "4 KiB",
         .aim = "2 KiB"});
}

}  // namespace
}  // namespace understudy::bench

int main(int argc, char** argv) {
  using namespace understudy::bench;  // NOLINT
  const std::vector<std::string_view> parts(argv + 1, argv + argc);
  const auto wanted = [&parts](std::string_view part) {
    return parts.empty() ||
           std::find(parts.begin(), parts.end(), part) != parts.end();
  };
  if (wanted("turn")) MeasureTurns();
  if (wanted("kill")) MeasureKills();
  if (wanted("memory")) MeasureMemory();
  return 0;
}
