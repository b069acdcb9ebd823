#include "client/cpp/uuid.h"

#include <sys/random.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace understudy::client {

std::string NewUuid() {
  std::array<char, 16> bytes;
  // Up to 256 bytes come whole, unless the kernel has no randomness at all.
  if (getrandom(bytes.data(), bytes.size(), 0) !=
      static_cast<ssize_t>(bytes.size())) {
    std::abort();
  }
  bytes[6] = static_cast<char>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3F) | 0x80);
  const std::string hex = absl::BytesToHexString({bytes.data(), bytes.size()});
  const auto part = [&hex](size_t from, size_t length) {
    return absl::string_view(hex).substr(from, length);
  };
  return absl::StrCat(part(0, 8), "-", part(8, 4), "-", part(12, 4), "-",
                      part(16, 4), "-", part(20, 12));
}

}  // namespace understudy::client
