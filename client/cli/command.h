// Command: a subcommand of understudyctl.
//
// Each Add... function below declares one or a few of them with their
// arguments; parsing the command line chooses one. It runs once the server is
// reached.
//
// Threads: one.

#ifndef UNDERSTUDY_CLIENT_CLI_COMMAND_H_
#define UNDERSTUDY_CLIENT_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/output.h"
#include "client/cpp/client.h"

namespace understudy::client {

enum class Format { kText, kJson };

// Exit codes.
inline constexpr int kSuccess = 0;
inline constexpr int kRpcFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kCannotConnect = 3;

// What a subcommand runs with.
struct Context {
  const Client& client;
  Format format;
  // When the command is to have ended.
  absl::Time deadline;
  // Its name, for errors.
  std::string command;

  // For the next call.
  CallOptions Call() const;
};

struct Command {
  std::string name;
  // Returns the exit code.
  std::function<int(const Context&)> run;
  // True: it ends by itself, in good order, at SIGINT and SIGTERM, which are
  // blocked.
  bool takes_signals = false;
};

// Prints why the command failed; returns the exit code.
int Fail(const Context& context, const absl::Status& status);

// Prints an answer as `context` wants it.
template <typename Response, typename PrintText>
int Answer(const Context& context, const absl::StatusOr<Response>& response,
           PrintText print_text) {
  if (!response.ok()) return Fail(context, response.status());
  if (context.format == Format::kJson) {
    PrintJson(*response);
  } else {
    print_text(*response);
  }
  return kSuccess;
}

// Adds the option with which a command can be repeated.
template <typename Request>
void AddRequestId(CLI::App& command, Request& request) {
  command.add_option("--request-id", *request.mutable_request_id(),
                     "a repetition under the same id is not done again");
}

void AddSessionCommands(CLI::App& app, Command& chosen);
void AddSendCommand(CLI::App& app, Command& chosen);
void AddTransitionCommands(CLI::App& app, Command& chosen);
void AddTurnCommands(CLI::App& app, Command& chosen);
void AddWatchCommand(CLI::App& app, Command& chosen);
void AddListingCommands(CLI::App& app, Command& chosen);

// Adds a subcommand with the arguments `Arguments`, which `declare` gives their
// options, and which `run` gets.
template <typename Arguments>
CLI::App& AddCommand(CLI::App& app, Command& chosen, const std::string& name,
                     const std::string& description,
                     void (*declare)(CLI::App&, Arguments&),
                     int (*run)(const Context&, const Arguments&)) {
  CLI::App& command = *app.add_subcommand(name, description);
  const auto arguments = std::make_shared<Arguments>();
  declare(command, *arguments);
  command.callback([&chosen, name, arguments, run] {
    chosen.name = name;
    chosen.run = [arguments, run](const Context& context) {
      return run(context, *arguments);
    };
  });
  return command;
}

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_COMMAND_H_
