#include "session/agent/rehearsal/json.h"

#include <cctype>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <random>

namespace understudy::session {
namespace {

// Length of the UTF-8 character that `text` begins with; 0 if it begins with
// none.
size_t CharacterSize(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((byte(0) == 0xe0 && byte(1) < 0xa0) ||
      (byte(0) == 0xed && byte(1) > 0x9f) ||
      (byte(0) == 0xf0 && byte(1) < 0x90) ||
      (byte(0) == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return size;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t size = CharacterSize(text);
    out.append(size == 0 ? "\xef\xbf\xbd" : text.substr(0, size));
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

}  // namespace

Json ParseJson(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_discarded()) return json;
  return Json::parse(ReplaceInvalidUtf8(text), nullptr, false);
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& Get(const Json& json, const char* key) {
  static const Json* const kNull = new Json();
  if (!json.is_object()) return *kNull;
  auto it = json.find(key);
  return it == json.end() ? *kNull : *it;
}

std::string GetString(const Json& json, const char* key) {
  const Json& value = Get(json, key);
  return value.is_string() ? value.get<std::string>() : "";
}

int64_t GetInteger(const Json& json, const char* key) {
  const Json& value = Get(json, key);
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

bool GetBool(const Json& json, const char* key, bool otherwise) {
  const Json& value = Get(json, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

std::string Timestamp() {
  auto now = std::chrono::system_clock::now();
  time_t seconds = std::chrono::system_clock::to_time_t(now);
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(
                          now.time_since_epoch())
                          .count() %
                      1000;
  struct tm utc;
  gmtime_r(&seconds, &utc);
  char date[32];
  strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  snprintf(text, sizeof(text), "%s.%03dZ", date,
           static_cast<int>(milliseconds));
  return text;
}

std::string NewUuid() {
  static std::mt19937_64* const random = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return new std::mt19937_64(seed);
  }();
  uint64_t high = (*random)() & 0xffffffffffff0fff;
  uint64_t low = (*random)() & 0x3fffffffffffffff;
  high |= 0x4000;
  low |= 0x8000000000000000;
  char text[40];
  snprintf(text, sizeof(text), "%08x-%04x-%04x-%04x-%012llx",
           static_cast<unsigned>(high >> 32),
           static_cast<unsigned>((high >> 16) & 0xffff),
           static_cast<unsigned>(high & 0xffff),
           static_cast<unsigned>(low >> 48),
           static_cast<unsigned long long>(low & 0xffffffffffff));
  return text;
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-'
             : !std::isxdigit(static_cast<unsigned char>(text[i]))) {
      return false;
    }
  }
  return true;
}

}  // namespace understudy::session
