// JSON: lines are read in place, small texts are written. The only place that
// knows which library reads.
//
// A JsonDocument reads one object or array completely and keeps where its
// values are, not what they are: strings are unescaped and numbers converted
// when they are asked for, so that a number of any size stays as it was
// written. What an agent may get wrong inside a well-formed line does no harm:
// half a surrogate pair reads as U+FFFD, and so does what is not UTF-8.
//
// Threads: any; one document is used by one thread at a time.

#ifndef UNDERSTUDY_SESSION_BASE_JSON_H_
#define UNDERSTUDY_SESSION_BASE_JSON_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace understudy::session {

// Bytes after the end of a text given to JsonDocument::Parse that may be read.
inline constexpr size_t kJsonPadding = 64;

class JsonDocument;

// A value of a document, or nothing: what is looked up and is not there. Every
// question may be put to every value. Valid as long as its document's text.
class JsonValue {
 public:
  class Iterator;

  JsonValue() = default;

  bool exists() const { return document_ != nullptr; }
  bool IsObject() const { return first() == '{'; }
  bool IsArray() const { return first() == '['; }
  bool IsString() const { return first() == '"'; }
  bool IsNull() const { return first() == 'n'; }

  // The member of an object by its name; of several, the first.
  JsonValue operator[](std::string_view name) const;

  // The elements of an array, or the members of an object.
  Iterator begin() const;
  Iterator end() const;
  bool empty() const;

  // The name of a member.
  std::string name() const;

  // A string's text; empty for everything else. Always valid UTF-8.
  std::string String() const;
  // The same without a copy where it has no escapes; else kept in `scratch`.
  std::string_view Text(std::string& scratch) const;
  // A string that says `text`.
  bool Is(std::string_view text) const;

  bool Bool() const { return first() == 't'; }
  // Nothing unless it is a number that fits.
  std::optional<int64_t> Int() const;
  std::optional<double> Double() const;

  // The value as it stands in the text.
  std::string_view raw() const;

 private:
  friend class JsonDocument;
  JsonValue(const JsonDocument* document, uint32_t index)
      : document_(document), index_(index) {}

  char first() const;  // of the text; 0 if there is no value
  std::string_view raw_name() const;

  const JsonDocument* document_ = nullptr;
  uint32_t index_ = 0;
};

class JsonDocument {
 public:
  JsonDocument() = default;
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  // Reads `text`, followed by kJsonPadding readable bytes. The values point
  // into it and are gone with the next Parse. kInvalidArgument if it is not
  // one object or array, or nested or divided beyond reason.
  absl::Status Parse(std::string_view text);
  // The same for a text without padding, of which a copy is kept.
  absl::Status ParseCopy(std::string_view text);

  // Nothing unless the last Parse was right.
  JsonValue root() const;

 private:
  friend class JsonValue;

  // One value. Descendants follow their container, up to index `end`.
  struct Node {
    uint32_t begin;
    uint32_t size;
    uint32_t name_begin;
    uint32_t name_size;
    uint32_t end;
  };
  class Builder;

  absl::Status Build(std::string_view text);

  std::vector<Node> nodes_;
  const char* text_ = nullptr;
  std::string copy_;
};

class JsonValue::Iterator {
 public:
  JsonValue operator*() const { return JsonValue(document_, index_); }
  Iterator& operator++() {
    index_ = document_->nodes_[index_].end;
    return *this;
  }
  bool operator!=(const Iterator& other) const {
    return index_ != other.index_;
  }

 private:
  friend class JsonValue;
  Iterator(const JsonDocument* document, uint32_t index)
      : document_(document), index_(index) {}

  const JsonDocument* document_;
  uint32_t index_;
};

// Appends what the inside of a JSON string, `escaped`, stands for.
void AppendUnescaped(std::string_view escaped, std::string& out);

// Appends `text` as a JSON string with its quotes, on one line; what is not
// UTF-8 becomes U+FFFD.
void AppendJsonString(std::string_view text, std::string& out);
std::string JsonString(std::string_view text);

// `text`, which must be JSON by the letter, without white space between its
// tokens, and so on one line. kInvalidArgument if it is anything else than an
// object or array.
absl::StatusOr<std::string> CompactJson(std::string_view text);

}  // namespace understudy::session

#endif  // UNDERSTUDY_SESSION_BASE_JSON_H_
