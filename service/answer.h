// Answer: who waits for the result of a call. It is given once. One that goes
// without having been given answers INTERNAL by itself: a fault in the engine
// must not leave a client waiting for ever.
//
// Threads: any, one at a time.

#ifndef UNDERSTUDY_SERVICE_ANSWER_H_
#define UNDERSTUDY_SERVICE_ANSWER_H_

#include <concepts>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "proto/error.h"

namespace understudy::service {

template <typename Response>
class Answer {
 public:
  using Result = absl::StatusOr<Response>;

  template <typename Give>
  requires(!std::same_as<std::remove_cvref_t<Give>, Answer>) Answer(Give&& give)
      : give_(std::forward<Give>(give)) {}
  Answer(Answer&& other) noexcept
      : give_(std::exchange(other.give_, nullptr)) {}
  Answer& operator=(Answer&&) = delete;
  ~Answer() {
    if (give_) {
      std::exchange(
          give_, nullptr)(MakeError(Reason::kInternal, "the call was dropped"));
    }
  }

  void operator()(Result result) && {
    std::exchange(give_, nullptr)(std::move(result));
  }

 private:
  absl::AnyInvocable<void(Result) &&> give_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_ANSWER_H_
