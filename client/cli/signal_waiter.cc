#include "client/cli/signal_waiter.h"

#include <pthread.h>

#include <csignal>
#include <utility>

namespace understudy::client {
namespace {

sigset_t EndingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

SignalWaiter::SignalWaiter(std::function<void()> on_signal)
    : thread_([this, on_signal = std::move(on_signal)] {
        const sigset_t signals = EndingSignals();
        int signal;
        sigwait(&signals, &signal);
        if (!ending_) on_signal();
      }) {}

SignalWaiter::~SignalWaiter() {
  ending_ = true;
  // Wakes the thread; without effect if it has ended.
  pthread_kill(thread_.native_handle(), SIGTERM);
  thread_.join();
}

void BlockEndingSignals() {
  const sigset_t signals = EndingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace understudy::client
