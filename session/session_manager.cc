#include "session/session_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "session/conversation_list.h"
#include "session/drain.h"
#include "session/model_list.h"
#include "session/session_table.h"

namespace understudy::session {
namespace {

// Conversations of the agent's own that are looked at for a listing.
constexpr size_t kMaxLocalConversations = 1000;

absl::Status NoProfile(const std::string& name) {
  return MakeError(Reason::kAgentNotFound, absl::StrCat("no profile ", name));
}

// What the agents of a profile can do, as far as one knows without any.
Capabilities MostOf(const AgentKind& kind, const Profile& profile) {
  Capabilities most = kind.capabilities;
  most.switch_model &= profile.native_switch;
  most.new_conversation &= profile.native_clear;
  most.load_conversation &= profile.native_resume;
  most.interrupt &= profile.interrupt;
  most.permissions &= profile.permissions;
  return most;
}

absl::Status Stopping() {
  return MakeError(Reason::kDraining, "the server is stopping");
}

// Looks for what the agent keeps in files, and answers.
void AddLocal(const SessionTable& table, SessionRecord record,
              KnownConversations known,
              Reply<std::vector<ConversationRow>> reply) {
  const Profile* const profile = table.FindProfile(record.agent());
  if (profile == nullptr) {
    std::move(reply)(ConversationList(record, std::move(known)));
    return;
  }
  table.ground().clearing.Run(
      [&loop = table.ground().loop,
       list = table.options().find_kind(profile->kind)->local_conversations,
       profile = *profile, record = std::move(record), known = std::move(known),
       reply = std::move(reply)]() mutable {
        for (LocalConversation& one : list(profile, record.working_directory(),
                                           kMaxLocalConversations)) {
          known.conversations.push_back(std::move(one));
        }
        std::vector<ConversationRow> rows =
            ConversationList(record, std::move(known));
        loop.Post([rows = std::move(rows), reply = std::move(reply)]() mutable {
          std::move(reply)(std::move(rows));
        });
      });
}

}  // namespace

SessionManager::SessionManager(Ground ground, Options options)
    : table_(std::make_unique<SessionTable>(ground, std::move(options))) {}

SessionManager::~SessionManager() = default;

absl::Status SessionManager::Start() { return table_->Start(); }

template <typename Result, typename Run>
void SessionManager::WithSession(std::string session_id, Reply<Result> reply,
                                 Run run) {
  table_->OnLoop([session_id = std::move(session_id), reply = std::move(reply),
                  run = std::move(run)](SessionTable& table) mutable {
    table.With(session_id, [reply = std::move(reply), run = std::move(run)](
                               absl::StatusOr<Session*> session) mutable {
      if (!session.ok()) {
        std::move(reply)(session.status());
        return;
      }
      Session& found = **session;
      found.WhenDecided(
          [&found, reply = std::move(reply), run = std::move(run)]() mutable {
            std::move(run)(found, std::move(reply));
          });
    });
  });
}

template <typename Result, typename Run>
CallId SessionManager::RunWaiting(std::string session_id, Reply<Result> reply,
                                  Run run) {
  const CallId id = next_call_++;
  table_->OnLoop([id, session_id](SessionTable& table) {
    table.NoteWaiting(id, session_id);
  });
  Reply<Result> answer = [self = table_->self(), id, reply = std::move(reply)](
                             absl::StatusOr<Result> result) mutable {
    if (*self != nullptr) (*self)->ForgetWaiting(id);
    std::move(reply)(std::move(result));
  };
  WithSession<Result>(
      std::move(session_id), std::move(answer),
      [self = table_->self(), id, run = std::move(run)](
          Session& session, Reply<Result> reply) mutable {
        if (!(*self)->IsWaiting(id)) {
          std::move(reply)(absl::CancelledError("withdrawn by the caller"));
          return;
        }
        std::move(run)(session, id, std::move(reply));
      });
  return id;
}

void SessionManager::CreateSession(Caller caller, CreateParams params,
                                   Reply<SessionInfo> reply) {
  table_->OnLoop([caller = std::move(caller), params = std::move(params),
                  reply = std::move(reply)](SessionTable& table) mutable {
    table.Create(std::move(caller), std::move(params), std::move(reply));
  });
}

void SessionManager::GetSession(Caller, std::string session_id, bool prewarm,
                                Reply<SessionInfo> reply) {
  if (prewarm) {
    WithSession<SessionInfo>(std::move(session_id), std::move(reply),
                             [](Session& session, Reply<SessionInfo> reply) {
                               session.Prewarm();
                               std::move(reply)(session.info());
                             });
    return;
  }
  table_->OnLoop([session_id = std::move(session_id),
                  reply = std::move(reply)](SessionTable& table) mutable {
    table.Get(std::move(session_id), std::move(reply));
  });
}

void SessionManager::ListSessions(Caller, ListParams params,
                                  Reply<SessionPage> reply) {
  table_->OnLoop([params = std::move(params),
                  reply = std::move(reply)](SessionTable& table) mutable {
    table.List(std::move(params), std::move(reply));
  });
}

void SessionManager::DeleteSession(Caller caller, std::string session_id,
                                   Reply<bool> reply) {
  table_->OnLoop([caller = std::move(caller),
                  session_id = std::move(session_id),
                  reply = std::move(reply)](SessionTable& table) mutable {
    table.Delete(std::move(caller), std::move(session_id), std::move(reply));
  });
}

CallId SessionManager::SendMessage(Caller caller, SendParams params,
                                   Reply<SendResult> reply) {
  std::string session_id = params.session_id;
  return RunWaiting<SendResult>(
      std::move(session_id), std::move(reply),
      [caller = std::move(caller), params = std::move(params)](
          Session& session, CallId id, Reply<SendResult> reply) mutable {
        session.Send(id, std::move(caller), std::move(params),
                     std::move(reply));
      });
}

CallId SessionManager::Move(Caller caller, MoveParams params,
                            Reply<MoveResult> reply) {
  std::string session_id = params.session_id;
  return RunWaiting<MoveResult>(
      std::move(session_id), std::move(reply),
      [caller = std::move(caller), params = std::move(params)](
          Session& session, CallId id, Reply<MoveResult> reply) mutable {
        session.Move(id, std::move(caller), std::move(params),
                     std::move(reply));
      });
}

void SessionManager::Withdraw(CallId call) {
  table_->OnLoop([call](SessionTable& table) { table.Withdraw(call); });
}

void SessionManager::Interrupt(Caller caller, std::string session_id,
                               std::string turn_id,
                               Reply<InterruptResult> reply) {
  WithSession<InterruptResult>(
      std::move(session_id), std::move(reply),
      [caller = std::move(caller), turn_id = std::move(turn_id)](
          Session& session, Reply<InterruptResult> reply) mutable {
        session.Interrupt(std::move(caller), std::move(turn_id),
                          std::move(reply));
      });
}

void SessionManager::ResolvePermission(Caller caller, PermissionParams params,
                                       Reply<bool> reply) {
  std::string session_id = params.session_id;
  WithSession<bool>(std::move(session_id), std::move(reply),
                    [caller = std::move(caller), params = std::move(params)](
                        Session& session, Reply<bool> reply) mutable {
                      session.ResolvePermission(std::move(caller),
                                                std::move(params),
                                                std::move(reply));
                    });
}

void SessionManager::UpdateSession(Caller caller, UpdateParams params,
                                   Reply<SessionInfo> reply) {
  std::string session_id = params.session_id;
  // The session as it is, with the labels that this call gave it.
  Reply<Labels> answer =
      [self = table_->self(), session_id,
       reply = std::move(reply)](absl::StatusOr<Labels> labels) mutable {
        if (!labels.ok() || *self == nullptr) {
          std::move(reply)(labels.ok() ? Stopping() : labels.status());
          return;
        }
        (*self)->Get(
            session_id, [labels = *std::move(labels), reply = std::move(reply)](
                            absl::StatusOr<SessionInfo> info) mutable {
              if (info.ok()) {
                *info->record.mutable_labels() = {labels.begin(), labels.end()};
              }
              std::move(reply)(std::move(info));
            });
      };
  WithSession<Labels>(std::move(session_id), std::move(answer),
                      [caller = std::move(caller), params = std::move(params)](
                          Session& session, Reply<Labels> reply) mutable {
                        session.Update(std::move(caller), std::move(params),
                                       std::move(reply));
                      });
}

void SessionManager::SetPermissionMode(Caller caller, ModeParams params,
                                       Reply<std::string> reply) {
  std::string session_id = params.session_id;
  WithSession<std::string>(
      std::move(session_id), std::move(reply),
      [caller = std::move(caller), params = std::move(params)](
          Session& session, Reply<std::string> reply) mutable {
        session.SetPermissionMode(std::move(caller), std::move(params),
                                  std::move(reply));
      });
}

std::vector<AgentInfo> SessionManager::ListAgents() const {
  std::vector<AgentInfo> agents;
  for (const Profile& profile : profiles()) {
    const AgentCatalog::Row row = table_->catalog().Find(profile.name);
    AgentInfo& info = agents.emplace_back();
    info.name = profile.name;
    info.kind = profile.kind;
    info.version = row.version;
    info.default_model = profile.default_model;
    info.known = row.known;
    info.capabilities =
        row.known ? row.capabilities
                  : MostOf(*table_->options().find_kind(profile.kind), profile);
  }
  return agents;
}

void SessionManager::ListModels(Caller caller, std::string session_id,
                                std::string agent,
                                Reply<std::vector<ModelRow>> reply) {
  auto answer = [self = table_->self(), reply = std::move(reply)](
                    absl::StatusOr<std::string> agent,
                    const std::string& current) mutable {
    if (!agent.ok() || *self == nullptr) {
      std::move(reply)(agent.ok() ? Stopping() : agent.status());
      return;
    }
    const SessionTable& table = **self;
    const Profile* profile = table.FindProfile(*agent);
    if (profile == nullptr) {
      std::move(reply)(NoProfile(*agent));
      return;
    }
    std::move(reply)(
        ModelList(*profile, table.catalog().Find(*agent).models, current));
  };
  if (session_id.empty()) {
    table_->OnLoop([agent = std::move(agent),
                    answer = std::move(answer)](SessionTable&) mutable {
      std::move(answer)(agent, "");
    });
    return;
  }
  GetSession(
      std::move(caller), std::move(session_id), /*prewarm=*/false,
      [answer = std::move(answer)](absl::StatusOr<SessionInfo> info) mutable {
        if (!info.ok()) {
          std::move(answer)(info.status(), "");
        } else {
          std::move(answer)(info->record.agent(), info->record.model());
        }
      });
}

void SessionManager::ListConversations(
    Caller caller, std::string session_id,
    Reply<std::vector<ConversationRow>> reply) {
  const std::string id = session_id;
  GetSession(
      std::move(caller), std::move(session_id), /*prewarm=*/false,
      [self = table_->self(), id,
       reply = std::move(reply)](absl::StatusOr<SessionInfo> info) mutable {
        if (!info.ok() || *self == nullptr) {
          std::move(reply)(info.ok() ? Stopping() : info.status());
          return;
        }
        const SessionTable& table = **self;
        const AgentCatalog::Row row =
            table.catalog().Find(info->record.agent());
        auto told = [self, record = std::move(info->record),
                     reply =
                         std::move(reply)](KnownConversations known) mutable {
          if (*self == nullptr) {
            std::move(reply)(Stopping());
          } else {
            AddLocal(**self, std::move(record), std::move(known),
                     std::move(reply));
          }
        };
        const auto open = table.sessions().find(id);
        if (open != table.sessions().end() && open->second->has_agent()) {
          open->second->AskForConversations(std::move(told));
          return;
        }
        std::move(told)(
            {.any = !row.known || row.capabilities.resume_conversation});
      });
}

void SessionManager::OpenLog(Caller, std::string session_id,
                             Reply<std::shared_ptr<EventLog>> reply) {
  // Reading waits for nothing.
  table_->OnLoop([session_id = std::move(session_id),
                  reply = std::move(reply)](SessionTable& table) mutable {
    table.With(session_id, [reply = std::move(reply)](
                               absl::StatusOr<Session*> session) mutable {
      if (!session.ok()) {
        std::move(reply)(session.status());
      } else {
        std::move(reply)((*session)->log());
      }
    });
  });
}

const Profile* SessionManager::FindProfile(std::string_view name) const {
  return table_->FindProfile(name);
}

const std::vector<Profile>& SessionManager::profiles() const {
  return table_->options().profiles;
}

void SessionManager::Drain(absl::Duration turn_grace,
                           absl::AnyInvocable<void() &&> done) {
  table_->OnLoop([this, turn_grace,
                  done = std::move(done)](SessionTable& table) mutable {
    drain_ =
        std::make_unique<session::Drain>(table, turn_grace, std::move(done));
  });
}

}  // namespace understudy::session
