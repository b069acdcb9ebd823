// RealEngine: the whole engine as a server has it, on a real loop that the test
// runs, with real processes behind the real guard, and a store in memory. Calls
// run the loop until they are answered.

#ifndef UNDERSTUDY_TESTS_SUPPORT_REAL_ENGINE_H_
#define UNDERSTUDY_TESTS_SUPPORT_REAL_ENGINE_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "session/session_manager.h"
#include "tests/support/engine.h"
#include "tests/support/real_loop.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {

class RealEngine {
 public:
  // `guard` is the path of understudy-guard.
  RealEngine(std::vector<Profile> profiles, const std::string& guard);
  // Kills what runs, and waits for its end.
  ~RealEngine();

  // A session of the first profile, in a folder that all have, or in `directory`.
  std::string Create(const std::string& directory = "");
  Pending<SendResult> Send(const std::string& session, std::string text);
  // Waits for the end of the turn.
  Pending<SendResult> SendAndWait(const std::string& session, std::string text);
  Pending<MoveResult> Move(MoveParams params);
  Pending<bool> Delete(const std::string& session);
  Pending<InterruptResult> Interrupt(const std::string& session);
  SessionInfo Info(const std::string& session);

  // All that is stored of the session, and those with this payload.
  std::vector<v1::Event> Events(const std::string& session);
  std::vector<v1::Event> Events(const std::string& session,
                                std::string_view kind);
  // Runs until there are `count` of them.
  [[nodiscard]] bool RunUntilEvents(const std::string& session,
                                    std::string_view kind, size_t count);

  RealLoop loop;

 private:
  template <typename T>
  void Await(const Pending<T>& call);

  TempFolder folder_;
  std::unique_ptr<Blocking> reading_ = NewBlocking(2);
  std::unique_ptr<Blocking> committing_ = NewBlocking(1);
  std::unique_ptr<Store> store_;
  std::unique_ptr<Launcher> launcher_;
  std::string agent_;
  std::unique_ptr<SessionManager> manager_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_REAL_ENGINE_H_
