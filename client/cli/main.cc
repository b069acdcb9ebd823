// understudyctl: the API of a server as a command line.

#include <algorithm>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/signal_waiter.h"

namespace understudy::client {
namespace {

struct Globals {
  std::string server;
  Format format = Format::kText;
  std::string timeout;
};

// "90" (seconds), "1.5s", "2m", "500ms".
bool ParseTimeout(const std::string& text, absl::Duration& timeout) {
  double seconds;
  if (absl::SimpleAtod(text, &seconds)) {
    timeout = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(text, &timeout)) {
    return false;
  }
  return timeout > absl::ZeroDuration();
}

std::string CheckTimeout(const std::string& text) {
  absl::Duration timeout;
  return ParseTimeout(text, timeout) ? ""
                                     : "must be a time, such as 90 or 1m30s";
}

int Run(const Globals& globals, const Command& command) {
  absl::Duration timeout = absl::InfiniteDuration();
  if (!globals.timeout.empty()) ParseTimeout(globals.timeout, timeout);
  const absl::Time deadline = absl::Now() + timeout;

  // Before the first thread is started, which inherits it.
  if (command.takes_signals) BlockEndingSignals();

  ClientOptions options;
  options.connect_timeout = std::min(options.connect_timeout, timeout);
  const auto client = Client::Connect(globals.server, options);
  if (!client.ok()) {
    PrintError(command.name, ErrorText(client.status()));
    return kCannotConnect;
  }
  const int code =
      command.run({**client, globals.format, deadline, command.name});
  if (!std::cout.flush()) {
    PrintError(command.name, "standard output cannot be written");
    return kRpcFailed;
  }
  return code;
}

int Main(int argc, char** argv) {
  CLI::App app("Controls coding agents through an understudy server.",
               "understudyctl");
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", UNDERSTUDY_VERSION);
  app.footer(
      "SESSION is a session's id. JSON is the standard mapping of proto3, one\n"
      "object a line. Exit codes: 0 success; 1 the RPC or the turn failed, "
      "the\n"
      "reason is on standard error; 2 usage; 3 cannot connect.");

  Globals globals;
  app.add_option("--server", globals.server,
                 "unix:/path or host:port (UNDERSTUDY_SERVER; default: the "
                 "user's socket)");
  app.add_option("--output", globals.format, "text or json")
      ->transform(CLI::CheckedTransformer(
                      std::vector<std::pair<std::string, Format>>{
                          {"text", Format::kText}, {"json", Format::kJson}})
                      .description("{text,json}"));
  app.add_option("--timeout", globals.timeout,
                 "give up after this long: 90 (seconds), 1m30s")
      ->check(CLI::Validator(
          [](std::string& text) { return CheckTimeout(text); }, "TIME"));

  Command command;
  AddSessionCommands(app, command);
  AddSendCommand(app, command);
  AddTransitionCommands(app, command);
  AddTurnCommands(app, command);
  AddWatchCommand(app, command);
  AddListingCommands(app, command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kUsage;
  }
  return Run(globals, command);
}

}  // namespace

}  // namespace understudy::client

int main(int argc, char** argv) { return understudy::client::Main(argc, argv); }
