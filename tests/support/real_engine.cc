#include "tests/support/real_engine.h"

#include <gtest/gtest.h>

#include <utility>

#include "session/process/sweep.h"

namespace understudy::session {

RealEngine::RealEngine(std::vector<Profile> profiles, const std::string& guard)
    : store_(OpenStore("memory:").value()),
      launcher_(NewPosixLauncher(
          *loop, {.guard_path = guard,
                  .marker_name = "UNDERSTUDY_TEST_MARK",
                  .marker_value = NewServerMark().value_or(""),
                  .memory = {.interval = absl::Milliseconds(50)}})),
      agent_(profiles.front().name) {
  SessionManager::Options options;
  options.profiles = std::move(profiles);
  manager_ = std::make_unique<SessionManager>(
      SessionManager::Ground{*loop, *reading_, *reading_, *committing_, *launcher_,
                             *store_},
      std::move(options));
  EXPECT_TRUE(manager_->Start().ok());
}

// In the order in which a server does it.
RealEngine::~RealEngine() {
  manager_ = nullptr;
  launcher_ = nullptr;
  committing_ = nullptr;
  reading_ = nullptr;
}

template <typename T>
void RealEngine::Await(const Pending<T>& call) {
  EXPECT_TRUE(loop.RunUntil([&call] { return call.done(); }));
}

std::string RealEngine::Create(const std::string& directory) {
  CreateParams params;
  params.agent = agent_;
  params.working_directory = directory.empty() ? folder_.path() : directory;
  Pending<SessionInfo> created;
  manager_->CreateSession({}, std::move(params), created.reply());
  Await(created);
  EXPECT_TRUE(created.status().ok()) << created.status();
  return created->record.session_id();
}

Pending<SendResult> RealEngine::Send(const std::string& session,
                                     std::string text) {
  Pending<SendResult> sent;
  manager_->SendMessage({}, {.session_id = session, .text = std::move(text)},
                        sent.reply());
  Await(sent);
  return sent;
}

Pending<SendResult> RealEngine::SendAndWait(const std::string& session,
                                            std::string text) {
  Pending<SendResult> sent;
  manager_->SendMessage(
      {},
      {.session_id = session, .text = std::move(text), .wait_completed = true},
      sent.reply());
  Await(sent);
  return sent;
}

Pending<MoveResult> RealEngine::Move(MoveParams params) {
  Pending<MoveResult> moved;
  manager_->Move({}, std::move(params), moved.reply());
  Await(moved);
  return moved;
}

Pending<InterruptResult> RealEngine::Interrupt(const std::string& session) {
  Pending<InterruptResult> interrupted;
  manager_->Interrupt({}, session, "", interrupted.reply());
  Await(interrupted);
  return interrupted;
}

Pending<bool> RealEngine::Delete(const std::string& session) {
  Pending<bool> deleted;
  manager_->DeleteSession({}, session, deleted.reply());
  Await(deleted);
  return deleted;
}

SessionInfo RealEngine::Info(const std::string& session) {
  Pending<SessionInfo> info;
  manager_->GetSession({}, session, /*prewarm=*/false, info.reply());
  Await(info);
  EXPECT_TRUE(info.status().ok()) << info.status();
  return *info;
}

std::vector<v1::Event> RealEngine::Events(const std::string& session) {
  std::vector<v1::Event> events;
  absl::StatusOr<std::vector<StoredEvent>> stored =
      store_->ReadEvents(session, 0, 1 << 20, 1 << 30);
  EXPECT_TRUE(stored.ok()) << stored.status();
  for (const StoredEvent& one : *stored) {
    EXPECT_TRUE(events.emplace_back().ParseFromString(one.bytes));
  }
  return events;
}

std::vector<v1::Event> RealEngine::Events(const std::string& session,
                                          std::string_view kind) {
  std::vector<v1::Event> events = Events(session);
  std::erase_if(events,
                [kind](const v1::Event& one) { return KindOf(one) != kind; });
  return events;
}

bool RealEngine::RunUntilEvents(const std::string& session,
                                std::string_view kind, size_t count) {
  return loop.RunUntil([&] { return Events(session, kind).size() >= count; });
}

}  // namespace understudy::session
