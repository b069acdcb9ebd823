// Driver: the clients of one session. Two of them call whatever can be called,
// at random and at the same time; one reads the events, is cut off now and
// then, and comes back. All that they were told is kept.
//
// Threads: three of its own, and those that make one call several times at
// once. Its methods are called by one other.

#ifndef UNDERSTUDY_TESTS_STRESS_DRIVER_H_
#define UNDERSTUDY_TESTS_STRESS_DRIVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"
#include "grpcpp/channel.h"
#include "tests/stress/history.h"

namespace understudy::stress {

// No call takes longer, a server that is gone meanwhile included.
inline constexpr absl::Duration kCallBound = absl::Seconds(60);

class Driver {
 public:
  struct Options {
    std::string folder;  // the session's own, where its agents work
    std::string profile;
    uint64_t seed = 0;
  };

  // Creates the session.
  Driver(std::shared_ptr<grpc::Channel> channel, Options options);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Begins to call and to read.
  void Start();
  // Ends to call, with every call answered.
  void StopCalls();
  // Reads the events that are left, and ends to read.
  void StopReading();

  // Faults that take seconds until a bound finds them.
  void set_slow_faults(bool slow_faults) { slow_faults_ = slow_faults; }

  // From now on something is to be recovered from: `pid` was killed, if it
  // serves this session; 0: the server.
  void NoteKill(pid_t pid);
  // A turn has succeeded since.
  bool recovered() const;

  // Waits until nothing runs and nothing waits.
  absl::Status AwaitRest() const;
  // With what the agents wrote down; the store is read. Call it at the end.
  SessionHistory History() const;

  const std::string& session_id() const { return session_id_; }
  // What was wrong with answers, beside what History shows.
  std::vector<std::string> broken() const;
  // The longest time from a kill, of an agent or of the server, to the next
  // turn that succeeded.
  absl::Duration slowest(bool of_server) const;

 private:
  using Random = std::mt19937_64;
  // Makes a call, the same one each time.
  using Again = std::function<Call()>;

  void CallUntilStopped(uint64_t seed);
  void Read(uint64_t seed);
  void See(const v1::Event& event);

  Again RandomCall(Random& random);
  Again Send(Random& random);
  Again SwitchModel(Random& random);
  Again Clear(Random& random);
  Again Resume(Random& random);
  Again Interrupt(Random& random);
  // `request_id` of the request is set already.
  template <typename Request, typename Response>
  Again Make(Call::Kind kind, Request request,
             absl::StatusOr<Response> (client::Client::*method)(
                 Request, const client::CallOptions&) const,
             Response Call::*answer) const;
  // Calls once or several times at once, and compares the answers.
  void Try(Random& random, const Again& call, bool repeated);
  void ArmNextAgent(Random& random) const;
  std::string Message(Random& random);
  std::string Model(Random& random) const;
  std::string Conversation(Random& random) const;

  const std::shared_ptr<grpc::Channel> channel_;
  const client::Client client_;
  const Options options_;
  std::string session_id_;
  std::atomic<bool> slow_faults_ = true;
  std::atomic<bool> calling_ = false;
  std::atomic<bool> reading_ = false;
  std::atomic<uint64_t> messages_ = 0;
  std::vector<std::thread> callers_;
  std::thread reader_;

  mutable absl::Mutex mutex_;
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<Again> answered_ ABSL_GUARDED_BY(mutex_);  // a few, to repeat
  std::vector<std::string> broken_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::Event> seen_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> conversations_ ABSL_GUARDED_BY(mutex_);
  std::string last_turn_ ABSL_GUARDED_BY(mutex_);
  pid_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time killed_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool server_killed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration slowest_[2] ABSL_GUARDED_BY(mutex_);
};

}  // namespace understudy::stress

#endif  // UNDERSTUDY_TESTS_STRESS_DRIVER_H_
