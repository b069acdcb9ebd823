// understudyd: the server program. Flags, signals, exit code.
//
// Exit codes: 0 stopped as told, or the configuration is good; 1 it could not
// start, or did not stop in time; 2 the command line is wrong.

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"
#include "service/build_info.h"
#include "service/config.h"
#include "service/server.h"
#include "session/base/log.h"
#include "session/base/unique_fd.h"

namespace understudy::service {
namespace {

using session::Log;
using session::LogLevel;

struct Flags {
  Overrides overrides;
  std::string config_path;
  bool check_config = false;
  absl::Duration drain_timeout = absl::ZeroDuration();  // 0: as configured
  LogLevel log_level = LogLevel::kInfo;
  session::LogFormat log_format = session::LogFormat::kText;
};

// Nothing: the program is to end with `exit_code`.
std::optional<Flags> ParseFlags(int argc, char** argv, int* exit_code) {
  Flags flags;
  CLI::App app("Controls coding agents over gRPC.", "understudyd");
  app.set_version_flag(
      "--version", absl::StrCat("understudyd ", Version(), " (", Build(), ")"));
  app.add_option("--listen", flags.overrides.listen,
                 "where to listen: unix:/path or host:port (loopback); may be "
                 "given more than once [a unix socket of this user's]")
      ->option_text("ADDRESS")
      ->allow_extra_args(false);
  app.add_option("--store", flags.overrides.store,
                 "where sessions are kept: sqlite:/path or memory: [a file of "
                 "this user's]")
      ->option_text("URL");
  app.add_option("--config", flags.config_path,
                 "a configuration file (textproto of understudy.v1.Config)")
      ->option_text("FILE");
  app.add_flag("--check-config", flags.check_config,
               "report what is wrong with the configuration, and exit");
  app.add_option_function<std::string>(
         "--drain-timeout",
         [&flags](const std::string& text) {
           if (!absl::ParseDuration(text, &flags.drain_timeout) ||
               flags.drain_timeout <= absl::ZeroDuration() ||
               flags.drain_timeout > absl::Hours(1)) {
             throw CLI::ValidationError(
                 "--drain-timeout", "must be a time such as 10s, at most 1h");
           }
         },
         "how long running turns may go on when the server stops [10s]")
      ->option_text("TIME");
  app.add_option("--log-level", flags.log_level, "what is logged [info]")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, LogLevel>{{"debug", LogLevel::kDebug},
                                          {"info", LogLevel::kInfo},
                                          {"warning", LogLevel::kWarning},
                                          {"error", LogLevel::kError},
                                          {"off", LogLevel::kOff}}))
      ->option_text("debug|info|warning|error|off");
  app.add_option("--log-format", flags.log_format, "how it is logged [text]")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, session::LogFormat>{
              {"text", session::LogFormat::kText},
              {"json", session::LogFormat::kJson}}))
      ->option_text("text|json");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    *exit_code = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  return flags;
}

// The content of a file, or of a pipe to its end.
absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const session::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (!file || fstat(file.get(), &info) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)) {
    return absl::FailedPreconditionError("is neither a file nor a pipe");
  }
  std::string text;
  char bytes[4096];
  while (true) {
    const ssize_t size = read(file.get(), bytes, sizeof(bytes));
    if (size == 0) return text;
    if (size > 0) {
      text.append(bytes, static_cast<size_t>(size));
    } else if (errno != EINTR) {
      return absl::UnavailableError(std::strerror(errno));
    }
  }
}

std::optional<ConfigResult> Configure(const Flags& flags) {
  std::optional<ConfigFile> file;
  if (!flags.config_path.empty()) {
    absl::StatusOr<std::string> text = ReadFile(flags.config_path);
    if (!text.ok()) {
      std::cerr << flags.config_path << ": " << text.status().message() << "\n";
      return std::nullopt;
    }
    file = ConfigFile{flags.config_path, *std::move(text)};
  }
  ConfigResult result =
      ReadConfiguration(file, flags.overrides, Environment::OfThisProcess());
  if (flags.drain_timeout > absl::ZeroDuration()) {
    result.configuration.drain_timeout = flags.drain_timeout;
  }
  return result;
}

// What libraries say goes where our own log goes.
void RouteLibraryLogs() {
  gpr_set_log_function([](gpr_log_func_args* args) {
    Log(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning
                                                 : LogLevel::kDebug,
        "grpc", {{"error", args->message}});
  });
  // A message that cannot be decoded is reported by the call it came with.
  google::protobuf::SetLogHandler(nullptr);
}

// As many descriptors as we may have: pipes of agents, connections.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Ends the process if `done` has not been notified in time: a stop that hangs
// must not hang for ever. Agents end with their guards.
class HardExit {
 public:
  explicit HardExit(absl::Duration bound)
      : thread_([this, bound] {
          if (done_.WaitForNotificationWithTimeout(bound)) return;
          Log(LogLevel::kError, "did not stop in time");
          _exit(1);
        }) {}
  ~HardExit() {
    done_.Notify();
    thread_.join();
  }

 private:
  absl::Notification done_;
  std::thread thread_;
};

// SIGTERM, SIGINT and SIGHUP, which must be blocked in all threads: the first
// is what Wait waits for, the second ends the process.
class Signals {
 public:
  Signals() {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
      sigaddset(&set_, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  int Wait() const {
    int signal = 0;
    sigwait(&set_, &signal);
    return signal;
  }

  // From now on the next one ends the process.
  void ExitOnNext() {
    std::thread([set = set_] {
      int signal = 0;
      sigwait(&set, &signal);
      Log(LogLevel::kWarning, "stopped at once, by a second signal");
      _exit(128 + signal);
    }).detach();
  }

 private:
  sigset_t set_;
};

int Run(const Flags& flags) {
  std::optional<ConfigResult> config = Configure(flags);
  if (!config.has_value()) return 1;
  for (const std::string& problem : config->problems) {
    std::cerr << problem << "\n";
  }
  if (flags.check_config) {
    for (const std::string& warning : config->warnings) {
      std::cerr << warning << "\n";
    }
    if (config->problems.empty()) std::cout << "the configuration is good\n";
  }
  if (!config->problems.empty()) return 1;
  if (flags.check_config) return 0;

  session::InitLog(flags.log_level, flags.log_format);
  RouteLibraryLogs();
  RaiseDescriptorLimit();
  Signals signals;
  for (const std::string& warning : config->warnings) {
    Log(LogLevel::kWarning, warning);
  }
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(std::move(config->configuration));
  if (!server.ok()) {
    std::cerr << "understudyd: " << server.status().message() << "\n";
    return 1;
  }
  for (const std::string& address : (*server)->addresses()) {
    std::cout << "listening on " << address << std::endl;
  }
  Log(LogLevel::kInfo, "started", {{"version", Version()}});

  signals.Wait();
  signals.ExitOnNext();
  Log(LogLevel::kInfo, "stopping");
  const HardExit hard_exit((*server)->DrainBound());
  (*server)->Drain();
  server->reset();
  Log(LogLevel::kInfo, "stopped");
  return 0;
}

}  // namespace
}  // namespace understudy::service

int main(int argc, char** argv) {
  int exit_code = 0;
  const auto flags = understudy::service::ParseFlags(argc, argv, &exit_code);
  return flags.has_value() ? understudy::service::Run(*flags) : exit_code;
}
