#include "session/session_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "proto/error.h"
#include "session/base/id.h"
#include "session/base/log.h"

namespace understudy::session {
namespace {

// Rows of the store looked at for one page, where a filter lets few through.
constexpr int kMaxRowsForPage = 10000;
// Repeats within a day get the first answer.
constexpr absl::Duration kRequestsKept = absl::Hours(48);
constexpr absl::Duration kForgetEvery = absl::Hours(1);
constexpr absl::Duration kHousekeeping = absl::Seconds(10);
constexpr absl::Duration kRetireAtLeastEvery = absl::Hours(1);

SessionInfo DormantInfo(StoredSession stored) {
  SessionInfo info;
  info.epoch = stored.epoch;
  info.oldest_sequence = stored.oldest_sequence;
  info.newest_sequence = stored.newest_sequence;
  info.record = std::move(stored.record);
  return info;
}

bool Passes(const ListParams& params, const SessionInfo& info) {
  if (!params.agent.empty() && info.record.agent() != params.agent) {
    return false;
  }
  if (params.state.has_value() && info.state != *params.state) return false;
  for (const auto& [key, value] : params.labels) {
    const auto it = info.record.labels().find(key);
    if (it == info.record.labels().end() || it->second != value) return false;
  }
  return true;
}

// An agent that cannot be had: of sessions whose profile is gone.
absl::StatusOr<std::unique_ptr<Agent>> MakeNone(EventLoop&, Launcher&,
                                                const Profile& profile,
                                                const Opening&,
                                                Agent::Observer*) {
  return MakeError(Reason::kAgentNotFound,
                   absl::StrCat("no profile ", profile.name));
}

const AgentKind kNone = {
    .name = "",
    .capabilities = {},
    .valid_conversation = [](std::string_view) { return true; },
    .local_conversations =
        [](const Profile&, const std::string&, size_t) {
          return std::vector<LocalConversation>();
        },
    .is_elsewhere = [](const Profile&, const std::string&,
                       std::string_view) { return false; },
    .make = MakeNone,
};

}  // namespace

SessionTable::SessionTable(EngineGround ground, EngineOptions options)
    : ground_(ground),
      options_(std::move(options)),
      claims_([this](const std::string& session_id,
                     const std::string& conversation) {
        const auto it = sessions_.find(session_id);
        return it != sessions_.end() && it->second->LetGo(conversation);
      }),
      committer_(ground.loop, ground.committing, ground.store),
      pool_(ground.loop, ground.launcher, options_.max_slots,
            [this](const Profile* profile) { GiveWay(profile); }),
      ledger_(ground.loop, ground.reading, ground.store, "", {}) {}

SessionTable::~SessionTable() {
  *self_ = nullptr;
  opening_.clear();
  sessions_.clear();
}

void SessionTable::OnLoop(absl::AnyInvocable<void(SessionTable&) &&> task) {
  ground_.loop.Post([self = self_, task = std::move(task)]() mutable {
    if (*self != nullptr) std::move(task)(**self);
  });
}

const Profile* SessionTable::FindProfile(std::string_view name) const {
  for (const Profile& profile : options_.profiles) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

// ---- Finding and opening ----

absl::Status SessionTable::Start() {
  absl::StatusOr<std::vector<std::string>> known = ground_.store.RequestIds("");
  if (!known.ok()) return known.status();
  absl::StatusOr<std::vector<std::string>> unfinished =
      ground_.store.Unfinished();
  if (!unfinished.ok()) return unfinished.status();
  OnLoop([known = *std::move(known)](SessionTable& table) mutable {
    table.ledger_.Know(std::move(known));
  });
  for (const std::string& session_id : *unfinished) {
    absl::StatusOr<StoredSession> stored = ground_.store.Acquire(session_id);
    if (!stored.ok()) return stored.status();
    absl::StatusOr<std::vector<std::string>> ids =
        ground_.store.RequestIds(session_id);
    if (!ids.ok()) return ids.status();
    OnLoop([stored = *std::move(stored),
            ids = *std::move(ids)](SessionTable& table) mutable {
      table.Adopt(table.Make(std::move(stored), std::move(ids)))->Recover();
    });
  }
  OnLoop([](SessionTable& table) { table.KeepHouse(); });
  return absl::OkStatus();
}

std::unique_ptr<Session> SessionTable::Make(
    StoredSession stored, std::vector<std::string> request_ids) {
  const std::string session_id = stored.record.session_id();
  const std::string& agent = stored.record.agent();
  const Profile* profile = FindProfile(agent);
  const AgentKind* kind =
      profile == nullptr ? &kNone : options_.find_kind(profile->kind);
  absl::Status refuse;
  if (profile == nullptr) {
    // It can be read and deleted, no more.
    Profile& missing = missing_[agent];
    missing.name = agent;
    profile = &missing;
    refuse =
        MakeError(Reason::kAgentNotFound,
                  absl::StrCat("use session ", session_id, ": its profile ",
                               agent, " is not configured"));
  }
  auto made = std::make_shared<Session*>(nullptr);
  auto session = std::make_unique<Session>(
      Session::Ground{ground_.loop, ground_.reading, ground_.store, committer_,
                      pool_, catalog_, claims_},
      Session::Options{.max_queued_messages =
                           static_cast<size_t>(options_.max_queued_messages),
                       .max_window_bytes = options_.max_window_bytes,
                       .max_events = options_.event_max_count},
      *kind, *profile, std::move(stored), std::move(request_ids),
      [this, session_id, made] {
        // Not from inside its own call; another may have its place by then.
        OnLoop([session_id, made](SessionTable& table) {
          const auto it = table.sessions_.find(session_id);
          if (it != table.sessions_.end() && it->second.get() == *made) {
            table.sessions_.erase(it);
          }
        });
      });
  *made = session.get();
  if (!refuse.ok()) session->Refuse(refuse);
  return session;
}

Session* SessionTable::Adopt(std::unique_ptr<Session> session) {
  const std::string session_id = session->stored().session_id();
  // The server may have begun to stop since it was made.
  if (!refuse_.ok()) session->Refuse(refuse_);
  return (sessions_[session_id] = std::move(session)).get();
}

void SessionTable::With(const std::string& session_id, Opened opened) {
  if (const auto it = sessions_.find(session_id); it != sessions_.end()) {
    std::move(opened)(it->second.get());
    return;
  }
  const auto [it, is_new] = opening_.try_emplace(session_id);
  it->second.line.push_back(std::move(opened));
  if (is_new) Open(session_id);
}

// Whoever waits for the session gets it, or the reason why not.
void SessionTable::ServeLine(const std::string& session_id,
                             const absl::StatusOr<Session*>& session) {
  std::vector<Opened> line = std::move(opening_[session_id].line);
  opening_.erase(session_id);
  for (Opened& opened : line) std::move(opened)(session);
}

void SessionTable::Open(const std::string& session_id) {
  ground_.reading.Run([this, self = self_, &loop = ground_.loop,
                       &store = ground_.store, session_id] {
    absl::StatusOr<StoredSession> stored = store.Acquire(session_id);
    absl::StatusOr<std::vector<std::string>> ids =
        stored.ok() ? store.RequestIds(session_id)
                    : absl::StatusOr<std::vector<std::string>>(stored.status());
    loop.Post([this, self, session_id, stored = std::move(stored),
               ids = std::move(ids)]() mutable {
      if (*self == nullptr) return;
      absl::StatusOr<Session*> session = nullptr;
      if (!ids.ok()) {
        session = ids.status();
      } else {
        session = Adopt(Make(*std::move(stored), *std::move(ids)));
        // It may have been closed with something open: fenced off, or its
        // commit in doubt for too long.
        (*session)->Recover();
      }
      ServeLine(session_id, session);
    });
  });
}

// The session that has rested longest lets go of its agent: one of `profile`
// where only that helps.
void SessionTable::GiveWay(const Profile* profile) {
  Session* longest = nullptr;
  for (const auto& [unused, session] : sessions_) {
    if (session->idle_since() == absl::InfiniteFuture()) continue;
    if (profile != nullptr && session->stored().agent() != profile->name) {
      continue;
    }
    if (longest == nullptr || session->idle_since() < longest->idle_since()) {
      longest = session.get();
    }
  }
  if (longest != nullptr) longest->Park();
}

// Now and then: what is not needed in memory goes, and old requests and events
// go from the store.
void SessionTable::KeepHouse() {
  const std::unique_ptr<EventLoop::Handle> fired = std::move(housekeeping_);
  const absl::Time now = ground_.loop.Now();
  std::erase_if(sessions_,
                [](const auto& one) { return one.second->evictable(); });
  for (const auto& [unused, session] : sessions_) session->LookAfter(now);
  if (!committer_.health().ok()) {
    ledger_.TellWhoWaits(now - absl::Seconds(10), committer_.health());
  }
  if (now - forgotten_ >= kForgetEvery) {
    forgotten_ = now;
    ground_.clearing.Run([self = self_, &loop = ground_.loop,
                          &store = ground_.store,
                          before = now - kRequestsKept] {
      const absl::Status status = store.ForgetRequests(before);
      if (!status.ok()) {
        Log(LogLevel::kWarning, "old requests stay in the store",
            {{"error", std::string(status.message())}});
        return;
      }
      loop.Post([self, before] {
        if (*self == nullptr) return;
        (*self)->ledger_.Expire(before);
        for (const auto& [unused, session] : (*self)->sessions_) {
          session->ExpireRequests(before);
        }
      });
    });
  }
  RetireEvents();
  housekeeping_ = ground_.loop.RunAfter(kHousekeeping, [this] { KeepHouse(); });
}

// Events that are too old, of all sessions: looked for every tenth of their
// greatest age. By number, sessions that are in use trim themselves; the first
// time, those are looked for that are not.
void SessionTable::RetireEvents() {
  const bool ages = options_.event_max_age != absl::InfiniteDuration();
  const absl::Duration interval =
      ages ? std::min(options_.event_max_age / 10, kRetireAtLeastEvery)
           : absl::InfiniteDuration();
  if (retiring_events_ || (!ages && options_.event_max_count == 0)) return;
  const absl::Time now = ground_.loop.Now();
  if (now - retired_ < interval) return;
  retired_ = now;
  retiring_events_ = true;
  LookForOldEvents("");
}

void SessionTable::LookForOldEvents(std::string page_token) {
  ground_.reading.Run(
      [self = self_, &loop = ground_.loop, &store = ground_.store,
       retention =
           Retention{.not_before = ground_.loop.Now() - options_.event_max_age,
                     .max_events = options_.event_max_count},
       page_token = std::move(page_token)] {
        absl::StatusOr<OverduePage> page =
            FindOverdue(store, retention, page_token);
        loop.Post([self, page = std::move(page)]() mutable {
          if (*self == nullptr) return;
          SessionTable& table = **self;
          if (!page.ok()) {
            Log(LogLevel::kWarning, "old events stay in the store",
                {{"error", std::string(page.status().message())}});
            table.retiring_events_ = false;
            return;
          }
          for (Overdue& overdue : page->sessions) {
            table.Trim(std::move(overdue));
          }
          if (page->next_page_token.empty()) {
            table.retiring_events_ = false;
          } else {
            table.LookForOldEvents(std::move(page->next_page_token));
          }
        });
      });
}

void SessionTable::Trim(Overdue overdue) {
  if (const auto it = sessions_.find(overdue.session_id);
      it != sessions_.end()) {
    it->second->Trim(overdue.keep_from);
    return;
  }
  // Whoever takes it over meanwhile fences this off: the next time, then.
  Append append;
  append.session_id = std::move(overdue.session_id);
  append.epoch = overdue.epoch;
  append.base_sequence = overdue.newest_sequence;
  append.oldest_sequence = overdue.keep_from;
  committer_.Write(std::move(append), [](absl::Status) {});
}

// ---- The standard methods ----

void SessionTable::Create(Caller caller, CreateParams params,
                          Reply<SessionInfo> reply) {
  auto answer = [self = self_, reply = std::move(reply)](
                    absl::StatusOr<RequestResult> result) mutable {
    if (!result.ok()) {
      std::move(reply)(result.status());
    } else if (*self != nullptr) {
      (*self)->Get(result->created(), std::move(reply));
    } else {
      std::move(reply)(MakeError(Reason::kDraining, "the server is stopping"));
    }
  };
  const std::string tenant = caller.tenant;
  const std::shared_ptr<Call> call =
      ledger_.Admit(0, std::move(caller), std::move(answer));
  if (call == nullptr) return;
  if (!refuse_.ok()) {
    ledger_.Finish(call, refuse_);
    return;
  }
  const Profile* profile = FindProfile(params.agent);
  if (profile == nullptr) {
    ledger_.Finish(call, MakeError(Reason::kAgentNotFound,
                                   absl::StrCat("no profile ", params.agent)));
    return;
  }
  SessionRecord record;
  record.set_session_id(params.session_id.empty() ? NewUuid()
                                                  : params.session_id);
  record.set_tenant(tenant);
  record.set_agent(profile->name);
  record.set_model_override(params.model);
  record.set_model(params.model.empty() ? profile->default_model
                                        : params.model);
  record.set_working_directory(params.working_directory);
  for (auto& [key, value] : params.labels) {
    (*record.mutable_labels())[key] = std::move(value);
  }
  record.set_permission_mode(profile->permission_mode);
  *record.mutable_create_time() = *record.mutable_update_time() =
      google::protobuf::util::TimeUtil::NanosecondsToTimestamp(
          absl::ToUnixNanos(ground_.loop.Now()));
  Store(call, std::move(record));
}

// Stores a new session. Until that has happened calls for it wait in line.
void SessionTable::Store(const std::shared_ptr<Call>& call,
                         SessionRecord record) {
  const std::string session_id = record.session_id();
  if (const auto it = sessions_.find(session_id); it != sessions_.end()) {
    ledger_.Finish(call, MakeError(Reason::kSessionExists,
                                   absl::StrCat("create session ", session_id,
                                                ": it exists, with the agent ",
                                                it->second->stored().agent(),
                                                ", which a session keeps")));
    return;
  }
  const auto [opening, is_new] = opening_.try_emplace(session_id);
  if (!is_new) {
    // Somebody is finding out whether it exists.
    opening->second.line.push_back(
        [this, call,
         record = std::move(record)](const absl::StatusOr<Session*>&) mutable {
          Store(call, std::move(record));
        });
    return;
  }
  StoredSession stored;
  stored.epoch = 1;
  stored.record = std::move(record);
  RequestResult result;
  result.set_operation("CreateSession");
  result.set_created(session_id);
  Append append;
  opening->second.created = Make(std::move(stored), {});
  opening->second.created->Created(append);
  append.requests = ledger_.Row(*call, session_id, result);
  committer_.Write(
      std::move(append), Committer::OnFailure::kGiveUp,
      [this, self = self_, call, session_id, result](absl::Status status) {
        if (*self == nullptr) return;
        if (!status.ok()) {
          ledger_.Forget(*call);
          ledger_.Finish(call, std::move(status));
          opening_[session_id].created = nullptr;
          // It may be there from before.
          if (opening_[session_id].line.empty()) {
            opening_.erase(session_id);
          } else {
            Open(session_id);
          }
          return;
        }
        Session* session = Adopt(std::move(opening_[session_id].created));
        session->log()->Publish(1);
        ledger_.Finish(call, result);
        ServeLine(session_id, session);
      });
}

void SessionTable::Get(std::string session_id, Reply<SessionInfo> reply) {
  if (const auto it = sessions_.find(session_id); it != sessions_.end()) {
    std::move(reply)(it->second->info());
    return;
  }
  if (opening_.contains(session_id)) {
    With(session_id,
         [reply = std::move(reply)](absl::StatusOr<Session*> session) mutable {
           if (!session.ok()) {
             std::move(reply)(session.status());
           } else {
             std::move(reply)((*session)->info());
           }
         });
    return;
  }
  ground_.reading.Run([&loop = ground_.loop, &store = ground_.store,
                       session_id = std::move(session_id),
                       reply = std::move(reply)]() mutable {
    absl::StatusOr<StoredSession> stored = store.Get(session_id);
    loop.Post([reply = std::move(reply), stored = std::move(stored)]() mutable {
      if (!stored.ok()) {
        std::move(reply)(stored.status());
      } else {
        std::move(reply)(DormantInfo(*std::move(stored)));
      }
    });
  });
}

void SessionTable::List(ListParams params, Reply<SessionPage> reply) {
  ListMore(std::move(params), {}, 0, std::move(reply));
}

void SessionTable::ListMore(ListParams params, SessionPage page, int looked_at,
                            Reply<SessionPage> reply) {
  const int wanted = params.page_size - static_cast<int>(page.sessions.size());
  ground_.reading.Run([this, self = self_, &loop = ground_.loop,
                       &store = ground_.store, params = std::move(params),
                       page = std::move(page), looked_at, wanted,
                       reply = std::move(reply)]() mutable {
    absl::StatusOr<Store::Page> rows = store.List(params.page_token, wanted);
    loop.Post([this, self, params = std::move(params), page = std::move(page),
               looked_at, wanted, rows = std::move(rows),
               reply = std::move(reply)]() mutable {
      if (*self == nullptr) return;
      if (!rows.ok()) {
        std::move(reply)(rows.status());
        return;
      }
      for (StoredSession& row : rows->sessions) {
        const auto it = sessions_.find(row.record.session_id());
        SessionInfo info = it != sessions_.end() ? it->second->info()
                                                 : DormantInfo(std::move(row));
        if (Passes(params, info)) page.sessions.push_back(std::move(info));
      }
      page.next_page_token = rows->next_page_token;
      looked_at += wanted;
      if (page.next_page_token.empty() || looked_at >= kMaxRowsForPage ||
          static_cast<int>(page.sessions.size()) >= params.page_size) {
        std::move(reply)(std::move(page));
        return;
      }
      params.page_token = page.next_page_token;
      ListMore(std::move(params), std::move(page), looked_at, std::move(reply));
    });
  });
}

void SessionTable::Delete(Caller caller, std::string session_id,
                          Reply<bool> reply) {
  auto answer =
      [reply = std::move(reply)](absl::StatusOr<RequestResult> result) mutable {
        if (!result.ok()) {
          std::move(reply)(result.status());
        } else {
          std::move(reply)(true);
        }
      };
  const std::shared_ptr<Call> call =
      ledger_.Admit(0, std::move(caller), std::move(answer));
  if (call == nullptr) return;
  With(session_id, [this, call, session_id](absl::StatusOr<Session*> session) {
    if (!session.ok()) {
      ledger_.Finish(call, session.status());
      return;
    }
    Session& found = **session;
    found.WhenDecided([this, call, &found] {
      RequestResult result;
      result.mutable_done();
      found.Delete(ledger_.Row(*call, found.stored().session_id(), result),
                   [this, call, result](absl::Status status) {
                     if (!status.ok()) {
                       ledger_.Forget(*call);
                       ledger_.Finish(call, std::move(status));
                       return;
                     }
                     ledger_.Finish(call, result);
                   });
    });
  });
}

// ---- Calls that wait ----

void SessionTable::NoteWaiting(CallId call, const std::string& session_id) {
  waiting_[call] = session_id;
}

void SessionTable::Withdraw(CallId call) {
  const auto it = waiting_.find(call);
  if (it == waiting_.end()) return;
  const auto session = sessions_.find(it->second);
  if (session == sessions_.end() || !session->second->Withdraw(call)) {
    // It has begun, or will find itself withdrawn when it comes to that.
    waiting_.erase(call);
  }
}

void SessionTable::Refuse(const absl::Status& why) {
  refuse_ = why;
  for (const auto& [unused, session] : sessions_) session->Refuse(why);
}

}  // namespace understudy::session
