#include "tests/stress/server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/uuid.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "session/base/unique_fd.h"
#include "tests/support/processes.h"

namespace understudy::stress {
namespace {

constexpr char kMark[] = "UNDERSTUDY_STRESS_MARK";
constexpr char kAgent[] = "understudy-rehe";  // as the kernel cuts the name

// All processes that there are.
std::vector<pid_t> Processes() {
  std::vector<pid_t> pids;
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc", ignored)) {
    int pid;
    if (absl::SimpleAtoi(entry.path().filename().string(), &pid)) {
      pids.push_back(pid);
    }
  }
  return pids;
}

// Short bounds, so that whatever hangs is found within seconds.
std::string Config(const std::string& programs, const std::string& folder,
                   const std::string& mark, int slots) {
  std::string config = absl::StrCat(
      "store: 'sqlite:", folder, "/store.db'\n", "listen: 'unix:", folder,
      "/run/server.sock'\n", "max_slots: ", slots, " max_queued_messages: 8\n",
      "interrupt_timeout { seconds: 1 }\n"
      "stop_grace { nanos: 300000000 }\n"
      "drain_timeout { seconds: 5 }\n");
  const std::pair<const char*, const char*> kProfiles[] = {
      {"native", ""},
      {"restart",
       "native_switch: NATIVE_SWITCH_NEVER disable: ['clear', 'resume']"},
      {"legacy", "arg: '--legacy'"},
  };
  for (const auto& [name, more] : kProfiles) {
    absl::StrAppend(
        &config, "profile { name: '", name, "' agent: 'claude' command: '",
        programs, "/understudy-rehearsal' ", more,
        " arg: ['--log=agent.log', '--log-lines', '--next-faults=next-faults']"
        " env { key: '",
        kMark, "' value: '", mark,
        "' } default_model: 'claude-sonnet-5-5'"
        " permission_policy: PERMISSION_POLICY_ALLOW"
        " start_timeout { seconds: 5 } switch_timeout { seconds: 2 }"
        " turn_timeout { seconds: 3 } idle_timeout { nanos: 500000000 } }\n");
  }
  return config;
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Server::Server(std::string programs, int slots)
    : programs_(std::move(programs)),
      slots_(slots),
      folder_(
          (std::filesystem::temp_directory_path() / "understudy-stress-XXXXXX")
              .string()) {
  if (mkdtemp(folder_.data()) == nullptr) abort();
  folder_ = std::filesystem::canonical(folder_).string();
  const std::string value = client::NewUuid();
  mark_ = absl::StrCat(kMark, "=", value);
  std::ofstream(folder_ + "/config.textproto")
      << Config(programs_, folder_, value, slots_);
}

Server::~Server() {
  if (pid_ > 0) Kill();
  std::error_code ignored;
  if (!keep_folder_) std::filesystem::remove_all(folder_, ignored);
}

const std::vector<std::string>& Server::Profiles() {
  static const auto& profiles =
      *new std::vector<std::string>{"native", "restart", "legacy"};
  return profiles;
}

absl::Status Server::Start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::InternalError("pipe");
  const session::UniqueFd output(ends[0]);
  session::UniqueFd end(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO,
                                   (folder_ + "/server.log").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  std::string program = programs_ + "/understudyd";
  std::string config = "--config=" + folder_ + "/config.textproto";
  char* argv[] = {program.data(), config.data(), nullptr};
  std::string home = "HOME=" + folder_;
  std::string path = absl::StrCat("PATH=", getenv("PATH"));
  char* environment[] = {home.data(), path.data(), nullptr};
  const int error =
      posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environment);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    pid_ = -1;
    return absl::InternalError(absl::StrCat(program, ": ", strerror(error)));
  }
  end = session::UniqueFd();
  // It says so when it listens.
  pollfd readable = {output.get(), POLLIN, 0};
  char byte;
  if (poll(&readable, 1, 30'000) != 1 || read(output.get(), &byte, 1) != 1) {
    return absl::InternalError(absl::StrCat("the server did not start:\n",
                                            ReadFile(folder_ + "/server.log")));
  }
  return absl::OkStatus();
}

absl::Duration Server::Kill() {
  const absl::Time begin = absl::Now();
  kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, -1), nullptr, 0);
  while (!Descendants().empty() && absl::Now() - begin < absl::Seconds(30)) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::Now() - begin;
}

absl::Status Server::Stop() {
  kill(pid_, SIGTERM);
  if (!session::WaitUntilGone({pid_}, absl::Seconds(60))) {
    return absl::DeadlineExceededError("the server does not stop");
  }
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  if (status != 0) {
    return absl::InternalError(absl::StrCat("the server ended with ", status));
  }
  if (const size_t left = Descendants().size(); left != 0) {
    return absl::InternalError(
        absl::StrCat("the server has left ", left, " processes"));
  }
  return absl::OkStatus();
}

std::shared_ptr<grpc::Channel> Server::Connect() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 10);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  // One connection for each, not one for all that share an address.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel("unix:" + folder_ + "/run/server.sock",
                                   grpc::InsecureChannelCredentials(),
                                   arguments);
}

bool Server::HasMark(pid_t pid) const {
  const std::string environment =
      ReadFile(absl::StrCat("/proc/", pid, "/environ"));
  return environment.find(mark_) != std::string::npos;
}

pid_t Server::KillAnAgent(uint64_t choice) const {
  std::vector<pid_t> agents;
  for (const pid_t pid : Descendants()) {
    if (ReadFile(absl::StrCat("/proc/", pid, "/comm")) ==
        absl::StrCat(kAgent, "\n")) {
      agents.push_back(pid);
    }
  }
  if (agents.empty()) return 0;
  const pid_t pid = agents[choice % agents.size()];
  // The process that is killed is the one that was looked at.
  const session::UniqueFd pidfd(
      static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd || !HasMark(pid)) return 0;
  return syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0) == 0
             ? pid
             : 0;
}

std::vector<pid_t> Server::Descendants() const {
  std::vector<pid_t> marked;
  for (const pid_t pid : Processes()) {
    if (pid != pid_ && HasMark(pid) && session::IsAlive(pid)) {
      marked.push_back(pid);
    }
  }
  return marked;
}

int Server::OpenDescriptors() const {
  std::error_code error;
  const std::filesystem::directory_iterator all(
      absl::StrCat("/proc/", pid_, "/fd"), error);
  return static_cast<int>(std::distance(begin(all), end(all)));
}

int Server::Zombies() const {
  int zombies = 0;
  for (const pid_t pid : Processes()) {
    zombies += session::StatField(pid, 4) == absl::StrCat(pid_) &&
               session::StatField(pid, 3) == "Z";
  }
  return zombies;
}

}  // namespace understudy::stress
