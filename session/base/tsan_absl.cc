// Tells the thread sanitizer about absl's locks. Debian's absl is a shared
// library built without the sanitizer, which then sees no order between two
// critical sections and reports what they share as a race. With
// -fsanitize=thread the linker sends the calls of our code to absl's locks
// through here (--wrap, see CMakeLists.txt), and here they are annotated.
//
// absl may evaluate another thread's Condition while it unlocks, when the lock
// is released already as far as the sanitizer can know: reads are ignored
// there.
//
// Empty in every other build.

#if defined(__SANITIZE_THREAD__)
#define UNDERSTUDY_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDERSTUDY_TSAN 1
#endif
#endif

#ifdef UNDERSTUDY_TSAN

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

// Around a call that leaves a critical section, enters one, or both.
class Call {
 public:
  Call(const void* leaves, const void* enters)
      : enters_(const_cast<void*>(enters)) {
    if (leaves != nullptr) __tsan_release(const_cast<void*>(leaves));
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  }
  ~Call() {
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
    if (enters_ != nullptr) __tsan_acquire(enters_);
  }

 private:
  void* const enters_;
};

}  // namespace

// The linker's names: __wrap_X is called for X, and __real_X is X.
#define UNDERSTUDY_WRAP(result, name, parameters, arguments, leaves, enters) \
  extern "C" result __real_##name parameters;                                \
  extern "C" result __wrap_##name parameters;                                \
  extern "C" result __wrap_##name parameters {                               \
    const Call call(leaves, enters);                                         \
    return __real_##name arguments;                                          \
  }

// clang-format off
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex4LockEv,
                (Mutex* m), (m), nullptr, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv,
                (Mutex* m), (m), m, nullptr)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian35Mutex7TryLockEv,
                (Mutex* m), (m), nullptr, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex10ReaderLockEv,
                (Mutex* m), (m), nullptr, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex12ReaderUnlockEv,
                (Mutex* m), (m), m, nullptr)
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE,
                (Mutex* m, const Condition& c), (m, c), m, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                (Mutex* m, const Condition& c, Duration d), (m, c, d), m, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE,
                (Mutex* m, const Condition& c, Time t), (m, c, t), m, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE,
                (Mutex* m, const Condition& c), (m, c), nullptr, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE,
                (Mutex* m, const Condition& c, Duration d), (m, c, d), nullptr, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE,
                (Mutex* m, const Condition& c, Time t), (m, c, t), nullptr, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE,
                (CondVar* v, Mutex* m), (v, m), m, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE,
                (CondVar* v, Mutex* m, Duration d), (v, m, d), m, m)
UNDERSTUDY_WRAP(bool, _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE,
                (CondVar* v, Mutex* m, Time t), (v, m, t), m, m)
UNDERSTUDY_WRAP(void, _ZN4absl7debian312Notification6NotifyEv,
                (Notification* n), (n), n, nullptr)
UNDERSTUDY_WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv,
                (const Notification* n), (n), nullptr, n)
UNDERSTUDY_WRAP(bool, _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE,
                (const Notification* n, Duration d), (n, d), nullptr, n)
UNDERSTUDY_WRAP(bool, _ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE,
                (const Notification* n, Time t), (n, t), nullptr, n)
// clang-format on

#endif  // UNDERSTUDY_TSAN
