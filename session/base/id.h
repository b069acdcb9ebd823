// The ids of the API: made, recognised, brought into their one form. All text
// of a client that ends up in an argument list, a path or the store passes one
// of these tests first.
//
// Threads: any.

#ifndef UNDERSTUDY_SESSION_BASE_ID_H_
#define UNDERSTUDY_SESSION_BASE_ID_H_

#include <optional>
#include <string>
#include <string_view>

namespace understudy::session {

// A random UUID (version 4), lower case, from the kernel's generator.
std::string NewUuid();

// 8-4-4-4-12 hexadecimal digits of any case; any version.
bool IsUuid(std::string_view text);

// The lower-case form; nothing if `text` is not a UUID.
std::optional<std::string> CanonicalUuid(std::string_view text);

// A model's name: ^[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,127}$
bool IsModelName(std::string_view text);

// All other ids: ^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$
bool IsId(std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_ID_H_
