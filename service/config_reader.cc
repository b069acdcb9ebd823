#include "service/config_reader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"

namespace understudy::service {
namespace {

using google::protobuf::FieldDescriptor;

// "5 min" rather than "300000000000 ns".
std::string Shown(absl::Duration time) { return absl::FormatDuration(time); }

}  // namespace

ConfigReader ConfigReader::Nested(const char* field, int index,
                                  const google::protobuf::Message& message,
                                  std::string what) const {
  Locations* nested = nullptr;
  int line = line_;
  if (locations_ != nullptr) {
    const FieldDescriptor* descriptor =
        message_.GetDescriptor()->FindFieldByName(field);
    nested = locations_->GetTreeForNested(descriptor, index);
    line = locations_->GetLocation(descriptor, index).line + 1;
  }
  ConfigReader reader(file_, message, nested, problems_);
  reader.what_ = std::move(what);
  reader.line_ = line;
  return reader;
}

std::string ConfigReader::Place(const char* field, int index) const {
  if (file_.empty()) return "";
  int line = line_;
  if (locations_ != nullptr && *field != '\0') {
    const int found =
        locations_
            ->GetLocation(message_.GetDescriptor()->FindFieldByName(field),
                          index)
            .line;
    if (found >= 0) line = found + 1;
  }
  return line > 0 ? absl::StrCat(file_, ":", line, ": ")
                  : absl::StrCat(file_, ": ");
}

void ConfigReader::Report(const char* field, int index,
                          std::string_view problem) const {
  problems_.push_back(
      absl::StrCat(Place(field, index), what_, what_.empty() ? "" : ": ", field,
                   *field == '\0' ? "" : ": ", std::string(problem)));
}

int64_t ConfigReader::Number(const char* field, int64_t least, int64_t most,
                             int64_t otherwise) const {
  const FieldDescriptor* descriptor =
      message_.GetDescriptor()->FindFieldByName(field);
  const google::protobuf::Reflection& reflection = *message_.GetReflection();
  const int64_t value = descriptor->cpp_type() == FieldDescriptor::CPPTYPE_INT32
                            ? reflection.GetInt32(message_, descriptor)
                            : reflection.GetInt64(message_, descriptor);
  if (value == 0) return otherwise;
  if (value < least || value > most) {
    Report(field,
           absl::StrCat("must be from ", least, " to ", most, ", not ", value));
    return otherwise;
  }
  return value;
}

absl::Duration ConfigReader::Time(const char* field, absl::Duration least,
                                  absl::Duration most,
                                  absl::Duration otherwise) const {
  const FieldDescriptor* descriptor =
      message_.GetDescriptor()->FindFieldByName(field);
  const google::protobuf::Reflection& reflection = *message_.GetReflection();
  if (!reflection.HasField(message_, descriptor)) return otherwise;
  google::protobuf::Duration duration;
  duration.CopyFrom(reflection.GetMessage(message_, descriptor));
  if (duration.seconds() == 0 && duration.nanos() == 0) return otherwise;
  const absl::Duration value =
      absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  if (value < least || value > most) {
    Report(field, most == absl::InfiniteDuration()
                      ? absl::StrCat("must be at least ", Shown(least),
                                     ", not ", Shown(value))
                      : absl::StrCat("must be from ", Shown(least), " to ",
                                     Shown(most), ", not ", Shown(value)));
    return otherwise;
  }
  return value;
}

}  // namespace understudy::service
