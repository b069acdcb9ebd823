#include "client/cli/output.h"

#include <algorithm>
#include <cctype>
#include <iostream>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/time_util.h"
#include "google/rpc/code.pb.h"
#include "proto/error.h"

namespace understudy::client {
namespace {

using google::protobuf::util::TimeUtil;

// "TURN_POLICY_" for TurnPolicy.
std::string PrefixOf(const std::string& type) {
  std::string prefix;
  for (const char c : type) {
    if (std::isupper(c) && !prefix.empty()) prefix.push_back('_');
    prefix.push_back(absl::ascii_toupper(c));
  }
  return prefix + "_";
}

}  // namespace

void PrintJson(const google::protobuf::Message& message) {
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(message, &json);
  if (status.ok()) {
    std::cout << json << "\n";
  } else {
    PrintError("output", status.ToString());
  }
}

void PrintTable(const std::vector<std::string>& heading,
                const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return;
  std::vector<std::vector<std::string>> lines;
  if (!heading.empty()) lines.push_back(heading);
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], line[i].size());
    }
  }
  for (const auto& line : lines) {
    std::string text;
    for (size_t i = 0; i < line.size(); ++i) {
      text += line[i] + std::string(widths[i] + 2 - line[i].size(), ' ');
    }
    absl::StripTrailingAsciiWhitespace(&text);
    std::cout << text << "\n";
  }
}

void PrintError(std::string_view command, std::string_view text) {
  std::cerr << "understudyctl: " << command << ": " << Printable(text)
            << std::endl;
}

std::string ErrorText(const absl::Status& status) {
  const std::optional<Reason> reason = ReasonOf(status);
  return absl::StrCat(
      google::rpc::Code_Name(static_cast<google::rpc::Code>(status.code())),
      reason.has_value() ? " " : "",
      reason.has_value() ? std::string(ReasonName(*reason)) : "", ": ",
      status.message());
}

std::string Printable(std::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F, two bytes in UTF-8, are control characters, too.
    const bool c1 = byte == 0xC2 && i + 1 < text.size() &&
                    static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;
    const bool control =
        c1 || byte == 0x7F || (byte < 0x20 && byte != '\n' && byte != '\t');
    printable.push_back(control ? '?' : text[i]);
  }
  return printable;
}

std::string OneLine(std::string_view text, size_t limit) {
  const bool cut = text.size() > limit;
  if (cut) {
    // Not in the middle of a character.
    while (limit > 0 && (text[limit] & 0xC0) == 0x80) --limit;
    text = text.substr(0, limit);
  }
  std::string line = Printable(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; },
      ' ');
  return cut ? line + "..." : line;
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S",
                          absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string DurationText(const google::protobuf::Duration& duration) {
  const absl::Duration exact =
      absl::Microseconds(TimeUtil::DurationToMicroseconds(duration));
  return absl::FormatDuration(exact < absl::Milliseconds(10)
                                  ? exact
                                  : absl::Trunc(exact, absl::Milliseconds(1)));
}

std::string EnumText(const google::protobuf::EnumDescriptor* type, int value) {
  if (value == 0) return "";
  const auto* descriptor = type->FindValueByNumber(value);
  if (descriptor == nullptr) return absl::StrCat(value);
  const std::string prefix = PrefixOf(type->name());
  const std::string& name = descriptor->name();
  return name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
}

}  // namespace understudy::client
