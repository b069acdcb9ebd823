// Ids that no two clients choose alike.
//
// Threads: any.

#ifndef UNDERSTUDY_CLIENT_CPP_UUID_H_
#define UNDERSTUDY_CLIENT_CPP_UUID_H_

#include <string>

namespace understudy::client {

// A random UUID (version 4), from the system's source of randomness.
std::string NewUuid();

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CPP_UUID_H_
