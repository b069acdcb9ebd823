#include "session/agent/rehearsal/options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/strings/str_split.h"
#include "session/agent/rehearsal/json.h"
#include "session/agent/rehearsal/script.h"

namespace understudy::session {
namespace {

constexpr char kDescription[] =
    R"(A scripted coding agent, for trying out and for tests. It speaks Claude Code's
stream-json (as version 2.1.329, or 2.1.197 with --legacy), or the Agent Client
Protocol, with the host that started it, keeps its conversations where Claude
Code does, needs no key and no network, and misbehaves on request.

Its own options may also stand in the environment variable
UNDERSTUDY_REHEARSAL, separated by spaces ("..." and '...' quote).)";

constexpr char kLogHelp[] =
    R"(LOG
  Each line of the --log file is a JSON object with time, pid, session_id and
  event: spawn (argv, model, resumed), user (uuid, text), turn (text, uuids,
  model, outcome, result; before the result line), clear (previous_session_id),
  set_model (requested, model), permission (tool, behaviour), tool and orphan
  (child), fault (fault; before it happens), exit (code); with --log-lines also
  line (line, before it is written; not those of a stream_event or of --deltas,
  and not what a fault writes). With --protocol=acp also new, load (method) and
  close; session_id is empty where no conversation is concerned, and a uuid is
  the messageId of a session/prompt that has one.
)";

// What the host gives to Claude Code in ways that CLI11 does not take as they
// are: "--name=" with nothing behind it.
void Append(std::string argument, std::vector<std::string>& arguments) {
  if (argument.size() > 3 && argument.compare(0, 2, "--") == 0 &&
      argument.back() == '=') {
    argument.pop_back();
    arguments.push_back(std::move(argument));
    argument.clear();
  }
  arguments.push_back(std::move(argument));
}

std::vector<std::string> SplitWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (char c : text) {
    if (quote != 0 ? c == quote : c == '"' || c == '\'') {
      quote = quote != 0 ? 0 : c;
      in_word = true;
    } else if (quote == 0 && (c == ' ' || c == '\t' || c == '\n')) {
      if (in_word) words.push_back(std::exchange(word, ""));
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (in_word) words.push_back(word);
  return words;
}

// The lines of the file, which nobody else gets; none if there is no file.
std::vector<std::string> TakeLines(const std::string& path) {
  if (path.empty()) return {};
  const std::string mine = path + "." + std::to_string(getpid());
  if (rename(path.c_str(), mine.c_str()) != 0) return {};
  std::vector<std::string> lines;
  std::ifstream file(mine);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  unlink(mine.c_str());
  return lines;
}

int Refuse(const std::string& text) {
  fprintf(stderr, "%s\n", text.c_str());
  return 1;
}

// Everything as the command line has it, before it is checked.
struct Raw {
  std::string next_faults;
  std::string input_format = "text";
  std::string output_format = "text";
  std::string permission_prompt_tool;
  std::string protocol = "stream-json";
  std::string write = "line";
  std::string models;
  std::vector<std::string> faults;
  bool verbose = false;
  bool skip_permissions = false;
  bool allow_skip_permissions = false;
  bool version = false;
  bool ignored = false;
  std::vector<std::string> ignored_values;
};

void DefineClaudeOptions(CLI::App& app, Options& options, Raw& raw) {
  const char* group = kClaudeGroup;
  auto flag = [&](const char* name, bool& value, const char* help) {
    app.add_flag(name, value, help)->group(group);
  };
  auto text = [&](const char* name, std::string& value, const char* help) {
    app.add_option(name, value, help)
        ->group(group)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  text("--input-format", raw.input_format, "Must be stream-json");
  text("--output-format", raw.output_format, "Must be stream-json");
  flag("--verbose", raw.verbose, "Required");
  flag("--include-partial-messages", options.include_partial_messages,
       "Write stream_event frames");
  flag("--replay-user-messages", options.replay_user_messages,
       "Repeat user lines with isReplay");
  text("--permission-prompt-tool", raw.permission_prompt_tool,
       "stdio: ask the host; else tools are denied");
  text("--model", options.model, "An id or an alias");
  text("--session-id", options.session_id, "The id of a new conversation");
  app.add_option("-r,--resume", options.resume, "The conversation to continue")
      ->group(group)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  flag("--fork-session", options.fork_session,
       "Continue a copy of the resumed conversation");
  text("--permission-mode", options.permission_mode,
       "default, acceptEdits, plan, dontAsk, auto, bypassPermissions");
  flag("--dangerously-skip-permissions", raw.skip_permissions,
       "As --permission-mode=bypassPermissions");
  flag("--allow-dangerously-skip-permissions", raw.allow_skip_permissions,
       "Let set_permission_mode choose bypassPermissions");
  flag("-v,--version", raw.version, "Print the version");
  // Accepted, because hosts pass them, without a meaning here.
  app.add_flag(
         "-p,--print,--strict-mcp-config,--no-session-persistence,"
         "--include-hook-events,--disable-slash-commands",
         raw.ignored, "Accepted")
      ->group(group);
  app.add_option(
         "--settings,--setting-sources,--mcp-config,--add-dir,--tools,"
         "--allowedTools,--disallowedTools,--system-prompt,"
         "--append-system-prompt,--max-turns,--fallback-model,"
         "--agents,--effort",
         raw.ignored_values, "Accepted")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void DefineOwnOptions(CLI::App& app, Options& options, Raw& raw) {
  const char* group = "The rehearsal agent's own";
  auto option = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)
        ->group(group)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  };
  option("--protocol", raw.protocol,
         "stream-json: Claude Code's (the default); acp: the Agent Client "
         "Protocol, version 1, with any number of conversations at a time")
      ->check(CLI::IsMember({"stream-json", "acp"}));
  app.add_flag("--legacy", options.legacy,
               "Behave as 2.1.197: no versions and capabilities, no uuid "
               "echoes, set_model that accepts anything and tells nothing")
      ->group(group);
  option("--log", options.log,
         "Append what the agent is told and does to this file, as JSON lines");
  app.add_flag("--log-lines", options.log_lines,
               "Log the lines that the agent writes, too")
      ->group(group);
  option("--models", raw.models, "More models that exist, separated by commas");
  app.add_option("--bad-model", options.bad_models,
                 "A model that does not exist after all; repeatable. Unknown "
                 "ones, such as claude-bogus-9, never do")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--blind-model", options.blind_models,
                 "A model that cannot read what another one has answered: the "
                 "turn fails as for a signature that is not its own; "
                 "repeatable")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--fault", raw.faults, "What goes wrong, see FAULTS")
      ->group(group)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  option("--next-faults", raw.next_faults,
         "A file with faults, one a line, for the one agent that starts next: "
         "it takes the file away. There need not be one");
  option("--deltas", options.deltas,
         "Begin every turn with so many text deltas, as fast as the pipe "
         "takes them")
      ->check(CLI::NonNegativeNumber);
  option("--delta-bytes", options.delta_bytes,
         "Text bytes of such a delta (8: lines of 280)")
      ->check(CLI::Range(1, 1 << 20));
  option("--write", raw.write,
         "bulk: write deltas in blocks of 64 KiB; line: each on its own")
      ->check(CLI::IsMember({"bulk", "line"}));
}

// What Claude Code wants of its formats.
std::optional<int> CheckFormats(const Raw& raw) {
  if (raw.output_format != "stream-json") {
    return Refuse(raw.input_format == "stream-json"
                      ? "Error: --input-format=stream-json requires "
                        "output-format=stream-json."
                      : "Error: this agent speaks --input-format stream-json "
                        "--output-format stream-json only.");
  }
  if (!raw.verbose) {
    return Refuse(
        "Error: When using --print, --output-format=stream-json requires "
        "--verbose");
  }
  return std::nullopt;
}

std::optional<int> Check(const CLI::App& app, const Raw& raw,
                         Options& options) {
  const bool acp = raw.protocol == "acp";
  options.protocol = acp ? Protocol::kAcp : Protocol::kStreamJson;
  if (raw.version) {
    printf("%s (understudy-rehearsal)\n", options.version());
    return 0;
  }
  std::string error = CheckAcpOptions(app, acp, options.acp);
  if (!error.empty()) return Refuse(error);
  if (!acp) {
    if (auto exit_code = CheckFormats(raw)) return exit_code;
  }
  bool bypass = raw.skip_permissions || raw.allow_skip_permissions ||
                options.permission_mode == "bypassPermissions";
  const char* sandbox = getenv("IS_SANDBOX");
  if (bypass && geteuid() == 0 &&
      (sandbox == nullptr || std::string_view(sandbox) != "1")) {
    return Refuse(
        "--dangerously-skip-permissions cannot be used with root/sudo "
        "privileges for security reasons");
  }
  if (raw.skip_permissions) options.permission_mode = "bypassPermissions";
  options.bypass_allowed = bypass;
  options.asks_permission = raw.permission_prompt_tool == "stdio";
  if (!options.session_id.empty() && !IsUuid(options.session_id)) {
    return Refuse("Error: Invalid session ID. Must be a valid UUID.");
  }
  if (options.resume && !IsUuid(*options.resume)) {
    return Refuse(
        "Error: --resume requires a valid session ID or session title when "
        "used with --print. Provided value \"" +
        *options.resume + "\" is neither.");
  }
  if (options.resume && !options.session_id.empty() && !options.fork_session) {
    return Refuse(
        "Error: --session-id with --continue or --resume also needs "
        "--fork-session.");
  }
  std::vector<std::string> faults = raw.faults;
  for (std::string& line : TakeLines(raw.next_faults)) {
    faults.push_back(std::move(line));
  }
  for (const std::string& text : faults) {
    absl::StatusOr<Fault> fault = ParseFault(text, options.protocol);
    if (!fault.ok()) {
      return Refuse("error: " + std::string(fault.status().message()));
    }
    options.faults.push_back(*std::move(fault));
  }
  if (acp) error = CheckAcpFaults(options.acp, options.faults);
  if (!error.empty()) return Refuse(error);
  options.models = absl::StrSplit(raw.models, ',', absl::SkipEmpty());
  options.write_in_blocks = raw.write == "bulk";
  return std::nullopt;
}

}  // namespace

std::optional<int> ParseOptions(int argc, char** argv, Options& options) {
  std::vector<std::string> arguments;
  if (const char* own = getenv("UNDERSTUDY_REHEARSAL")) {
    for (std::string& word : SplitWords(own)) {
      Append(std::move(word), arguments);
    }
  }
  for (int i = 1; i < argc; ++i) Append(argv[i], arguments);

  CLI::App app(kDescription, "understudy-rehearsal");
  Raw raw;
  DefineClaudeOptions(app, options, raw);
  DefineOwnOptions(app, options, raw);
  DefineAcpOptions(app, options.acp);
  app.footer(std::string("\n") + kScriptHelp + "\n" + kFaultHelp + "\n" +
             kLogHelp);
  app.allow_extras();
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    printf("%s", app.help().c_str());
    return 0;
  } catch (const CLI::ParseError& error) {
    return Refuse(std::string("error: ") + error.what());
  }
  for (const std::string& extra : app.remaining()) {
    if (!extra.empty() && extra[0] == '-') {
      return Refuse("error: unknown option '" + extra + "'");
    }
  }
  return Check(app, raw, options);
}

}  // namespace understudy::session
