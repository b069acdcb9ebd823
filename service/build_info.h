// What this program was built from. Any thread.

#ifndef UNDERSTUDY_SERVICE_BUILD_INFO_H_
#define UNDERSTUDY_SERVICE_BUILD_INFO_H_

#include <string>

namespace understudy::service {

// The release: "1.2.3".
std::string Version();

// Commit, compiler and kind of build, for people.
std::string Build();

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_BUILD_INFO_H_
