// watch.

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/event_text.h"
#include "client/cli/signal_waiter.h"
#include "proto/error.h"

namespace understudy::client {
namespace {

struct WatchArguments {
  std::string session_id;
  std::optional<uint64_t> after;
  bool deltas = false;
  bool raw = false;
};

void DeclareWatch(CLI::App& command, WatchArguments& arguments) {
  command.add_option("SESSION", arguments.session_id)->required();
  command
      .add_option_function<uint64_t>(
          "--after",
          [&arguments](uint64_t sequence) { arguments.after = sequence; },
          "show what follows this sequence; 0: everything (default: from now "
          "on)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--deltas", arguments.deltas,
                   "show text as the agent writes it, too");
  command.add_flag("--raw", arguments.raw,
                   "write the agent's own lines, as .jsonl, and nothing else");
}

void PrintEvent(const Context& context, const WatchArguments& arguments,
                const v1::Event& event) {
  if (arguments.raw) {
    // The first event that a line made carries it.
    if (event.raw().empty()) return;
    std::cout << event.raw() << "\n";
    if (event.truncated_bytes() > 0) {
      PrintError(
          context.command,
          absl::StrCat("the line of event ", event.sequence(), " is cut by ",
                       event.truncated_bytes(), " bytes"));
    }
  } else if (context.format == Format::kJson) {
    PrintJson(event);
  } else {
    std::cout << EventText(event) << "\n";
  }
}

int Watch(const Context& context, const WatchArguments& arguments) {
  const auto stream = context.client.StreamEvents(
      {.session_id = arguments.session_id,
       .after_sequence = arguments.after,
       .include_deltas = arguments.deltas,
       .include_raw = arguments.raw,
       .on_interruption = [&](const absl::Status& why, absl::Duration wait) {
         PrintError(context.command,
                    absl::StrCat(ErrorText(why), "; again in ",
                                 absl::FormatDuration(absl::Trunc(
                                     wait, absl::Milliseconds(1)))));
       }});
  const SignalWaiter waiter([&stream] { stream->Cancel(); });
  bool deleted = false;
  const absl::Status end = stream->ForEach(
      [&](auto events) {
        for (const v1::Event* event : events) {
          PrintEvent(context, arguments, *event);
          deleted = event->has_session_deleted();
        }
        // A reader that has gone away is the end, too.
        return static_cast<bool>(std::cout.flush());
      },
      context.deadline);
  const bool ended_well =
      end.ok() || absl::IsCancelled(end) || (deleted && absl::IsNotFound(end));
  return ended_well ? kSuccess : Fail(context, end);
}

}  // namespace

void AddWatchCommand(CLI::App& app, Command& chosen) {
  CLI::App& command = AddCommand(
      app, chosen, "watch",
      "Show a session's events, each once, until Ctrl-C or its deletion.",
      DeclareWatch, Watch);
  command.parse_complete_callback([&chosen] { chosen.takes_signals = true; });
}

}  // namespace understudy::client
