#include "session/request_ledger.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/status.pb.h"
#include "proto/error.h"

namespace understudy::session {
namespace {

absl::Status Reused(const std::string& request_id) {
  return MakeError(Reason::kRequestIdReused,
                   absl::StrCat("request_id ", request_id,
                                " was used before, with other content"));
}

}  // namespace

void Call::Finish(const absl::StatusOr<RequestResult>& result) {
  std::vector<Answer> waiting = std::move(answers);
  answers.clear();
  for (Answer& answer : waiting) std::move(answer)(result);
}

RequestLedger::RequestLedger(EventLoop& loop, Blocking& reading, Store& store,
                             std::string scope, std::vector<std::string> known)
    : loop_(loop), reading_(reading), store_(store), scope_(std::move(scope)) {
  Know(std::move(known));
}

RequestLedger::~RequestLedger() = default;

std::shared_ptr<Call> RequestLedger::Admit(CallId id, Caller caller,
                                           Call::Answer answer) {
  const std::string& request_id = caller.request_id;
  if (!request_id.empty()) {
    if (auto it = in_flight_.find(request_id); it != in_flight_.end()) {
      Call& first = *it->second;
      if (first.caller.fingerprint != caller.fingerprint) {
        std::move(answer)(Reused(request_id));
      } else {
        first.answers.push_back(std::move(answer));
      }
      return nullptr;
    }
    if (known_.contains(request_id)) {
      Replay(std::move(caller), std::move(answer));
      return nullptr;
    }
  }
  auto call = std::make_shared<Call>();
  call->id = id;
  call->caller = std::move(caller);
  call->answers.push_back(std::move(answer));
  if (!call->caller.request_id.empty()) {
    in_flight_.emplace(call->caller.request_id, call);
  }
  open_.insert(call);
  return call;
}

void RequestLedger::Know(std::vector<std::string> ids) {
  const absl::Time now = loop_.Now();
  for (std::string& id : ids) known_.emplace(std::move(id), now);
}

void RequestLedger::Expire(absl::Time time) {
  absl::erase_if(known_, [&](const auto& one) {
    return one.second < time && !in_flight_.contains(one.first);
  });
}

void RequestLedger::Replay(Caller caller, Call::Answer answer) {
  reading_.Run([&loop = loop_, &store = store_, scope = scope_,
                caller = std::move(caller),
                answer = std::move(answer)]() mutable {
    absl::StatusOr<std::optional<StoredRequest>> row =
        store.FindRequest(scope, caller.request_id);
    absl::StatusOr<RequestResult> result;
    if (!row.ok()) {
      result = row.status();
    } else if (!row->has_value()) {
      result = MakeError(Reason::kRequestIdReused,
                         absl::StrCat("request_id ", caller.request_id,
                                      " is too old to be remembered"));
    } else if ((*row)->fingerprint != caller.fingerprint) {
      result = Reused(caller.request_id);
    } else if ((*row)->result.has_failed()) {
      result = FailureOf((*row)->result);
    } else {
      result = (*row)->result;
    }
    loop.Post(
        [answer = std::move(answer), result = std::move(result)]() mutable {
          std::move(answer)(std::move(result));
        });
  });
}

std::vector<StoredRequest> RequestLedger::Row(Call& call,
                                              std::string_view session_id,
                                              const RequestResult& result) {
  call.written = loop_.Now();
  if (call.caller.request_id.empty()) return {};
  known_[call.caller.request_id] = loop_.Now();
  std::vector<StoredRequest> rows(1);
  rows[0].scope = scope_;
  rows[0].request_id = call.caller.request_id;
  rows[0].fingerprint = call.caller.fingerprint;
  rows[0].session_id = std::string(session_id);
  rows[0].result = result;
  rows[0].time = loop_.Now();
  return rows;
}

void RequestLedger::Finish(const std::shared_ptr<Call>& call,
                           const absl::StatusOr<RequestResult>& result) {
  if (open_.erase(call) > 0) in_flight_.erase(call->caller.request_id);
  call->Finish(result);
}

void RequestLedger::TellWhoWaits(absl::Time time, const absl::Status& why) {
  std::vector<std::shared_ptr<Call>> late;
  for (const std::shared_ptr<Call>& call : open_) {
    if (call->written < time) late.push_back(call);
  }
  for (const std::shared_ptr<Call>& call : late) call->Finish(why);
}

void RequestLedger::FinishAll(const absl::Status& why) {
  in_flight_.clear();
  for (const std::shared_ptr<Call>& call : std::exchange(open_, {})) {
    call->Finish(why);
  }
}

RequestResult FailedResult(const absl::Status& status) {
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(status.code()));
  rpc.set_message(ValidUtf8(std::string(status.message())));
  status.ForEachPayload([&rpc](auto url, const absl::Cord& payload) {
    google::protobuf::Any* any = rpc.add_details();
    any->set_type_url(std::string(url));
    any->set_value(std::string(payload));
  });
  RequestResult result;
  result.mutable_failed()->set_status(rpc.SerializeAsString());
  return result;
}

absl::Status FailureOf(const RequestResult& result) {
  google::rpc::Status rpc;
  if (!rpc.ParseFromString(result.failed().status())) {
    return MakeError(Reason::kStoreCorrupt,
                     "the remembered answer cannot be read");
  }
  absl::Status status(static_cast<absl::StatusCode>(rpc.code()), rpc.message());
  for (const google::protobuf::Any& any : rpc.details()) {
    status.SetPayload(any.type_url(), absl::Cord(any.value()));
  }
  return status;
}

}  // namespace understudy::session
