#include "session/agent/acp_prompt.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "session/base/concat.h"
#include "session/base/json.h"

namespace understudy::session {
namespace {

// An invisible character that no agent takes for a space: a word joiner.
constexpr std::string_view kNoCommand = "\u2060";

bool LooksLikeCommand(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n\v\f");
  return first != std::string_view::npos && text[first] == '/';
}

void AppendText(std::string_view text, std::string& out) {
  out.append(R"({"type":"text","text":)");
  if (LooksLikeCommand(text)) {
    AppendJsonString(Concat({kNoCommand, text}), out);
  } else {
    AppendJsonString(text, out);
  }
  out.push_back('}');
}

void AppendImage(const v1::Image& image, std::string& out) {
  out.append(R"({"type":"image","mimeType":)");
  AppendJsonString(image.mime_type(), out);
  out.append(R"(,"data":")");
  std::string data;
  absl::Base64Escape(image.data(), &data);
  out.append(data).append(R"("})");
}

}  // namespace

std::string AcpPromptParams(std::string_view conversation,
                            const TurnInput& input) {
  std::string params =
      Concat({R"({"sessionId":)", JsonString(conversation), R"(,"prompt":[)"});
  if (input.content == nullptr) {
    AppendText(input.text, params);
  } else {
    bool first = true;
    for (const v1::Part& part : input.content->parts()) {
      if (!std::exchange(first, false)) params.push_back(',');
      if (part.has_image()) {
        AppendImage(part.image(), params);
      } else {
        AppendText(part.text(), params);
      }
    }
  }
  params.append("]}");
  return params;
}

}  // namespace understudy::session
