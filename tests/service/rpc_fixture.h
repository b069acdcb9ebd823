// RpcFixture: the engine on a fake loop and clock with fake agents, and before
// it the real gRPC server, reached from within the process.
//
// The test's thread is the loop. Calls that wait for the engine run on a
// thread of their own while the loop runs here.

#ifndef UNDERSTUDY_TESTS_SERVICE_RPC_FIXTURE_H_
#define UNDERSTUDY_TESTS_SERVICE_RPC_FIXTURE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/sync_stream.h"
#include "gtest/gtest.h"
#include "service/rpc_server.h"
#include "session/base/blocking.h"
#include "session/session_manager.h"
#include "tests/support/engine.h"
#include "understudy/v1/agent_control.grpc.pb.h"
#include "understudy/v1/pool.grpc.pb.h"

namespace understudy::service {

class RpcFixture : public ::testing::Test {
 protected:
  static constexpr absl::Duration kProgressInterval = absl::Seconds(15);

  static session::SessionManager::Options ManySlots() {
    session::SessionManager::Options options;
    options.max_slots = 1000;
    return options;
  }

  explicit RpcFixture(session::SessionManager::Options options = ManySlots());
  ~RpcFixture() override;

  // A call on a thread of its own.
  class Pending {
   public:
    explicit Pending(std::function<grpc::Status(grpc::ClientContext&)> call);
    ~Pending();

    bool ended() const { return ended_; }
    // Waits for its end.
    absl::Status status();
    void Cancel() { context_.TryCancel(); }

   private:
    grpc::ClientContext context_;
    grpc::Status status_;
    std::atomic<bool> ended_ = false;
    std::thread thread_;
  };

  // A server that was killed, and its successor on the same store. Calls and
  // streams are cut.
  void Restart();

  // Runs `call` on another thread, and the loop here until it has ended.
  absl::Status Call(std::function<grpc::Status(grpc::ClientContext&)> call);
  // The same with bytes for a request; `method` is "/package.Service/Method".
  absl::Status CallRaw(const std::string& method, const std::string& bytes,
                       grpc::ByteBuffer* response = nullptr);

  // Runs the loop until `done` holds; fails the test if that takes ten seconds.
  void Await(const std::function<bool()>& done, std::string_view what);

  // The same for a call that is under way.
  absl::Status End(Pending& call);

  // Turns do not end by themselves.
  void HoldTurns();

  // Stops the engine as a server does.
  void Drain();

  std::string CreateSession();
  v1::SendMessageResponse SendMessage(const std::string& session_id,
                                      const std::string& text);

  void StartServer();

  session::Engine engine_;
  const std::unique_ptr<session::Blocking> reading_ = session::NewBlocking(1);
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::AgentControl::Stub> stub_;
  std::unique_ptr<v1::PoolAdmin::Stub> pool_;
};

// What a stream has brought so far, and how it ended. Threads: any.
template <typename Message>
class Received {
 public:
  void Add(Message message) {
    absl::MutexLock lock(&mu_);
    messages_.push_back(std::move(message));
  }
  void End(absl::Status status) {
    absl::MutexLock lock(&mu_);
    status_ = std::move(status);
    ended_ = true;
  }
  std::vector<Message> messages() const {
    absl::MutexLock lock(&mu_);
    return messages_;
  }
  bool ended() const {
    absl::MutexLock lock(&mu_);
    return ended_;
  }
  absl::Status status() const {
    absl::MutexLock lock(&mu_);
    return status_;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
};

// A client of WatchEvents that reads what comes.
class WatchClient {
 public:
  WatchClient(v1::AgentControl::Stub& stub,
              const v1::WatchEventsRequest& request);
  ~WatchClient();

  std::vector<v1::Event> events() const { return received_.messages(); }
  bool ended() const { return received_.ended(); }
  absl::Status status() const { return received_.status(); }
  // The server has answered that it watches.
  bool watching() const { return watching_; }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  Received<v1::Event> received_;
  std::atomic<bool> watching_ = false;
  std::thread reader_;
};

// A client of Attach. It may stop reading, and write what is no AttachRequest.
class AttachClient {
 public:
  explicit AttachClient(grpc::Channel& channel);
  ~AttachClient();

  void Write(const v1::AttachRequest& request);
  void WriteBytes(const std::string& bytes);
  // `text` is an AttachRequest in text format.
  void Write(const std::string& text);
  // No more will be written.
  void CloseInput();
  void Cancel() { context_.TryCancel(); }

  // A client that does not read for a while.
  void Pause();
  void Continue();

  std::vector<v1::AttachResponse> responses() const {
    return received_.messages();
  }
  // The largest message so far, as it came.
  size_t largest() const { return largest_; }
  bool ended() const { return received_.ended(); }
  absl::Status status() const { return received_.status(); }

  // Of what has come so far.
  std::vector<v1::Event> Events(uint64_t subscription_id) const;
  std::vector<v1::Closed> Closed(uint64_t subscription_id) const;
  std::vector<v1::Subscribed> Subscribed(uint64_t subscription_id) const;
  std::vector<v1::Progress> Progress(uint64_t subscription_id) const;
  std::vector<v1::Result> Results(const std::string& request_id) const;

 private:
  bool reads() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !paused_; }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>
      stream_;
  Received<v1::AttachResponse> received_;
  std::atomic<size_t> largest_ = 0;
  absl::Mutex mu_;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  std::thread reader_;
};

// The sequences of events that have one.
std::vector<uint64_t> Sequences(const std::vector<v1::Event>& events);

}  // namespace understudy::service

#endif  // UNDERSTUDY_TESTS_SERVICE_RPC_FIXTURE_H_
