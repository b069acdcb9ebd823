#include "session/agent/rehearsal/misbehaviour.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "session/agent/rehearsal/tool_process.h"

namespace understudy::session {

const char kFaultHelp[] =
    R"(FAULTS
  --fault=KIND@POINT[:N][=ARG], as often as needed; !fault KIND@POINT[:N][=ARG]
  on a line of a message arms one from then on. N is the visit to the point, of
  this process, that triggers it: 1 (the default), 2, ... or * for every one.

  Points
    spawn          before anything is read
    initialize     an initialize request was read
    user           a user line was read
    turn-start     before the init line of a turn
    mid-turn       after the first content of a turn
    before-result  before the result line, the turn is on disk
    after-result   after the result line
    set-model      a set_model request was read
    set-mode       a set_permission_mode request was read
    clear          a /clear begins
    interrupt      an interrupt request was read
    permission     before a permission request
    exit           the agent is about to exit
  With --protocol=acp the same are
    user           a session/prompt was read
    turn-start     a prompt's turn begins
    before-result  before the response to a prompt, the turn is on disk
    after-result   after the response to a prompt
    set-model      a switch of the model was read, by either method
    set-mode       a switch of the mode was read, by either method
    clear          a session/new was read, but the process's first
    interrupt      a session/cancel was read
  and there are also
    new            a session/new was read
    load           a session/load or session/resume was read
    close          a session/close was read
  A fault that a message armed waits for visits of its conversation (but at
  initialize, new, load, clear and exit for any), one of --fault for those of
  all. What it does to more than an answer or a turn, it does to the process.

  Kinds
    delay=MS          Wait. At initialize, set-model, set-mode, interrupt, new,
                      load and close only that is late; in a turn the turn
                      stands still and requests are answered; at spawn, user
                      and exit the whole agent waits, but in ACP at user only
                      that prompt.
    crash[=CODE]      Die by SIGKILL, or exit with CODE.
    flood[=BYTES]     Write bytes without a newline, without end or so many.
    garbage[=TEXT]    Write a line that is not JSON.
    invalid-utf8      Write a line of JSON with bytes that are not UTF-8.
    nul               Write a line of JSON with NUL bytes in it.
    deep[=LEVELS]     Write a line of JSON that is nested so deep (10000).
    half-line         Write the first half of a line, without a newline.
    refuse[=TEXT]     Answer with an error. At initialize, set-model, set-mode,
                      interrupt and clear; in ACP also at new, load and
                      close, and at interrupt the cancellation is ignored.
    wedge             Stop doing anything, but live on. SIGTERM still works.
    ignore-sigterm    Ignore SIGTERM from now on.
    close-stdout      Close the standard output.
    close-stdin       Close the standard input, and live on.
    stop-reading      Read no further input.
    hog=MIB           Take so much memory and keep it.
    orphan[=SECONDS]  Leave a child in a session of its own that ignores
                      SIGTERM and holds stdin, stdout and stderr open (600 s).
    stderr=TEXT       Write TEXT to the standard error.
    lie-model=NAME    At set-model: change nothing and answer that the model is
                      NAME. At turn-start: name it as the turn's model (in
                      ACP, by a config_option_update). In ACP also at new and
                      load: answer that the conversation is at NAME.
)";

namespace {

using std::literals::operator""sv;
using Kind = Fault::Kind;
using Point = Fault::Point;

template <typename Value>
struct Name {
  std::string_view name;
  Value value;
};

constexpr Name<Kind> kKinds[] = {
    {"delay", Kind::kDelay},
    {"crash", Kind::kCrash},
    {"flood", Kind::kFlood},
    {"garbage", Kind::kGarbage},
    {"invalid-utf8", Kind::kInvalidUtf8},
    {"nul", Kind::kNul},
    {"deep", Kind::kDeep},
    {"half-line", Kind::kHalfLine},
    {"refuse", Kind::kRefuse},
    {"wedge", Kind::kWedge},
    {"ignore-sigterm", Kind::kIgnoreSigterm},
    {"close-stdout", Kind::kCloseStdout},
    {"close-stdin", Kind::kCloseStdin},
    {"stop-reading", Kind::kStopReading},
    {"hog", Kind::kHog},
    {"orphan", Kind::kOrphan},
    {"stderr", Kind::kStderr},
    {"lie-model", Kind::kLieModel},
};

constexpr Name<Point> kPoints[] = {
    {"spawn", Point::kSpawn},
    {"initialize", Point::kInitialize},
    {"user", Point::kUser},
    {"turn-start", Point::kTurnStart},
    {"mid-turn", Point::kMidTurn},
    {"before-result", Point::kBeforeResult},
    {"after-result", Point::kAfterResult},
    {"set-model", Point::kSetModel},
    {"set-mode", Point::kSetMode},
    {"clear", Point::kClear},
    {"interrupt", Point::kInterrupt},
    {"permission", Point::kPermission},
    {"exit", Point::kExit},
    {"new", Point::kNew},
    {"load", Point::kLoad},
    {"close", Point::kClose},
};

template <typename Value, size_t kSize>
std::optional<Value> Find(const Name<Value> (&names)[kSize],
                          std::string_view name) {
  for (const Name<Value>& n : names) {
    if (n.name == name) return n.value;
  }
  return std::nullopt;
}

template <typename Value, size_t kSize>
std::string List(const Name<Value> (&names)[kSize]) {
  std::string list;
  for (const Name<Value>& n : names) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", std::string(n.name));
  }
  return list;
}

bool NeedsNumber(Kind kind) {
  return kind == Kind::kDelay || kind == Kind::kCrash || kind == Kind::kFlood ||
         kind == Kind::kDeep || kind == Kind::kHog || kind == Kind::kOrphan;
}

bool NeedsArgument(Kind kind) {
  return kind == Kind::kDelay || kind == Kind::kHog || kind == Kind::kStderr ||
         kind == Kind::kLieModel;
}

// Of the Agent Client Protocol alone.
bool IsOfAcp(Point point) {
  return point == Point::kNew || point == Point::kLoad ||
         point == Point::kClose;
}

// Whatever conversation was spoken of.
bool IsOfProcess(Point point) {
  return point == Point::kInitialize || point == Point::kNew ||
         point == Point::kLoad || point == Point::kClear ||
         point == Point::kExit;
}

bool CanHappenAt(Kind kind, Point point) {
  if (kind == Kind::kRefuse) {
    return point == Point::kInitialize || point == Point::kSetModel ||
           point == Point::kSetMode || point == Point::kInterrupt ||
           point == Point::kClear || IsOfAcp(point);
  }
  if (kind == Kind::kLieModel) {
    return point == Point::kSetModel || point == Point::kTurnStart ||
           point == Point::kNew || point == Point::kLoad;
  }
  return true;
}

int Number(const std::string& text) {
  int number = 0;
  return absl::SimpleAtoi(text, &number) ? number : 0;
}

}  // namespace

absl::StatusOr<Fault> ParseFault(std::string_view text, Protocol protocol) {
  auto fail = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("fault '", std::string(text), "': ", std::string(why)));
  };
  Fault fault;
  std::string_view head = text.substr(0, text.find('='));
  if (head.size() < text.size()) {
    fault.argument = text.substr(head.size() + 1);
  }
  size_t at = head.find('@');
  if (at == std::string_view::npos) return fail("is not KIND@POINT");
  std::string_view where = head.substr(at + 1);
  std::string_view point_name = where.substr(0, where.find(':'));

  std::optional<Kind> kind = Find(kKinds, head.substr(0, at));
  if (!kind) return fail("the kinds are " + List(kKinds));
  std::optional<Point> point = Find(kPoints, point_name);
  if (!point) return fail("the points are " + List(kPoints));
  if (protocol != Protocol::kAcp && IsOfAcp(*point)) {
    return fail("is for --protocol=acp only");
  }
  fault.text = text;
  fault.kind = *kind;
  fault.point = *point;
  if (point_name.size() < where.size()) {
    std::string visit(where.substr(point_name.size() + 1));
    if (visit == "*") {
      fault.visit = 0;
    } else if (!absl::SimpleAtoi(visit, &fault.visit) || fault.visit < 1) {
      return fail("the visit is neither a positive number nor *");
    }
  }
  int number;
  if (NeedsArgument(*kind) && fault.argument.empty()) {
    return fail("needs =ARG");
  }
  if (NeedsNumber(*kind) && !fault.argument.empty() &&
      (!absl::SimpleAtoi(fault.argument, &number) || number < 0)) {
    return fail("its argument is not a number");
  }
  if (!CanHappenAt(*kind, *point)) return fail("cannot happen there");
  return fault;
}

Misbehaviour::Misbehaviour(Loop& loop, AgentLog& log, Protocol protocol,
                           std::vector<Fault> faults, Misbehaviour* of_process)
    : loop_(loop), log_(log), protocol_(protocol), of_process_(of_process) {
  for (Fault& fault : faults) Arm(std::move(fault));
}

void Misbehaviour::Arm(Fault fault) {
  if (of_process_ != nullptr && IsOfProcess(fault.point)) {
    return of_process_->Arm(std::move(fault));
  }
  armed_.push_back({.fault = std::move(fault)});
}

Misbehaviour::Effects Misbehaviour::Reach(Point point) {
  Effects effects;
  if (of_process_ != nullptr) effects = of_process_->Reach(point);
  for (Armed& armed : armed_) {
    if (armed.fault.point != point) continue;
    ++armed.visits;
    if (armed.fault.visit == 0 || armed.fault.visit == armed.visits) {
      Perform(armed.fault, effects);
    }
  }
  return effects;
}

void Misbehaviour::Perform(const Fault& fault, Effects& effects) {
  log_.Write({{"event", "fault"}, {"fault", fault.text}});
  switch (fault.kind) {
    case Kind::kDelay:
      effects.delay += std::chrono::milliseconds(Number(fault.argument));
      return;
    case Kind::kCrash:
      loop_.WriteBlocking("");
      if (!fault.argument.empty()) _exit(Number(fault.argument));
      kill(getpid(), SIGKILL);
      return;
    case Kind::kFlood:
      return Flood(fault.argument);
    case Kind::kGarbage:
      return loop_.output().Line(fault.argument.empty()
                                     ? "Segmentation fault (core dumped)"
                                     : fault.argument);
    case Kind::kInvalidUtf8:
      return WriteBroken(
          "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{"
          "\"status\":\"\xff\xc0\xaf\xed\xa0\x80\"}}\n",
          "{\"type\":\"system\",\"subtype\":\"status\","
          "\"status\":\"\xff\xc0\xaf\xed\xa0\x80\"}\n");
    case Kind::kNul:
      return WriteBroken(
          "{\"jsonrpc\":\"2.0\",\0\"method\":\"session/update\",\"params\":{"
          "\"status\":\"\0\"}}\n"sv,
          "{\"type\":\"system\",\0\"subtype\":\"status\",\"status\":\"\0\"}\n"sv);
    case Kind::kDeep:
      return WriteDeep(fault.argument);
    case Kind::kHalfLine:
      return WriteBroken("{\"jsonrpc\":\"2.0\",\"method\":\"session/upd",
                         "{\"type\":\"system\",\"subtype\":\"status\",\"sta");
    case Kind::kRefuse:
      effects.refuse =
          fault.argument.empty() ? "refused by --fault" : fault.argument;
      return;
    case Kind::kWedge:
      loop_.output().Flush();
      return loop_.Wedge();
    case Kind::kIgnoreSigterm:
      return loop_.IgnoreTermination();
    case Kind::kCloseStdout:
      loop_.WriteBlocking("");
      return loop_.output().Close();
    case Kind::kCloseStdin:
      return loop_.CloseInput();
    case Kind::kStopReading:
      return loop_.StopReading();
    case Kind::kHog:
      return TakeMemory(fault.argument);
    case Kind::kOrphan:
      return LeaveOrphan(fault.argument);
    case Kind::kStderr:
      fprintf(stderr, "%s\n", fault.argument.c_str());
      return;
    case Kind::kLieModel:
      effects.lie_model = fault.argument;
      return;
  }
}

void Misbehaviour::WriteBroken(std::string_view acp,
                               std::string_view stream_json) {
  loop_.output().Raw(protocol_ == Protocol::kAcp ? acp : stream_json);
}

void Misbehaviour::Flood(const std::string& bytes) {
  const std::string block(1 << 16, 'x');
  if (bytes.empty()) {
    while (true) loop_.WriteBlocking(block);
  }
  for (size_t left = static_cast<size_t>(Number(bytes)); left > 0;) {
    std::string_view part = std::string_view(block).substr(0, left);
    loop_.WriteBlocking(part);
    left -= part.size();
  }
}

void Misbehaviour::WriteDeep(const std::string& levels) {
  const auto depth =
      static_cast<size_t>(levels.empty() ? 10000 : Number(levels));
  const char* begin =
      protocol_ == Protocol::kAcp
          ? "{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":"
          : "{\"type\":";
  loop_.output().Line(absl::StrCat(begin, std::string(depth, '['),
                                   std::string(depth, ']'), "}"));
}

void Misbehaviour::TakeMemory(const std::string& mib) {
  // Not zeros, which the kernel would not keep.
  taken_.emplace_back(static_cast<size_t>(Number(mib)) << 20, 'x');
}

void Misbehaviour::LeaveOrphan(const std::string& seconds) {
  pid_t orphan = StartOrphan(seconds.empty() ? "600" : seconds);
  log_.Write({{"event", "orphan"}, {"child", orphan}});
}

}  // namespace understudy::session
