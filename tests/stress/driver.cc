#include "tests/stress/driver.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/uuid.h"
#include "proto/error.h"
#include "tests/stress/server.h"

namespace understudy::stress {
namespace {

constexpr size_t kRemembered = 32;

uint64_t Up(std::mt19937_64& random, uint64_t n) { return random() % n; }

bool Chance(std::mt19937_64& random, uint64_t percent) {
  return Up(random, 100) < percent;
}

template <typename T, size_t kSize>
const T& Pick(std::mt19937_64& random, const T (&list)[kSize]) {
  return list[Up(random, kSize)];
}

// Tries for as long as a call may take: a server that is gone comes back.
client::RetryOptions Patience() {
  return {.max_attempts = 100'000,
          .backoff = {.initial = absl::Milliseconds(10),
                      .max = absl::Milliseconds(100)}};
}

v1::TurnPolicy Policy(std::mt19937_64& random) {
  static constexpr v1::TurnPolicy kPolicies[] = {v1::TURN_POLICY_AFTER_TURN,
                                                 v1::TURN_POLICY_INTERRUPT,
                                                 v1::TURN_POLICY_FAIL};
  return Pick(random, kPolicies);
}

std::string AnswerOf(const Call& call) {
  return call.sent.SerializeAsString() + call.moved.SerializeAsString() +
         call.interrupted.SerializeAsString();
}

}  // namespace

Driver::Driver(std::shared_ptr<grpc::Channel> channel, Options options)
    : channel_(std::move(channel)),
      client_(channel_, Patience()),
      options_(std::move(options)) {
  std::filesystem::create_directories(options_.folder);
  v1::CreateSessionRequest request;
  request.set_agent(options_.profile);
  request.set_working_directory(options_.folder);
  const absl::StatusOr<v1::Session> session =
      client_.CreateSession(request, {.timeout = kCallBound});
  if (!session.ok()) {
    std::fprintf(stderr, "create a session: %s\n",
                 session.status().ToString().c_str());
    std::abort();
  }
  session_id_ = session->session_id();
}

Driver::~Driver() {
  StopCalls();
  reading_ = false;
  if (reader_.joinable()) reader_.join();
}

void Driver::Start() {
  calling_ = true;
  for (uint64_t i = 0; i < 2; ++i) {
    callers_.emplace_back([this, i] { CallUntilStopped(options_.seed + i); });
  }
  if (reader_.joinable()) return;
  reading_ = true;
  reader_ = std::thread([this] { Read(options_.seed + 2); });
}

void Driver::StopCalls() {
  calling_ = false;
  for (std::thread& caller : callers_) caller.join();
  callers_.clear();
}

void Driver::StopReading() {
  const auto session = client_.GetSession(
      [this] {
        v1::GetSessionRequest request;
        request.set_session_id(session_id_);
        return request;
      }(),
      {.timeout = kCallBound});
  const uint64_t newest = session.ok() ? session->newest_sequence() : 0;
  const absl::Time deadline = absl::Now() + kCallBound;
  while (absl::Now() < deadline) {
    {
      absl::MutexLock lock(&mutex_);
      if (seen_.size() >= newest) break;
    }
    absl::SleepFor(absl::Milliseconds(5));
  }
  reading_ = false;
  if (reader_.joinable()) reader_.join();
}

// --- Reading -----------------------------------------------------------------

void Driver::Read(uint64_t seed) {
  Random random(seed);
  while (reading_) {
    client::EventStreamOptions options;
    options.session_id = session_id_;
    {
      absl::MutexLock lock(&mutex_);
      options.after_sequence = seen_.empty() ? 0 : seen_.back().sequence();
    }
    options.include_deltas = Chance(random, 50);
    options.backoff = Patience().backoff;
    client::EventStream stream(channel_, options);
    const absl::Time end =
        absl::Now() + absl::Milliseconds(100 + Up(random, 2000));
    while (reading_ && absl::Now() < end) {
      const auto event =
          stream.Next(absl::Now() + absl::Milliseconds(20 + Up(random, 20)));
      if (event.ok()) {
        See(**event);
      } else if (!absl::IsDeadlineExceeded(event.status())) {
        absl::MutexLock lock(&mutex_);
        broken_.push_back(
            absl::StrCat("a stream ended: ", event.status().ToString()));
        return;
      }
    }
  }
}

void Driver::See(const v1::Event& event) {
  absl::MutexLock lock(&mutex_);
  if (event.sequence() == 0) return;
  seen_.push_back(event);
  if (event.has_agent_started()) serving_ = event.agent_started().pid();
  if (event.has_turn_completed() &&
      event.turn_completed().outcome() == v1::TURN_OUTCOME_SUCCEEDED &&
      killed_ != absl::InfiniteFuture()) {
    absl::Duration& slowest = slowest_[server_killed_];
    slowest = std::max(slowest, absl::Now() - killed_);
    killed_ = absl::InfiniteFuture();
  }
  const std::string& conversation = event.agent_session_id();
  if (!conversation.empty() &&
      (conversations_.empty() || conversations_.back() != conversation)) {
    conversations_.push_back(conversation);
  }
}

void Driver::NoteKill(pid_t pid) {
  absl::MutexLock lock(&mutex_);
  if (pid != 0 && pid != serving_) return;
  if (killed_ != absl::InfiniteFuture()) return;
  killed_ = absl::Now();
  server_killed_ = pid == 0;
}

bool Driver::recovered() const {
  absl::MutexLock lock(&mutex_);
  return killed_ == absl::InfiniteFuture();
}

// --- Calling -----------------------------------------------------------------

void Driver::CallUntilStopped(uint64_t seed) {
  Random random(seed);
  while (calling_) {
    Again again;
    bool repeated = false;
    {
      absl::MutexLock lock(&mutex_);
      if (!answered_.empty() && Chance(random, 6)) {
        again = answered_[Up(random, answered_.size())];
        repeated = true;
      }
    }
    if (Chance(random, 8)) ArmNextAgent(random);
    Try(random, repeated ? again : RandomCall(random), repeated);
    if (Chance(random, 60)) {
      absl::SleepFor(absl::Milliseconds(Up(random, 20)));
    }
  }
}

Driver::Again Driver::RandomCall(Random& random) {
  const uint64_t dice = Up(random, 100);
  if (dice < 55) return Send(random);
  if (dice < 71) return SwitchModel(random);
  if (dice < 79) return Clear(random);
  if (dice < 87) return Resume(random);
  return Interrupt(random);
}

void Driver::Try(Random& random, const Again& call, bool repeated) {
  std::vector<Call> calls;
  if (Chance(random, 20)) {
    std::vector<std::future<Call>> at_once;
    for (int i = 0; i < 3; ++i) {
      at_once.push_back(std::async(std::launch::async, call));
    }
    for (std::future<Call>& one : at_once) calls.push_back(one.get());
  } else {
    calls.push_back(call());
  }
  absl::MutexLock lock(&mutex_);
  for (Call& one : calls) {
    // The first answer that there was to this request.
    const Call* first = nullptr;
    if (repeated || calls.size() > 1) {
      for (const Call& earlier : calls_) {
        if (earlier.request_id != one.request_id || !earlier.status.ok()) {
          continue;
        }
        first = &earlier;
        break;
      }
    }
    // What is refused because of the moment may be done in the next.
    if (first != nullptr && !one.status.ok() &&
        first->began + first->took > one.began) {
      first = nullptr;
    }
    if (first != nullptr && !one.status.ok()) {
      broken_.push_back(absl::StrCat("request ", one.request_id,
                                     " was done, and its repetition answered ",
                                     one.status.ToString()));
    } else if (first != nullptr && AnswerOf(*first) != AnswerOf(one)) {
      broken_.push_back(absl::StrCat("request ", one.request_id,
                                     " was answered in two ways"));
    }
    if (one.status.ok() && !one.sent.turn_id().empty()) {
      last_turn_ = one.sent.turn_id();
    }
    if (one.status.ok() && first == nullptr) {
      if (answered_.size() < kRemembered) answered_.push_back(call);
      answered_[Up(random, answered_.size())] = call;
    }
    calls_.push_back(std::move(one));
  }
}

template <typename Request, typename Response>
Driver::Again Driver::Make(Call::Kind kind, Request request,
                           absl::StatusOr<Response> (client::Client::*method)(
                               Request, const client::CallOptions&) const,
                           Response Call::*answer) const {
  request.set_session_id(session_id_);
  request.set_request_id(client::NewUuid());
  return [this, kind, request, method, answer] {
    Call call;
    call.kind = kind;
    call.request_id = request.request_id();
    if constexpr (std::is_same_v<Request, v1::SendMessageRequest>) {
      call.text = request.text();
    }
    call.began = absl::Now();
    const absl::StatusOr<Response> result =
        (client_.*method)(request, {.timeout = kCallBound});
    call.took = absl::Now() - call.began;
    call.status = result.status();
    if (result.ok()) call.*answer = *result;
    return call;
  };
}

Driver::Again Driver::Send(Random& random) {
  v1::SendMessageRequest request;
  request.set_text(Message(random));
  if (Chance(random, 10)) request.set_model(Model(random));
  if (Chance(random, 60)) request.set_wait_until(v1::WAIT_UNTIL_COMPLETED);
  return Make(Call::Kind::kSend, std::move(request),
              &client::Client::SendMessage, &Call::sent);
}

Driver::Again Driver::SwitchModel(Random& random) {
  v1::SwitchModelRequest request;
  request.set_model(Model(random));
  request.set_turn_policy(Policy(random));
  return Make(Call::Kind::kSwitch, std::move(request),
              &client::Client::SwitchModel, &Call::moved);
}

Driver::Again Driver::Clear(Random& random) {
  v1::ClearRequest request;
  request.set_turn_policy(Policy(random));
  if (Chance(random, 40)) {
    request.set_resume_agent_session_id(Conversation(random));
  }
  return Make(Call::Kind::kClear, std::move(request), &client::Client::Clear,
              &Call::moved);
}

Driver::Again Driver::Resume(Random& random) {
  v1::ResumeRequest request;
  request.set_agent_session_id(Conversation(random));
  request.set_turn_policy(Policy(random));
  if (request.agent_session_id().empty()) return Clear(random);
  if (Chance(random, 30)) request.set_model(Model(random));
  return Make(Call::Kind::kResume, std::move(request), &client::Client::Resume,
              &Call::moved);
}

Driver::Again Driver::Interrupt(Random& random) {
  v1::InterruptRequest request;
  if (Chance(random, 40)) {
    absl::MutexLock lock(&mutex_);
    request.set_turn_id(last_turn_);
  }
  return Make(Call::Kind::kInterrupt, std::move(request),
              &client::Client::Interrupt, &Call::interrupted);
}

std::string Driver::Model(Random& random) const {
  static constexpr const char* kModels[] = {
      "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5",
      "claude-fable-5-2", ""};
  return Chance(random, 4) ? "claude-bogus-9" : Pick(random, kModels);
}

std::string Driver::Conversation(Random& random) const {
  absl::MutexLock lock(&mutex_);
  if (Chance(random, 3)) return "00000000-0000-4000-8000-000000000000";
  return conversations_.empty()
             ? ""
             : conversations_[Up(random, conversations_.size())];
}

std::string Driver::Message(Random& random) {
  static constexpr const char* kSteps[] = {"!think so and so",
                                           "!tool Bash {\"command\":\"true\"}",
                                           "!deltas 20 16 1",
                                           "!deltas 200 64",
                                           "!sleep 0.02",
                                           "!background 0.05",
                                           "!unknown",
                                           "!long 20000",
                                           "!tool Read {\"n\":1}"};
  static constexpr const char* kFaults[] = {
      "crash@turn-start",     "crash@mid-turn",
      "crash@before-result",  "crash@after-result",
      "crash@set-model",      "crash@clear",
      "crash@interrupt",      "crash@exit",
      "crash@user",           "crash=3@mid-turn",
      "orphan@turn-start=30", "ignore-sigterm@mid-turn",
      "refuse@set-model",     "refuse@clear",
      "crash@permission",     "half-line@mid-turn\n!fault crash@mid-turn"};
  static constexpr const char* kSlowFaults[] = {
      "wedge@mid-turn",        "wedge@set-model",
      "wedge@clear",           "stop-reading@turn-start",
      "close-stdout@mid-turn", "delay@set-model=3000",
      "delay@interrupt=1500"};
  std::string message = absl::StrCat("message ", ++messages_);
  if (Chance(random, 30)) absl::StrAppend(&message, "\n", Pick(random, kSteps));
  if (Chance(random, 12)) {
    absl::StrAppend(&message, "\n!fault ", Pick(random, kFaults));
    if (Chance(random, 50)) absl::StrAppend(&message, "\n!deltas 5 16 1");
  }
  if (slow_faults_ && Chance(random, 1)) {
    absl::StrAppend(&message, "\n!fault ", Pick(random, kSlowFaults));
  }
  return message;
}

// What the next agent of the session does, also before its handshake.
void Driver::ArmNextAgent(Random& random) const {
  static constexpr const char* kFaults[] = {
      "crash@spawn",
      "crash@initialize",
      "crash=1@spawn",
      "refuse@initialize",
      "crash@set-model",
      "crash@clear",
      "crash@user",
      "crash@turn-start",
      "crash@before-result",
      "crash@exit",
      "delay@initialize=50",
      "delay@spawn=50",
      "half-line@initialize\ncrash@initialize"};
  const std::string path = options_.folder + "/next-faults";
  const std::string mine = absl::StrCat(path, ".", random());
  std::ofstream(mine) << Pick(random, kFaults) << "\n";
  std::rename(mine.c_str(), path.c_str());
}

// --- The end -----------------------------------------------------------------

absl::Status Driver::AwaitRest() const {
  v1::GetSessionRequest request;
  request.set_session_id(session_id_);
  const absl::Time deadline = absl::Now() + kCallBound;
  while (true) {
    const auto session = client_.GetSession(request, {.timeout = kCallBound});
    if (!session.ok()) return session.status();
    // Idle agents are parked, and so everything has ended.
    if (session->state() == v1::SESSION_STATE_DORMANT &&
        session->queued_messages() == 0) {
      return absl::OkStatus();
    }
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat(
          "session ", session_id_, " does not come to rest: it is ",
          v1::SessionState_Name(session->state())));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

SessionHistory Driver::History() const {
  SessionHistory history;
  history.agents = ReadAgentLog(ReadFile(options_.folder + "/agent.log"));
  v1::GetSessionRequest get;
  get.set_session_id(session_id_);
  const auto session = client_.GetSession(get, {.timeout = kCallBound});
  const uint64_t newest = session.ok() ? session->newest_sequence() : 0;
  v1::WatchEventsRequest watch;
  watch.set_session_id(session_id_);
  watch.set_after_sequence(0);
  watch.set_include_raw(true);
  const absl::Status status =
      client_.WatchEvents(watch,
                          [&](const v1::Event& event) {
                            history.stored.push_back(event);
                            return event.sequence() < newest;
                          },
                          {.timeout = kCallBound});
  absl::MutexLock lock(&mutex_);
  history.seen = seen_;
  history.calls = calls_;
  return history;
}

std::vector<std::string> Driver::broken() const {
  absl::MutexLock lock(&mutex_);
  return broken_;
}

absl::Duration Driver::slowest(bool of_server) const {
  absl::MutexLock lock(&mutex_);
  return slowest_[of_server];
}

}  // namespace understudy::stress
