#include "session/base/blocking.h"

#include <deque>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace understudy::session {
namespace {

class ThreadedBlocking final : public Blocking {
 public:
  explicit ThreadedBlocking(int threads) {
    threads_.reserve(threads);
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Work(); });
    }
  }

  ~ThreadedBlocking() override {
    std::deque<Task> dropped;
    {
      absl::MutexLock lock(&mutex_);
      ending_ = true;
      dropped.swap(tasks_);
    }
    dropped.clear();
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(Task work) override {
    absl::MutexLock lock(&mutex_);
    // Work in progress may ask for more while we end: it is not run, and is
    // destroyed with the queue.
    tasks_.push_back(std::move(work));
  }

 private:
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return ending_ || !tasks_.empty();
  }

  void Work() {
    for (;;) {
      Task task;
      {
        absl::MutexLock lock(&mutex_,
                             absl::Condition(this, &ThreadedBlocking::Ready));
        if (ending_) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      std::move(task)();
    }
  }

  absl::Mutex mutex_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace

std::unique_ptr<Blocking> NewBlocking(int threads) {
  return std::make_unique<ThreadedBlocking>(threads);
}

}  // namespace understudy::session
