#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/store/store.h"

namespace understudy::session {

#define STORE(scheme) \
  absl::StatusOr<std::unique_ptr<Store>> Open_##scheme(std::string_view rest);
#include "session/store/stores.def"
#undef STORE

absl::StatusOr<std::unique_ptr<Store>> OpenStore(std::string_view url) {
  const size_t colon = url.find(':');
  const std::string_view scheme = url.substr(0, colon);
  const std::string_view rest =
      colon == std::string_view::npos ? "" : url.substr(colon + 1);
  std::string known;
#define STORE(name)                                         \
  if (colon != std::string_view::npos && scheme == #name) { \
    return Open_##name(rest);                               \
  }                                                         \
  known += " " #name ":";
#include "session/store/stores.def"
#undef STORE
  // Not the whole: it may have a password in it.
  return FieldInvalid(
      "store", absl::StrCat("must begin with one of", known, ", not with \"",
                            std::string(scheme.substr(0, 32)), "\""));
}

}  // namespace understudy::session
