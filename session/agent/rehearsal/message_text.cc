#include "session/agent/rehearsal/message_text.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace understudy::session {
namespace {

// "[image image/png 68 bytes]"
std::string DescribeImage(const Json& source) {
  std::string data;
  const bool whole = GetString(source, "type") == "base64" &&
                     absl::Base64Unescape(GetString(source, "data"), &data);
  return absl::StrCat("[image ", GetString(source, "media_type"), " ",
                      whole ? absl::StrCat(data.size(), " bytes]") : "broken]");
}

}  // namespace

std::string TextOf(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  for (const Json& block : content) {
    std::string type = GetString(block, "type");
    if (type != "text" && type != "image") continue;
    if (!text.empty()) text.push_back('\n');
    text += type == "text" ? GetString(block, "text")
                           : DescribeImage(Get(block, "source"));
  }
  return text;
}

}  // namespace understudy::session
