// JSON as the rehearsal agent reads and writes it: key order kept, never an
// exception, whatever the input is.
#ifndef UNDERSTUDY_SESSION_AGENT_REHEARSAL_JSON_H_
#define UNDERSTUDY_SESSION_AGENT_REHEARSAL_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace understudy::session {

using Json = nlohmann::ordered_json;

// Discarded (`is_discarded()`) if `text` is not JSON. Bytes that are not UTF-8
// are read as U+FFFD.
Json ParseJson(std::string_view text);
std::string Dump(const Json& json);

// The member `key`, or null if there is none or `json` is no object.
const Json& Get(const Json& json, const char* key);
// The same as text; "" if it is none.
std::string GetString(const Json& json, const char* key);
int64_t GetInteger(const Json& json, const char* key);  // 0 if it is none
bool GetBool(const Json& json, const char* key, bool otherwise);

// 2026-11-21T06:51:01.487Z
std::string Timestamp();
// A random UUID.
std::string NewUuid();
bool IsUuid(std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_AGENT_REHEARSAL_JSON_H_
