#include "session/base/id.h"

#include <sys/random.h>

#include <algorithm>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "session/base/check.h"

namespace understudy::session {
namespace {

constexpr size_t kMaxIdSize = 128;

bool IsMadeOf(std::string_view text, std::string_view punctuation) {
  return !text.empty() && text.size() <= kMaxIdSize &&
         absl::ascii_isalnum(text[0]) &&
         std::all_of(text.begin(), text.end(), [punctuation](char c) {
           return absl::ascii_isalnum(c) ||
                  punctuation.find(c) != std::string_view::npos;
         });
}

}  // namespace

std::string NewUuid() {
  boost::uuids::uuid uuid;
  const ssize_t size = getrandom(uuid.data, sizeof(uuid.data), 0);
  UNDERSTUDY_CHECK(size == sizeof(uuid.data), "getrandom of 16 bytes");
  uuid.data[6] = (uuid.data[6] & 0x0F) | 0x40;  // version 4
  uuid.data[8] = (uuid.data[8] & 0x3F) | 0x80;  // the RFC's variant
  return boost::uuids::to_string(uuid);
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(text[i])) return false;
  }
  return true;
}

std::optional<std::string> CanonicalUuid(std::string_view text) {
  if (!IsUuid(text)) return std::nullopt;
  std::string uuid(text);
  absl::AsciiStrToLower(&uuid);
  return uuid;
}

bool IsModelName(std::string_view text) { return IsMadeOf(text, "._:/@[]-"); }

bool IsId(std::string_view text) { return IsMadeOf(text, "._:-"); }

}  // namespace understudy::session
