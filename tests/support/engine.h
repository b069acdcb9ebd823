// Engine: the whole engine on a fake loop and clock, with fake agents and a
// store in memory, and its calls made synchronous: each runs the loop until it
// is idle and then has its answer, or has none yet.

#ifndef UNDERSTUDY_TESTS_SUPPORT_ENGINE_H_
#define UNDERSTUDY_TESTS_SUPPORT_ENGINE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "session/session_manager.h"
#include "tests/fakes/fake_agent.h"
#include "tests/fakes/fake_blocking.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/fakes/faulty_store.h"

namespace understudy::session {

// A call under way: empty until it has been answered.
template <typename T>
class Pending {
 public:
  Reply<T> reply() {
    return [answers = answers_](absl::StatusOr<T> answer) {
      answers->push_back(std::move(answer));
    };
  }
  bool done() const { return !answers_->empty(); }
  size_t answers() const { return answers_->size(); }
  // Of a call that has been answered.
  const absl::Status status() const {
    return done() ? answers_->front().status()
                  : absl::UnknownError("the call has not been answered");
  }
  const T& operator*() const { return *answers_->front(); }
  const T* operator->() const { return &*answers_->front(); }

  CallId id = 0;

 private:
  std::shared_ptr<std::vector<absl::StatusOr<T>>> answers_ =
      std::make_shared<std::vector<absl::StatusOr<T>>>();
};

class Engine {
 public:
  explicit Engine(SessionManager::Options options = {});
  ~Engine();

  // What a test may set before the first call.
  static Profile FakeProfile();

  // A server that was killed, and its successor on the same store.
  void Restart();

  std::string Create(CreateParams params = {});
  Pending<SendResult> Send(const std::string& session, std::string text,
                           std::optional<std::string> model = {},
                           std::string request_id = {});
  // Answered when the turn is over.
  Pending<SendResult> SendAndWait(const std::string& session, std::string text,
                                  std::optional<std::string> model = {});
  Pending<MoveResult> Switch(const std::string& session, std::string model,
                             TurnPolicy policy = TurnPolicy::kAfterTurn,
                             std::string request_id = {});
  Pending<MoveResult> Clear(const std::string& session, std::string resume = {},
                            TurnPolicy policy = TurnPolicy::kAfterTurn);
  Pending<MoveResult> Resume(const std::string& session,
                             std::string conversation,
                             std::optional<std::string> model = {});
  Pending<InterruptResult> Interrupt(const std::string& session,
                                     std::string turn_id = {});
  Pending<bool> Resolve(const std::string& session, std::string permission_id,
                        v1::PermissionDecision decision,
                        v1::PermissionScope scope = v1::PERMISSION_SCOPE_ONCE);
  Pending<SessionInfo> Update(UpdateParams params, std::string request_id = {});
  Pending<std::string> SetMode(const std::string& session, std::string mode,
                               std::string request_id = {});
  Pending<bool> Delete(const std::string& session);
  SessionInfo Info(const std::string& session);
  Pending<std::vector<ConversationRow>> Conversations(
      const std::string& session);

  // Everything that is stored of the session.
  std::vector<v1::Event> Events(const std::string& session);
  // The names of their payloads: "message_accepted", ...
  std::vector<std::string> Kinds(const std::string& session);
  // The last event with this payload; fails the test if there is none.
  v1::Event Last(const std::string& session, std::string_view kind);

  void Run() { loop.RunUntilIdle(); }

  FakeLoop loop;
  FakeWorld world{loop};
  FakeBlocking reading{loop};
  FakeBlocking committing{loop};
  FakeLauncher launcher{loop};
  const std::unique_ptr<Store> memory;
  FaultyStore store{*memory};
  SessionManager::Options options;  // of the next server
  std::unique_ptr<SessionManager> manager;
};

// The name of the payload of an event.
std::string KindOf(const v1::Event& event);

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_ENGINE_H_
