// How understudyctl writes: proto JSON for programs, aligned text for people,
// errors on standard error.
//
// JSON is the standard mapping of proto3: lowerCamelCase names, enum values by
// name, 64-bit integers as strings, fields at their default left out; one
// object a line.
//
// Text from an agent or a server never reaches a terminal with its control
// characters.
//
// Threads: one.

#ifndef UNDERSTUDY_CLIENT_CLI_OUTPUT_H_
#define UNDERSTUDY_CLIENT_CLI_OUTPUT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/generated_enum_reflection.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"

namespace understudy::client {

void PrintJson(const google::protobuf::Message& message);

// Prints `rows` with their columns aligned; with a heading, if there is one,
// and nothing if there are no rows.
void PrintTable(const std::vector<std::string>& heading,
                const std::vector<std::vector<std::string>>& rows);

// Prints "understudyctl: COMMAND: TEXT" on standard error.
void PrintError(std::string_view command, std::string_view text);

// "NOT_FOUND SESSION_NOT_FOUND: what, on what, why".
std::string ErrorText(const absl::Status& status);

// `text` without control characters, but for line feeds and tabs.
std::string Printable(std::string_view text);
// The beginning of it, on one line.
std::string OneLine(std::string_view text, size_t limit = 160);

// In local time; empty if unset.
std::string TimeText(const google::protobuf::Timestamp& time);
std::string DurationText(const google::protobuf::Duration& duration);

// The name without its prefix, ROUTE_NATIVE as NATIVE; empty for UNSPECIFIED.
std::string EnumText(const google::protobuf::EnumDescriptor* type, int value);
template <typename Enum>
std::string EnumText(Enum value) {
  return EnumText(google::protobuf::GetEnumDescriptor<Enum>(), value);
}

}  // namespace understudy::client

#endif  // UNDERSTUDY_CLIENT_CLI_OUTPUT_H_
