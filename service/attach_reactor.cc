#include "service/attach_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error.h"
#include "proto/rpc_status.h"
#include "service/attach_messages.h"
#include "service/check.h"
#include "service/convert.h"
#include "service/wire.h"
#include "session/event_log.h"

namespace understudy::service {
namespace {

using session::CallId;
using session::EventLog;

// A subscription that has been quiet for so many ticks says so.
constexpr int kTicksOfSilence = 4;

// When a subscription that was one too many may be tried again: others may have
// ended.
constexpr absl::Duration kQuotaRetry = absl::Seconds(1);

// What a result echoes of a request_id that is no UUID.
constexpr size_t kMaxEchoedBytes = 128;

absl::Status Gone() { return absl::CancelledError("the client has gone"); }

std::string EchoedId(const std::string& request_id) {
  if (const std::string id = LowerUuid(request_id); !id.empty()) return id;
  return request_id.size() <= kMaxEchoedBytes ? request_id : "";
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
AttachReactor::Start(const StreamGround& ground, StreamSet& streams,
                     Commands& commands, absl::Duration progress_interval) {
  std::shared_ptr<AttachReactor> reactor(
      new AttachReactor(ground, streams, commands, progress_interval));
  reactor->self_ = reactor;
  const bool added = streams.Add(reactor);
  if (added) {
    reactor->StartSendInitialMetadata();
    ground.loop.Post([reactor] { reactor->StartTicking(); });
  }
  {
    absl::MutexLock lock(&reactor->mu_);
    if (added) {
      reactor->ReadLocked();
    } else {
      reactor->FinishLocked(DrainingError());
    }
  }
  if (!added) reactor->AfterFinish(DrainingError());
  return reactor.get();
}

AttachReactor::AttachReactor(const StreamGround& ground, StreamSet& streams,
                             Commands& commands,
                             absl::Duration progress_interval)
    : ground_(ground),
      streams_(streams),
      commands_(commands),
      progress_interval_(progress_interval),
      log_("Attach") {}

void AttachReactor::OnReadDone(bool ok) {
  bool finished;
  {
    absl::MutexLock lock(&mu_);
    finished = finished_;
  }
  if (ok && !finished) {
    v1::AttachRequest request;
    if (absl::Status status = ParseMessage(incoming_, &request); status.ok()) {
      Handle(request);
    } else {
      Send(FailedMessage("", status));
    }
  }
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    if (!ok) input_ended_ = true;
    ReadLocked();
  }
  Write();
}

void AttachReactor::ReadLocked() {
  if (reading_ || input_ended_ || draining_ || cancelled_ || finished_) return;
  if (running_ + outbox_.size() >= kMaxOutstanding) return;
  reading_ = true;
  StartRead(&incoming_);
}

// ---- Up: commands ----

void AttachReactor::Handle(const v1::AttachRequest& request) {
  const std::string id = EchoedId(request.request_id());
  if (absl::Status status = Check(request, commands_.rules()); !status.ok()) {
    return Send(FailedMessage(id, status));
  }
  switch (request.command_case()) {
    case v1::AttachRequest::kSubscribe:
      return Subscribe(id, request.subscribe());
    case v1::AttachRequest::kUnsubscribe:
      return Unsubscribe(request.unsubscribe().subscription_id());
    case v1::AttachRequest::kSendMessage:
      return Run("SendMessage", id, request.send_message(),
                 &Commands::SendMessage, &v1::Result::mutable_send_message);
    case v1::AttachRequest::kSwitchModel:
      return Run("SwitchModel", id, request.switch_model(),
                 &Commands::SwitchModel, &v1::Result::mutable_transition);
    case v1::AttachRequest::kClear:
      return Run("Clear", id, request.clear(), &Commands::Clear,
                 &v1::Result::mutable_transition);
    case v1::AttachRequest::kResume:
      return Run("Resume", id, request.resume(), &Commands::Resume,
                 &v1::Result::mutable_transition);
    case v1::AttachRequest::kInterrupt:
      return Run("Interrupt", id, request.interrupt(), &Commands::Interrupt,
                 &v1::Result::mutable_interrupt);
    case v1::AttachRequest::kResolvePermission:
      return Run("ResolvePermission", id, request.resolve_permission(),
                 &Commands::ResolvePermission,
                 &v1::Result::mutable_resolve_permission);
    case v1::AttachRequest::COMMAND_NOT_SET:
      return;  // Check has refused it.
  }
}

template <typename Request, typename Response>
void AttachReactor::Run(std::string_view method, const std::string& request_id,
                        Request request,
                        CallId (Commands::*run)(const Request&,
                                                Answer<Response>),
                        Response* (v1::Result::*place)()) {
  request.set_request_id(request_id);
  CallLog log(method);
  log.Read(request);
  {
    absl::MutexLock lock(&mu_);
    ++running_;
  }
  (commands_.*run)(request, [self = shared_from_this(), request_id, log,
                             place](absl::StatusOr<Response> answer) {
    log.Finish(answer.status());
    if (!answer.ok()) {
      return self->Answered(FailedMessage(request_id, answer.status()));
    }
    v1::AttachResponse response;
    v1::Result& result = *response.mutable_result();
    result.set_request_id(request_id);
    result.mutable_status();
    *(result.*place)() = *std::move(answer);
    self->Answered(SerializeMessage(response));
  });
}

void AttachReactor::Answered(grpc::ByteBuffer result) {
  {
    absl::MutexLock lock(&mu_);
    --running_;
    outbox_.push_back(std::move(result));
  }
  Write();
}

void AttachReactor::Send(grpc::ByteBuffer message) {
  {
    absl::MutexLock lock(&mu_);
    outbox_.push_back(std::move(message));
  }
  Write();
}

void AttachReactor::Subscribe(const std::string& request_id,
                              const v1::Subscribe& request) {
  EventLog::ReaderOptions options;
  if (request.has_after_sequence()) options.after = request.after_sequence();
  options.include_deltas = request.include_deltas();
  options.include_raw = request.include_raw();
  auto subscription = std::make_shared<Subscription>();
  subscription->id = request.subscription_id();
  subscription->feed =
      Feed::Make(ground_, options,
                 [weak = weak_from_this(),
                  of = std::weak_ptr<Subscription>(subscription)] {
                   const auto self = weak.lock();
                   const auto subscription = of.lock();
                   if (self != nullptr && subscription != nullptr) {
                     self->OnReady(subscription);
                   }
                 });
  absl::Status refused;
  {
    absl::MutexLock lock(&mu_);
    if (subscriptions_.size() >= kMaxSubscriptions) {
      refused = MakeError(Reason::kQuotaExceeded,
                          absl::StrCat("subscribe: a stream has at most ",
                                       kMaxSubscriptions, " subscriptions"),
                          {}, kQuotaRetry);
    } else if (!subscriptions_.emplace(subscription->id, subscription).second) {
      refused = FieldInvalid(
          "subscription_id",
          absl::StrCat(subscription->id, " is in use on this stream"));
    }
  }
  if (!refused.ok()) return Send(FailedMessage(request_id, refused));
  subscription->feed->Open(LowerUuid(request.session_id()));
}

void AttachReactor::Unsubscribe(uint64_t subscription_id) {
  std::shared_ptr<Subscription> subscription;
  bool opened = false;
  {
    absl::MutexLock lock(&mu_);
    if (const auto found = subscriptions_.find(subscription_id);
        found != subscriptions_.end()) {
      subscription = found->second;
      opened = subscription->opened;
    }
  }
  const uint64_t oldest = opened ? subscription->feed->oldest_retained() : 0;
  {
    absl::MutexLock lock(&mu_);
    if (subscription != nullptr) {
      subscription->closed = true;
      subscriptions_.erase(subscription_id);
    }
    outbox_.push_back(ClosedMessage(
        subscription_id, v1::CLOSED_REASON_UNSUBSCRIBED, oldest, ""));
  }
  Write();
}

// ---- Down: what is written next ----

void AttachReactor::OnReady(const std::shared_ptr<Subscription>& subscription) {
  {
    absl::MutexLock lock(&mu_);
    QueueLocked(subscription);
  }
  Write();
}

void AttachReactor::QueueLocked(
    const std::shared_ptr<Subscription>& subscription) {
  if (subscription->closed || subscription->queued) return;
  subscription->queued = true;
  pulls_.push_back(subscription);
}

bool AttachReactor::ClosingLocked() const {
  return draining_ || (input_ended_ && running_ == 0);
}

// Writes what is next, if there is something and nothing is being written.
void AttachReactor::Write() {
  const auto self = shared_from_this();  // past FinishLocked
  while (true) {
    std::shared_ptr<Subscription> subscription;
    std::optional<absl::Status> end;
    {
      absl::MutexLock lock(&mu_);
      if (writing_ || finished_) return;
      if (ClosingLocked() && !std::exchange(closing_, true)) {
        for (const auto& [id, open] : subscriptions_) QueueLocked(open);
      }
      if (end = EndLocked(); end.has_value()) {
        FinishLocked(*end);
      } else if (!outbox_.empty()) {
        outgoing_ = std::move(outbox_.front());
        outbox_.pop_front();
        ReadLocked();
      } else if (!pulls_.empty()) {
        subscription = std::move(pulls_.front());
        pulls_.pop_front();
        subscription->queued = false;
      } else {
        return;
      }
      writing_ = !finished_;
    }
    if (end.has_value()) return AfterFinish(*end);
    if (subscription == nullptr || Pull(subscription)) {
      return StartWrite(&outgoing_);
    }
    absl::MutexLock lock(&mu_);
    writing_ = false;
  }
}

// Fetches what a subscription has into `outgoing_`; false if that is nothing.
bool AttachReactor::Pull(const std::shared_ptr<Subscription>& subscription) {
  EventLog::Batch batch;
  Feed& feed = *subscription->feed;
  switch (const Feed::Result result = feed.Pull(batch)) {
    case Feed::Result::kOpened:
      outgoing_ = SubscribedMessage(subscription->id, feed.oldest_sequence(),
                                    feed.newest_sequence());
      break;
    case Feed::Result::kEvents:
      outgoing_ = BatchMessage(subscription->id, batch);
      break;
    case Feed::Result::kEmpty:
      return Close(subscription, result) || TakeProgress(subscription);
    case Feed::Result::kBusy:
      return false;
    case Feed::Result::kEnded:
      return Close(subscription, result);
  }
  absl::MutexLock lock(&mu_);
  if (subscription->closed) return false;
  subscription->opened = true;
  subscription->position = feed.position();
  subscription->quiet_ticks = 0;
  subscription->progress_due = false;
  QueueLocked(subscription);
  return true;
}

// Closes a subscription that has ended, or that is to end once nothing is left
// to be sent; false if it stays.
bool AttachReactor::Close(const std::shared_ptr<Subscription>& subscription,
                          Feed::Result result) {
  const bool ended = result == Feed::Result::kEnded;
  const absl::Status why = ended ? subscription->feed->end() : absl::OkStatus();
  const uint64_t oldest = subscription->feed->oldest_retained();
  absl::MutexLock lock(&mu_);
  if (subscription->closed) return false;
  if (!ended && (!ClosingLocked() || subscription->queued)) return false;
  v1::ClosedReason reason = v1::CLOSED_REASON_UNSUBSCRIBED;
  if (ended) {
    reason = ToClosedReason(why, subscription->opened);
  } else if (draining_) {
    reason = v1::CLOSED_REASON_DRAINING;
  }
  outgoing_ = ClosedMessage(subscription->id, reason, oldest,
                            std::string(why.message()));
  subscription->closed = true;
  subscriptions_.erase(subscription->id);
  return true;
}

bool AttachReactor::TakeProgress(
    const std::shared_ptr<Subscription>& subscription) {
  absl::MutexLock lock(&mu_);
  if (subscription->closed || !subscription->progress_due) return false;
  subscription->progress_due = false;
  subscription->quiet_ticks = 0;
  outgoing_ = ProgressMessage(subscription->id, subscription->position);
  return true;
}

void AttachReactor::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) cancelled_ = true;
  }
  Write();
}

// ---- The end ----

void AttachReactor::OnCancel() {
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
  }
  Write();
}

void AttachReactor::Drain() {
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
  }
  Write();
}

std::optional<absl::Status> AttachReactor::EndLocked() const {
  if (cancelled_) return Gone();
  const bool done = ClosingLocked() && running_ == 0 &&
                    subscriptions_.empty() && outbox_.empty() && pulls_.empty();
  if (!done) return std::nullopt;
  return draining_ ? DrainingError() : absl::OkStatus();
}

void AttachReactor::FinishLocked(const absl::Status& status) {
  finished_ = true;
  Finish(ToGrpcStatus(status));
}

// By who has called FinishLocked.
void AttachReactor::AfterFinish(const absl::Status& status) {
  decltype(subscriptions_) subscriptions;
  decltype(pulls_) pulls;
  decltype(outbox_) outbox;
  {
    absl::MutexLock lock(&mu_);
    subscriptions.swap(subscriptions_);
    pulls.swap(pulls_);
    outbox.swap(outbox_);
  }
  log_.Finish(status);
}

void AttachReactor::OnDone() {
  streams_.Remove(this);
  // The timer is the loop's, and the last that goes.
  ground_.loop.Post([self = std::move(self_)] { self->tick_.reset(); });
}

// ---- Signs of life ----

void AttachReactor::StartTicking() {
  // Of many streams that began together, no two stay together.
  const double jitter = absl::Uniform(random_, 0.9, 1.0);
  tick_ = ground_.loop.RunAfter(
      progress_interval_ / kTicksOfSilence * jitter, [weak = weak_from_this()] {
        if (const auto self = weak.lock(); self != nullptr) self->Tick();
      });
}

void AttachReactor::Tick() {
  {
    absl::MutexLock lock(&mu_);
    if (finished_) return;
    for (const auto& [id, subscription] : subscriptions_) {
      if (!subscription->opened) continue;
      if (++subscription->quiet_ticks < kTicksOfSilence) continue;
      subscription->progress_due = true;
      QueueLocked(subscription);
    }
  }
  Write();
  StartTicking();
}

}  // namespace understudy::service
