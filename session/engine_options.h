// What the engine is built of and for: what it stands on, and its limits.

#ifndef UNDERSTUDY_SESSION_ENGINE_OPTIONS_H_
#define UNDERSTUDY_SESSION_ENGINE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "session/agent/agent.h"
#include "session/agent/profile.h"
#include "session/base/blocking.h"
#include "session/base/event_loop.h"
#include "session/process/subprocess.h"
#include "session/store/store.h"

namespace understudy::session {

struct EngineOptions {
  std::vector<Profile> profiles;
  std::string node_id;
  int max_slots = 16;
  int max_queued_messages = 64;  // for each session
  size_t max_window_bytes = 8 << 20;
  absl::Duration event_max_age = absl::InfiniteDuration();
  uint64_t event_max_count = 0;  // 0: no bound
  // Where the kinds of agents come from: a test has its own.
  const AgentKind* (*find_kind)(std::string_view) = &FindAgentKind;
};

// What the engine stands on; all of it outlives it.
struct EngineGround {
  EventLoop& loop;
  Blocking& reading;     // what a call waits for: reads of the store
  Blocking& clearing;    // what takes long: agents' files, clearing the store
  Blocking& committing;  // writes of the store, one at a time
  Launcher& launcher;
  Store& store;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_ENGINE_OPTIONS_H_
