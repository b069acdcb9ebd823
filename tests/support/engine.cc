#include "tests/support/engine.h"

#include <gtest/gtest.h>

#include <utility>

namespace understudy::session {
namespace {

SessionManager::Options WithDefaults(SessionManager::Options options) {
  if (options.profiles.empty()) {
    options.profiles.push_back(Engine::FakeProfile());
  }
  options.find_kind = &FakeWorld::FindKind;
  return options;
}

Caller With(std::string request_id, std::string fingerprint) {
  return {.tenant = "",
          .request_id = std::move(request_id),
          .fingerprint = std::move(fingerprint)};
}

}  // namespace

Profile Engine::FakeProfile() {
  Profile profile;
  profile.name = "fake";
  profile.kind = "fake";
  profile.command = "fake";
  profile.default_model = "model-a";
  return profile;
}

Engine::Engine(SessionManager::Options options)
    : memory(OpenStore("memory:").value()),
      options(WithDefaults(std::move(options))) {
  Restart();
}

Engine::~Engine() {
  manager = nullptr;
  loop.RunUntilIdle();
}

void Engine::Restart() {
  manager = nullptr;
  reading.Drop();
  committing.Drop();
  loop.RunUntilIdle();
  manager = std::make_unique<SessionManager>(
      SessionManager::Ground{loop, reading, reading, committing, launcher, store},
      options);
  EXPECT_TRUE(manager->Start().ok());
  loop.RunUntilIdle();
}

std::string Engine::Create(CreateParams params) {
  if (params.agent.empty()) params.agent = "fake";
  if (params.working_directory.empty()) params.working_directory = "/tmp";
  Pending<SessionInfo> created;
  manager->CreateSession({}, std::move(params), created.reply());
  Run();
  EXPECT_TRUE(created.status().ok()) << created.status();
  return created->record.session_id();
}

Pending<SendResult> Engine::Send(const std::string& session, std::string text,
                                 std::optional<std::string> model,
                                 std::string request_id) {
  Pending<SendResult> sent;
  const std::string fingerprint = session + text + model.value_or("-");
  sent.id = manager->SendMessage(
      With(std::move(request_id), fingerprint),
      {.session_id = session, .text = std::move(text), .model = model},
      sent.reply());
  Run();
  return sent;
}

Pending<SendResult> Engine::SendAndWait(const std::string& session,
                                        std::string text,
                                        std::optional<std::string> model) {
  Pending<SendResult> sent;
  sent.id = manager->SendMessage({},
                                 {.session_id = session,
                                  .text = std::move(text),
                                  .model = std::move(model),
                                  .wait_completed = true},
                                 sent.reply());
  Run();
  return sent;
}

Pending<MoveResult> Engine::Switch(const std::string& session,
                                   std::string model, TurnPolicy policy,
                                   std::string request_id) {
  Pending<MoveResult> moved;
  const std::string fingerprint = session + "switch" + model;
  moved.id = manager->Move(With(std::move(request_id), fingerprint),
                           {.kind = MoveParams::Kind::kSwitchModel,
                            .session_id = session,
                            .model = std::move(model),
                            .policy = policy},
                           moved.reply());
  Run();
  return moved;
}

Pending<MoveResult> Engine::Clear(const std::string& session,
                                  std::string resume, TurnPolicy policy) {
  Pending<MoveResult> moved;
  moved.id = manager->Move({},
                           {.kind = MoveParams::Kind::kClear,
                            .session_id = session,
                            .conversation = std::move(resume),
                            .policy = policy},
                           moved.reply());
  Run();
  return moved;
}

Pending<MoveResult> Engine::Resume(const std::string& session,
                                   std::string conversation,
                                   std::optional<std::string> model) {
  Pending<MoveResult> moved;
  moved.id = manager->Move({},
                           {.kind = MoveParams::Kind::kResume,
                            .session_id = session,
                            .model = std::move(model),
                            .conversation = std::move(conversation)},
                           moved.reply());
  Run();
  return moved;
}

Pending<InterruptResult> Engine::Interrupt(const std::string& session,
                                           std::string turn_id) {
  Pending<InterruptResult> interrupted;
  manager->Interrupt({}, session, std::move(turn_id), interrupted.reply());
  Run();
  return interrupted;
}

Pending<bool> Engine::Resolve(const std::string& session,
                              std::string permission_id,
                              v1::PermissionDecision decision,
                              v1::PermissionScope scope) {
  Pending<bool> resolved;
  PermissionParams params;
  params.session_id = session;
  params.permission_id = std::move(permission_id);
  params.answer.decision = decision;
  params.answer.scope = scope;
  manager->ResolvePermission({}, std::move(params), resolved.reply());
  Run();
  return resolved;
}

Pending<SessionInfo> Engine::Update(UpdateParams params,
                                    std::string request_id) {
  Pending<SessionInfo> updated;
  std::string fingerprint = params.session_id + "update";
  for (const auto& [key, value] : params.labels) {
    fingerprint += key + "=" + value.value_or("-");
  }
  manager->UpdateSession(With(std::move(request_id), fingerprint),
                         std::move(params), updated.reply());
  Run();
  return updated;
}

Pending<std::string> Engine::SetMode(const std::string& session,
                                     std::string mode, std::string request_id) {
  Pending<std::string> set;
  const std::string fingerprint = session + "mode" + mode;
  manager->SetPermissionMode(
      With(std::move(request_id), fingerprint),
      {.session_id = session, .permission_mode = std::move(mode)}, set.reply());
  Run();
  return set;
}

Pending<bool> Engine::Delete(const std::string& session) {
  Pending<bool> deleted;
  manager->DeleteSession({}, session, deleted.reply());
  Run();
  return deleted;
}

Pending<std::vector<ConversationRow>> Engine::Conversations(
    const std::string& session) {
  Pending<std::vector<ConversationRow>> listed;
  manager->ListConversations({}, session, listed.reply());
  Run();
  return listed;
}

SessionInfo Engine::Info(const std::string& session) {
  Pending<SessionInfo> info;
  manager->GetSession({}, session, /*prewarm=*/false, info.reply());
  Run();
  // Where reading takes its time.
  while (!info.done() && loop.AdvanceToNextTimer()) {
  }
  EXPECT_TRUE(info.status().ok()) << info.status();
  return *info;
}

std::vector<v1::Event> Engine::Events(const std::string& session) {
  std::vector<v1::Event> events;
  absl::StatusOr<std::vector<StoredEvent>> stored =
      store.ReadEvents(session, 0, 1 << 20, 1 << 30);
  EXPECT_TRUE(stored.ok()) << stored.status();
  for (const StoredEvent& one : *stored) {
    EXPECT_TRUE(events.emplace_back().ParseFromString(one.bytes));
    EXPECT_EQ(events.back().sequence(), one.sequence);
  }
  return events;
}

std::vector<std::string> Engine::Kinds(const std::string& session) {
  std::vector<std::string> kinds;
  for (const v1::Event& event : Events(session)) {
    kinds.push_back(KindOf(event));
  }
  return kinds;
}

v1::Event Engine::Last(const std::string& session, std::string_view kind) {
  v1::Event last;
  bool found = false;
  for (v1::Event& event : Events(session)) {
    if (KindOf(event) != kind) continue;
    last = std::move(event);
    found = true;
  }
  EXPECT_TRUE(found) << "no event " << kind;
  return last;
}

std::string KindOf(const v1::Event& event) {
  const google::protobuf::FieldDescriptor* field =
      v1::Event::descriptor()->FindFieldByNumber(event.payload_case());
  return field == nullptr ? "" : field->name();
}

}  // namespace understudy::session
