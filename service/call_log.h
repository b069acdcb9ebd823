// CallLog: the one line in the log for a call that has ended. It has the
// method, the ids, the code, the reason, the names of the fields that were
// refused, and the time it took. Never what was said: the text of an error may
// repeat a value of the request or an agent's words, so it is left out, but for
// the store's errors.
//
// Threads: any, one at a time.

#ifndef UNDERSTUDY_SERVICE_CALL_LOG_H_
#define UNDERSTUDY_SERVICE_CALL_LOG_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace understudy::service {

class CallLog {
 public:
  // `method` is a literal.
  explicit CallLog(std::string_view method);

  // Takes session_id and request_id from a request that has them.
  void Read(const google::protobuf::Message& request);

  void Finish(const absl::Status& status) const;

 private:
  const std::string_view method_;
  const absl::Time start_;
  std::string session_id_;
  std::string request_id_;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_CALL_LOG_H_
