// ConfigReader: takes values out of one message of a configuration, checks
// their bounds, and reports what is wrong with the place where it stands.
//
// Threads: one at a time.

#ifndef UNDERSTUDY_SERVICE_CONFIG_READER_H_
#define UNDERSTUDY_SERVICE_CONFIG_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "google/protobuf/text_format.h"

namespace understudy::service {

class ConfigReader {
 public:
  using Locations = google::protobuf::TextFormat::ParseInfoTree;

  // `locations` may be null: there is no file. `file` names it.
  ConfigReader(std::string file, const google::protobuf::Message& message,
               Locations* locations, std::vector<std::string>& problems)
      : file_(std::move(file)),
        message_(message),
        locations_(locations),
        problems_(problems) {}

  // The same for a message within this one; `index` is -1 for a single field.
  // `what` goes before what it reports: `profile "x"`.
  ConfigReader Nested(const char* field, int index,
                      const google::protobuf::Message& message,
                      std::string what) const;

  // Reports a value of this message, or with field "" the message itself.
  void Report(const char* field, int index, std::string_view problem) const;
  void Report(const char* field, std::string_view problem) const {
    Report(field, -1, problem);
  }

  // The field if it is not 0, which means unset; reports it if it is out of
  // bounds.
  int64_t Number(const char* field, int64_t least, int64_t most,
                 int64_t otherwise) const;
  absl::Duration Time(const char* field, absl::Duration least,
                      absl::Duration most, absl::Duration otherwise) const;

 private:
  // "FILE:12: ", or "" without a file.
  std::string Place(const char* field, int index) const;

  const std::string file_;
  const google::protobuf::Message& message_;
  Locations* const locations_;
  std::vector<std::string>& problems_;
  std::string what_;
  // Where this message begins, for what has no place of its own.
  int line_ = 0;
};

}  // namespace understudy::service

#endif  // UNDERSTUDY_SERVICE_CONFIG_READER_H_
