// Of every target, before its first input.

#include "google/protobuf/stubs/logging.h"

// What protobuf does not like it would write down, a million times.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}
