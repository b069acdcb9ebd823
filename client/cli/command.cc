#include "client/cli/command.h"

#include <iostream>
#include <string>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/clock.h"
#include "client/cli/output.h"
#include "proto/error.h"

namespace understudy::client {

CallOptions Context::Call() const {
  return {.timeout = deadline - absl::Now()};
}

int Fail(const Context& context, const absl::Status& status) {
  PrintError(context.command, ErrorText(status));
  // What an agent that died wrote last.
  const ErrorMetadata metadata = MetadataOf(status);
  if (const auto tail = metadata.find("stderr_tail"); tail != metadata.end()) {
    for (const auto line :
         absl::StrSplit(absl::StripSuffix(tail->second, "\n"), '\n')) {
      std::cerr << "  " << Printable(std::string(line)) << "\n";
    }
  }
  return kRpcFailed;
}

}  // namespace understudy::client
