// send.

#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/event_text.h"
#include "client/cli/turn_text.h"
#include "proto/error.h"

namespace understudy::client {
namespace {

struct SendArguments {
  v1::SendMessageRequest request;
  std::string text;
  std::vector<std::string> images;
  bool no_wait = false;
};

void DeclareSend(CLI::App& command, SendArguments& arguments) {
  auto& request = arguments.request;
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command.add_option("TEXT", arguments.text,
                     "the message; -: standard input; may be left out where "
                     "there is an image");
  command
      .add_option("--image", arguments.images,
                  "a PNG, JPEG, GIF or WebP file; any number of them")
      ->allow_extra_args(false);
  command.add_option("--model", *request.mutable_model(),
                     "switch to this model first");
  command.add_flag("--no-wait", arguments.no_wait,
                   "do not wait for the turn; print its id");
  AddRequestId(command, request);
}

int EndOfTurn(const Context& context, v1::TurnOutcome outcome,
              const v1::TurnError& error) {
  if (outcome == v1::TURN_OUTCOME_SUCCEEDED) return kSuccess;
  PrintError(context.command,
             absl::StrCat("the turn ended: ", OutcomeText(outcome, error)));
  return kRpcFailed;
}

// What a person who waits for a turn should know besides its text.
void Remark(const Context& context, const v1::Event& event) {
  if (event.has_permission_requested()) {
    const auto& asked = event.permission_requested();
    PrintError(
        context.command,
        absl::StrCat("the agent asks to use ", asked.tool_name(), ": ",
                     OneLine(asked.description().empty() ? asked.input_json()
                                                         : asked.description()),
                     "\n  understudyctl permit ", event.session_id(), " ",
                     asked.permission_id(), " allow|deny"));
  } else if (event.has_notice()) {
    const auto kind = event.notice().kind();
    if (kind == v1::NOTICE_KIND_RETRYING ||
        kind == v1::NOTICE_KIND_RATE_LIMITED ||
        kind == v1::NOTICE_KIND_WARNING) {
      PrintError(context.command, OneLine(event.notice().message()));
    }
  }
}

// Sends, and shows the turn until its end. The events are followed before the
// message is sent, so that its first delta is not missed.
int SendAndShow(const Context& context, const v1::SendMessageRequest& request) {
  v1::GetSessionRequest get;
  get.set_session_id(request.session_id());
  const auto session = context.client.GetSession(get, context.Call());
  if (!session.ok()) return Fail(context, session.status());

  TurnText text(std::cout, isatty(STDOUT_FILENO) != 0);
  const auto follow = [&](uint64_t after) {
    return context.client.StreamEvents(
        {.session_id = request.session_id(),
         .after_sequence = after,
         .include_deltas = true,
         .on_interruption = [&text](const absl::Status&, absl::Duration) {
           text.Interrupted();
         }});
  };
  auto stream = follow(session->newest_sequence());
  if (absl::Status status = stream->AwaitOpen(context.deadline); !status.ok()) {
    return Fail(context, status);
  }
  const auto turn = context.client.SendMessage(request, context.Call());
  if (!turn.ok()) return Fail(context, turn.status());
  if (turn->sequence() <= session->newest_sequence()) {
    // A repeated request: its turn has begun before, and may be over.
    stream = follow(turn->sequence() - 1);
  }

  while (true) {
    const auto event = stream->Next(context.deadline);
    if (!event.ok()) {
      text.EndLine();
      return Fail(context, event.status());
    }
    const v1::Event& seen = **event;
    if (seen.turn_id() != turn->turn_id()) continue;
    if (seen.has_text_delta()) {
      text.Add(seen.text_delta());
    } else if (seen.has_message()) {
      text.Add(seen.message());
    } else if (seen.has_turn_completed()) {
      text.EndLine();
      return EndOfTurn(context, seen.turn_completed().outcome(),
                       seen.turn_completed().error());
    } else {
      Remark(context, seen);
    }
  }
}

std::string ReadAll(std::istream& stream) {
  std::ostringstream text;
  text << stream.rdbuf();
  return std::move(text).str();
}

// The media type of a picture by its first bytes; "" if it is none that a
// message may have.
std::string ImageType(const std::string& data) {
  const auto has = [&data](size_t at, const std::string& bytes) {
    return data.compare(at, bytes.size(), bytes) == 0;
  };
  if (has(0, "\x89PNG\r\n")) return "image/png";
  if (has(0, "\xff\xd8\xff")) return "image/jpeg";
  if (has(0, "GIF8")) return "image/gif";
  if (data.size() > 12 && has(0, "RIFF") && has(8, "WEBP")) return "image/webp";
  return "";
}

// Adds a picture to `content`; what is wrong with the file, or "".
std::string AddImage(const std::string& path, v1::Content& content) {
  std::ifstream file(path, std::ios::binary);
  std::string data = ReadAll(file);
  if (!file.is_open() || file.bad()) return "cannot be read";
  std::string type = ImageType(data);
  if (type.empty()) return "is no PNG, JPEG, GIF or WebP file";
  v1::Image& image = *content.add_parts()->mutable_image();
  image.set_mime_type(std::move(type));
  image.set_data(std::move(data));
  return "";
}

// The message; false, and it has said why, if there is none.
bool ReadMessage(const Context& context, const SendArguments& arguments,
                 v1::SendMessageRequest& request) {
  std::string text = arguments.text == "-" ? ReadAll(std::cin) : arguments.text;
  if (ValidUtf8(text) != text) {
    PrintError(context.command, "TEXT is not UTF-8");
    return false;
  }
  if (arguments.images.empty()) {
    if (text.empty()) PrintError(context.command, "TEXT is required");
    const bool any = !text.empty();
    request.set_text(std::move(text));
    return any;
  }
  v1::Content& content = *request.mutable_content();
  if (!text.empty()) content.add_parts()->set_text(std::move(text));
  for (const std::string& path : arguments.images) {
    const std::string fault = AddImage(path, content);
    if (fault.empty()) continue;
    PrintError(context.command, absl::StrCat(path, ": ", fault));
    return false;
  }
  return true;
}

int Send(const Context& context, const SendArguments& arguments) {
  v1::SendMessageRequest request = arguments.request;
  if (!ReadMessage(context, arguments, request)) return kUsage;
  if (arguments.no_wait) {
    return Answer(
        context, context.client.SendMessage(std::move(request), context.Call()),
        [](const v1::SendMessageResponse& response) {
          std::cout << response.turn_id() << "\n";
        });
  }
  if (context.format == Format::kText) return SendAndShow(context, request);

  request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
  const auto response =
      context.client.SendMessage(std::move(request), context.Call());
  if (!response.ok()) return Fail(context, response.status());
  PrintJson(*response);
  return EndOfTurn(context, response->outcome(), response->error());
}

}  // namespace

void AddSendCommand(CLI::App& app, Command& chosen) {
  AddCommand(app, chosen, "send",
             "Send a message; shows the turn's text as it comes, and waits for "
             "its end.",
             DeclareSend, Send);
}

}  // namespace understudy::client
