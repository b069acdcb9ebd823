// SignalWaiter: calls a function when SIGINT or SIGTERM arrives.
//
// Both must be blocked, in every thread, for as long as it lives.
//
// Threads: `on_signal` is called on a thread of its own, at most once.

#ifndef UNDERSTUDY_CLIENT_CLI_SIGNAL_WAITER_H_
#define UNDERSTUDY_CLIENT_CLI_SIGNAL_WAITER_H_

#include <atomic>
#include <functional>
#include <thread>

namespace understudy::client {

class SignalWaiter {
 public:
  explicit SignalWaiter(std::function<void()> on_signal);
  ~SignalWaiter();

  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

 private:
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

// Blocks both, in this thread and those that it starts from now on.
void BlockEndingSignals();

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_SIGNAL_WAITER_H_
