// understudy-stress: kills agents, then the server, under load, and holds what
// is left to the rules of history.h. tests/stress/README.md says what it does.

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/error.h"
#include "tests/stress/driver.h"
#include "tests/stress/history.h"
#include "tests/stress/server.h"

namespace understudy::stress {
namespace {

struct Options {
  uint64_t seed = 0;
  int sessions = 8;
  int agent_kills = 60;
  int server_kills = 8;
  double gone_within = 1;  // seconds
  bool keep = false;
};

class Stress {
 public:
  explicit Stress(const Options& options)
      : options_(options),
        random_(options.seed),
        // Fewer than sessions: they take turns.
        server_(UNDERSTUDY_PROGRAMS, std::max(3, options.sessions * 2 / 3)) {}

  // Whether everything held.
  bool Run() {
    if (!Hold(server_.Start())) return Finish();
    for (int i = 0; i < options_.sessions; ++i) {
      const auto& profiles = Server::Profiles();
      // Every connection carries a few sessions.
      if (i % 4 == 0) channels_.push_back(server_.Connect());
      drivers_.push_back(std::make_unique<Driver>(
          channels_.back(),
          Driver::Options{.folder = absl::StrCat(server_.folder(), "/s", i),
                          .profile = profiles[i % profiles.size()],
                          .seed = random_()}));
    }
    KillAgents();
    KillServers();
    // What a new server reads is what is stored.
    if (Hold(server_.Stop()) && Hold(server_.Start())) CheckSessions();
    return Finish();
  }

 private:
  bool Hold(const absl::Status& status) {
    if (!status.ok()) broken_.push_back(status.ToString());
    return status.ok();
  }

  void Start() {
    for (auto& driver : drivers_) driver->Start();
  }
  // Every call is answered, and nothing runs.
  void Rest() {
    for (auto& driver : drivers_) driver->StopCalls();
    for (auto& driver : drivers_) Hold(driver->AwaitRest());
    for (auto& driver : drivers_) driver->StopReading();
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    while ((!server_.Descendants().empty() || server_.Zombies() > 0) &&
           absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    if (const size_t left = server_.Descendants().size(); left != 0) {
      broken_.push_back(
          absl::StrCat("no agent runs, and ", left, " processes are left"));
    }
    if (const int zombies = server_.Zombies(); zombies != 0) {
      broken_.push_back(absl::StrCat("the server has ", zombies, " zombies"));
    }
  }

  // Those that named points have killed.
  int Crashes() const {
    constexpr std::string_view kCrash = R"("event":"fault","fault":"crash@)";
    int crashes = 0;
    for (int i = 0; i < options_.sessions; ++i) {
      const std::string log =
          ReadFile(absl::StrCat(server_.folder(), "/s", i, "/agent.log"));
      for (size_t at = 0; (at = log.find(kCrash, at)) != log.npos; ++at) {
        ++crashes;
      }
    }
    return crashes;
  }

  void KillAgents() {
    if (options_.agent_kills == 0) return;
    // A round before, so that all that is opened once is open.
    Start();
    absl::SleepFor(absl::Milliseconds(500));
    Rest();
    const int descriptors = server_.OpenDescriptors();
    Start();
    // Two thirds by pid, and what is left when it is known how many named
    // points there were.
    for (int wanted = options_.agent_kills * 2 / 3; wanted > 0;
         wanted = options_.agent_kills - agent_kills_ - crashes_) {
      KillAgentsByPid(wanted);
      crashes_ = Crashes();
    }
    Rest();
    if (const int now = server_.OpenDescriptors(); now > descriptors) {
      broken_.push_back(absl::StrCat("the server had ", descriptors,
                                     " descriptors open, and has ", now));
    }
  }

  void KillAgentsByPid(int kills) {
    const absl::Time deadline = absl::Now() + kills * absl::Seconds(5);
    while (kills > 0) {
      if (absl::Now() > deadline) {
        broken_.push_back("for seconds on end there was no agent to be killed");
        return;
      }
      absl::SleepFor(absl::Milliseconds(random_() % 40));
      const pid_t pid = server_.KillAnAgent(random_());
      if (pid == 0) continue;
      for (auto& driver : drivers_) driver->NoteKill(pid);
      ++agent_kills_;
      --kills;
    }
  }

  void KillServers() {
    if (options_.server_kills == 0) return;
    for (auto& driver : drivers_) driver->set_slow_faults(false);
    Start();
    while (server_kills_ < options_.server_kills) {
      absl::SleepFor(absl::Milliseconds(random_() % 300));
      for (auto& driver : drivers_) driver->NoteKill(0);
      const absl::Duration gone = server_.Kill();
      ++server_kills_;
      slowest_gone_ = std::max(slowest_gone_, gone);
      if (gone > absl::Seconds(options_.gone_within)) {
        broken_.push_back(
            absl::StrCat("the server was killed, and its agents lived on for ",
                         absl::FormatDuration(gone)));
      }
      if (!Hold(server_.Start())) break;
      if (!AwaitRecovery()) break;
    }
    Rest();
  }

  // Every session has had a turn since the server was killed.
  bool AwaitRecovery() {
    const absl::Time deadline = absl::Now() + kCallBound;
    for (auto& driver : drivers_) {
      while (!driver->recovered()) {
        if (absl::Now() > deadline) {
          broken_.push_back(absl::StrCat("session ", driver->session_id(),
                                         " does not recover"));
          return false;
        }
        absl::SleepFor(absl::Milliseconds(2));
      }
    }
    return true;
  }

  void CheckSessions() {
    for (auto& driver : drivers_) {
      const SessionHistory history = driver->History();
      for (const v1::Event& event : history.stored) {
        turns_ += event.has_turn_completed();
        agents_ += event.has_agent_started();
      }
      events_ += history.stored.size();
      calls_ += history.calls.size();
      for (const Call& call : history.calls) {
        slowest_call_ = std::max(slowest_call_, call.took);
        const auto reason = ReasonOf(call.status);
        ++answers_[call.status.ok() ? "OK"
                   : reason         ? std::string(ReasonName(*reason))
                            : absl::StatusCodeToString(call.status.code())];
      }
      for (const AgentEntry& entry : history.agents) {
        if (entry.event == "fault") ++faults_[entry.fault];
      }
      agent_recovery_ = std::max(agent_recovery_, driver->slowest(false));
      server_recovery_ = std::max(server_recovery_, driver->slowest(true));
      std::vector<std::string> broken = CheckSession(history);
      for (std::string& one : driver->broken()) {
        broken.push_back(std::move(one));
      }
      for (const std::string& one : broken) {
        broken_.push_back(
            absl::StrCat("session ", driver->session_id(), ": ", one));
      }
    }
  }

  bool Finish() {
    drivers_.clear();
    for (const std::string& one : broken_) {
      std::printf("broken: %s\n", one.c_str());
    }
    for (const auto* const counted : {&faults_, &answers_}) {
      std::string line;
      for (const auto& [what, times] : *counted) {
        absl::StrAppend(&line, line.empty() ? "" : ", ", what, " ", times);
      }
      std::printf("%s: %s\n", counted == &faults_ ? "faults" : "answers",
                  line.c_str());
    }
    std::printf(
        "seed %llu: %d agents killed by pid, %d at named points, %d servers; "
        "%d sessions, %d agents, %d calls, %d turns, %d events; %zu rules "
        "broken; slowest recovery of an agent %s, of a server %s; slowest call "
        "%s; agents gone within %s of their server\n",
        static_cast<unsigned long long>(options_.seed), agent_kills_, crashes_,
        server_kills_, options_.sessions, agents_, calls_, turns_, events_,
        broken_.size(), absl::FormatDuration(agent_recovery_).c_str(),
        absl::FormatDuration(server_recovery_).c_str(),
        absl::FormatDuration(slowest_call_).c_str(),
        absl::FormatDuration(slowest_gone_).c_str());
    if (!broken_.empty() || options_.keep) {
      server_.keep_folder();
      std::printf("store and logs are in %s\n", server_.folder().c_str());
    }
    return broken_.empty();
  }

  const Options options_;
  std::mt19937_64 random_;
  Server server_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::vector<std::string> broken_;

  int agent_kills_ = 0;
  int crashes_ = 0;
  int server_kills_ = 0;
  int agents_ = 0;
  int calls_ = 0;
  int turns_ = 0;
  int events_ = 0;
  std::map<std::string, int> faults_;
  std::map<std::string, int> answers_;
  absl::Duration agent_recovery_;
  absl::Duration server_recovery_;
  absl::Duration slowest_call_;
  absl::Duration slowest_gone_;
};

}  // namespace
}  // namespace understudy::stress

int main(int argc, char** argv) {
  using namespace understudy::stress;
  Options options;
  options.seed = std::random_device()();
  CLI::App app("Kills agents and servers under load and checks what is left.",
               "understudy-stress");
  // The last one wins.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--seed", options.seed, "Of all that is random here");
  app.add_option("--sessions", options.sessions, "Sessions (8)")
      ->check(CLI::Range(1, 200));
  app.add_option("--agent-kills", options.agent_kills,
                 "SIGKILLs of agents, by pid and at named points (60)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--server-kills", options.server_kills,
                 "SIGKILLs of the server (8)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--gone-within", options.gone_within,
                 "Seconds within which agents are gone after their server (1)");
  app.add_flag("--keep", options.keep, "Keep store and logs");
  CLI11_PARSE(app, argc, argv);
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  return Stress(options).Run() ? 0 : 1;
}
