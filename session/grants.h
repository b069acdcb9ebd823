// What clients have allowed for the rest of a session, as its record keeps it.
//
// Threads: the loop.

#ifndef UNDERSTUDY_SESSION_GRANTS_H_
#define UNDERSTUDY_SESSION_GRANTS_H_

#include <algorithm>
#include <string>
#include <vector>

#include "session/store/store.h"

namespace understudy::session {

// The oldest give way: what they allowed is asked for again.
inline constexpr int kMaxGrants = 128;

inline void KeepGrants(const std::vector<std::string>& granted,
                       SessionRecord& record) {
  auto& kept = *record.mutable_grants();
  for (const std::string& grant : granted) {
    if (std::find(kept.begin(), kept.end(), grant) != kept.end()) continue;
    if (kept.size() >= kMaxGrants) kept.erase(kept.begin());
    *kept.Add() = grant;
  }
}

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_GRANTS_H_
