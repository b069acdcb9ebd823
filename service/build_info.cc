#include "service/build_info.h"

namespace understudy::service {

// The macros are set by CMakeLists.txt for this file alone.

std::string Version() { return UNDERSTUDY_VERSION; }

std::string Build() {
#ifdef __clang__
  const char* compiler = "clang " __clang_version__;
#else
  const char* compiler = "gcc " __VERSION__;
#endif
  return std::string("commit " UNDERSTUDY_COMMIT ", ") + compiler +
         ", " UNDERSTUDY_BUILD_TYPE;
}

}  // namespace understudy::service
