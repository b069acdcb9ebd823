#include "service/watch_reactor.h"

#include <cstdint>
#include <utility>

#include "proto/error.h"
#include "proto/rpc_status.h"
#include "service/convert.h"

namespace understudy::service {

using session::EventLog;

grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchReactor::Start(
    const StreamGround& ground, StreamSet& streams, const Rules& rules,
    const grpc::ByteBuffer& request) {
  std::shared_ptr<WatchReactor> reactor(new WatchReactor(streams));
  reactor->self_ = reactor;
  v1::WatchEventsRequest message;
  absl::Status status = ParseMessage(request, &message);
  if (status.ok()) {
    reactor->log_.Read(message);
    status = Check(message, rules);
  }
  if (status.ok()) {
    reactor->MakeFeed(ground, message);
    if (!streams.Add(reactor)) status = DrainingError();
  }
  if (status.ok()) {
    reactor->feed_->Open(LowerUuid(message.session_id()));
  } else {
    reactor->End(std::move(status));
    reactor->Write();
  }
  return reactor.get();
}

WatchReactor::WatchReactor(StreamSet& streams)
    : streams_(streams), log_("WatchEvents") {}

void WatchReactor::MakeFeed(const StreamGround& ground,
                            const v1::WatchEventsRequest& request) {
  EventLog::ReaderOptions options;
  if (request.has_after_sequence()) options.after = request.after_sequence();
  options.include_deltas = request.include_deltas();
  options.include_raw = request.include_raw();
  feed_ = Feed::Make(ground, options, [weak = weak_from_this()] {
    if (const auto self = weak.lock(); self != nullptr) self->OnReady();
  });
}

void WatchReactor::OnReady() {
  {
    absl::MutexLock lock(&mu_);
    ready_ = true;
  }
  Write();
}

// Writes the next event, if there is one and nothing is being written.
void WatchReactor::Write() {
  const auto self = shared_from_this();  // past Finish
  while (true) {
    absl::Status end;
    {
      absl::MutexLock lock(&mu_);
      if (writing_ || finished_) return;
      end = end_;
      if (!end.ok()) {
        finished_ = true;
        Finish(ToGrpcStatus(end));
      } else if (!ready_) {
        return;
      } else {
        ready_ = false;
        writing_ = true;
      }
    }
    if (!end.ok()) return log_.Finish(end);
    if (NextMessage()) return StartWrite(&message_);
    const uint64_t position = feed_->position();
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (draining_ && !ready_ && end_.ok()) end_ = DrainingError(position);
  }
}

// Fetches into `message_`; false if there is nothing now.
bool WatchReactor::NextMessage() {
  while (events_.empty()) {
    EventLog::Batch batch;
    switch (feed_->Pull(batch)) {
      case Feed::Result::kOpened:
        // Tells the client that it misses nothing from here on.
        StartSendInitialMetadata();
        break;
      case Feed::Result::kEvents:
        events_ = EventMessages(std::move(batch));
        break;
      case Feed::Result::kEmpty:
      case Feed::Result::kBusy:
        return false;
      case Feed::Result::kEnded:
        End(ReasonOf(feed_->end()) == Reason::kDraining
                ? DrainingError(feed_->position())
                : feed_->end());
        return false;
    }
  }
  message_ = events_.Next();
  return true;
}

void WatchReactor::End(absl::Status status) {
  absl::MutexLock lock(&mu_);
  if (end_.ok()) end_ = std::move(status);
}

void WatchReactor::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    ready_ = true;
    if (!ok && end_.ok()) end_ = absl::CancelledError("the client has gone");
  }
  Write();
}

void WatchReactor::OnCancel() {
  End(absl::CancelledError("the client has gone"));
  Write();
}

void WatchReactor::Drain() {
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
    ready_ = true;
  }
  Write();
}

void WatchReactor::OnDone() {
  streams_.Remove(this);
  self_.reset();
}

}  // namespace understudy::service
