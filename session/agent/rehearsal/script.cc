#include "session/agent/rehearsal/script.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "session/agent/rehearsal/json.h"

namespace understudy::session {

const char kScriptHelp[] =
    R"(MESSAGES
  A turn ends with the text "model=M turns=N text=T": the model in use, how many
  messages of the user the conversation has, the message, with a line "[image
  TYPE N bytes]" for each picture. "remember 4711" makes the agent remember that
  number, as long as the conversation has the message; "what is the number" is
  answered by "The number is 4711." or "I know of no number.".

  A line of a message that begins with one of these words (spaces before it do
  not count) makes something happen before that text:
    !think TEXT             a block of thinking
    !tool NAME JSON         a tool call, with a permission request where the
                            permission mode asks for one; nothing is executed
    !sleep SECONDS          a Bash tool call that runs a real process tree in
                            a session of its own; no permission needed
    !background SECONDS     the same in the background; when it ends, the agent
                            starts a turn of its own
    !deltas N BYTES [MS]    N text deltas of so many bytes, MS apart
    !long BYTES             the closing text is filled up to that length
    !error STATUS           the API fails with that status; 401, 429 and 5xx
                            after two retries
    !unknown                a line of a type that nobody knows
    !line JSON              that line, as it is
    !fault FAULT            arms a fault, see below
  With --protocol=acp, !tool TodoWrite {"todos":[...]} is a plan and needs no
  permission; a !background that ends is told by an agent_message_chunk outside
  of a turn; !error fails the prompt (401: -32000, others: -32603); !unknown is
  a session/update and a notification that nobody knows; and slash commands are
  text like any other.
)";

namespace {

struct Word {
  std::string_view name;
  std::string_view rest;
};

Word FirstWord(std::string_view line) {
  size_t end = line.find_first_of(" \t");
  if (end == std::string_view::npos) return {line, ""};
  size_t next = line.find_first_not_of(" \t", end);
  return {line.substr(0, end),
          next == std::string_view::npos ? "" : line.substr(next)};
}

std::vector<int64_t> Numbers(std::string_view text) {
  std::vector<int64_t> numbers;
  for (absl::string_view word :
       absl::StrSplit(absl::string_view(text.data(), text.size()), ' ',
                      absl::SkipWhitespace())) {
    int64_t number;
    if (!absl::SimpleAtoi(word, &number) || number < 0) return {};
    numbers.push_back(number);
  }
  return numbers;
}

bool IsSeconds(const std::string& text) {
  double seconds;
  return absl::SimpleAtod(text, &seconds) && seconds >= 0 && seconds < 1e6;
}

std::string Lower(std::string_view text) {
  return absl::AsciiStrToLower(absl::string_view(text.data(), text.size()));
}

std::optional<ScriptStep> ParseTool(std::string_view rest) {
  Word tool = FirstWord(rest);
  std::string input(tool.rest.empty() ? "{}" : tool.rest);
  if (tool.name.empty() || !ParseJson(input).is_object()) return std::nullopt;
  return UseTool{std::string(tool.name), input};
}

std::optional<ScriptStep> ParseDeltas(std::string_view rest) {
  std::vector<int64_t> n = Numbers(rest);
  if (n.size() < 2 || n.size() > 3 || n[1] < 1 || n[1] > 1 << 20) {
    return std::nullopt;
  }
  return StreamDeltas{n[0], static_cast<int>(n[1]),
                      std::chrono::milliseconds(n.size() == 3 ? n[2] : 0)};
}

// Nothing if the words behind `name` are wrong, or it is none of ours.
std::optional<ScriptStep> ParseStep(std::string_view name,
                                    std::string_view rest) {
  std::string text(rest);
  std::vector<int64_t> numbers = Numbers(rest);
  if (name == "!think" && !rest.empty()) return Think{text};
  if (name == "!tool") return ParseTool(rest);
  if (name == "!sleep" && IsSeconds(text)) return RunCommand{text, false};
  if (name == "!background" && IsSeconds(text)) return RunCommand{text, true};
  if (name == "!deltas") return ParseDeltas(rest);
  if (name == "!long" && numbers.size() == 1 && numbers[0] <= 1 << 30) {
    return FillUp{static_cast<size_t>(numbers[0])};
  }
  if (name == "!error" && numbers.size() == 1) {
    return ApiFailure{static_cast<int>(numbers[0])};
  }
  if (name == "!unknown") {
    return WriteNovelty{};
  }
  if (name == "!line" && !ParseJson(rest).is_discarded()) {
    return WriteLine{text};
  }
  return std::nullopt;
}

bool IsWord(std::string_view name) {
  for (std::string_view word :
       {"!think", "!tool", "!sleep", "!background", "!deltas", "!long",
        "!error", "!unknown", "!line", "!fault"}) {
    if (name == word) return true;
  }
  return false;
}

// The last number in `text`, behind the word "remember".
std::optional<std::string> NumberToRemember(std::string_view text) {
  std::string lower = Lower(text);
  size_t at = lower.find("remember");
  if (at == std::string::npos) return std::nullopt;
  auto digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  auto begin = std::find_if(lower.begin() + at, lower.end(), digit);
  auto end = std::find_if_not(begin, lower.end(), digit);
  if (begin == end) return std::nullopt;
  return std::string(begin, end);
}

bool AsksForTheNumber(std::string_view text) {
  std::string lower = Lower(text);
  return (lower.find("what") != std::string::npos ||
          lower.find("which") != std::string::npos) &&
         lower.find("number") != std::string::npos;
}

}  // namespace

std::vector<ScriptStep> ParseScript(std::string_view text, Protocol protocol) {
  std::vector<ScriptStep> steps;
  for (absl::string_view piece :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    piece = absl::StripAsciiWhitespace(piece);
    Word word = FirstWord(std::string_view(piece.data(), piece.size()));
    if (!IsWord(word.name)) continue;
    if (word.name == "!fault") {
      absl::StatusOr<Fault> fault = ParseFault(word.rest, protocol);
      if (fault.ok()) {
        steps.push_back(ArmFault{*std::move(fault)});
      } else {
        steps.push_back(Say{std::string(fault.status().message())});
      }
    } else if (auto step = ParseStep(word.name, word.rest)) {
      steps.push_back(*std::move(step));
    } else {
      steps.push_back(Say{absl::StrCat(std::string(word.name),
                                       ": not understood, see --help")});
    }
  }
  return steps;
}

std::string FinalText(std::string_view model,
                      const std::vector<std::string>& prompts,
                      std::string_view text) {
  std::string answer;
  if (auto number = NumberToRemember(text)) {
    absl::StrAppend(&answer, "I will remember ", *number, ". ");
  } else if (AsksForTheNumber(text)) {
    std::optional<std::string> known;
    for (const std::string& prompt : prompts) {
      if (auto found = NumberToRemember(prompt)) known = found;
    }
    absl::StrAppend(&answer, known ? "The number is " + *known + ". "
                                   : "I know of no number. ");
  }
  absl::StrAppend(&answer, "model=", std::string(model),
                  " turns=", prompts.size(), " text=", std::string(text));
  return answer;
}

std::vector<std::string_view> SplitText(std::string_view text, size_t bytes) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    size_t end = std::min(bytes, text.size());
    auto continues = [&](size_t i) {
      return i < text.size() &&
             (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
    };
    while (end > 1 && continues(end)) --end;
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return pieces;
}

}  // namespace understudy::session
