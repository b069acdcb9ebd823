#include "session/base/json.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "session/base/utf8.h"
#include "simdjson.h"

namespace understudy::session {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

// Deeper or larger than anything that is meant, and well within the stack and
// the memory of a small machine.
constexpr int kMaxDepth = 512;
constexpr size_t kMaxNodes = 1 << 20;
// What a parser and a document may keep for the next text.
constexpr size_t kMaxKeptBytes = 256 << 10;
constexpr size_t kMaxKeptNodes = 4 << 10;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr char kHex[] = "0123456789abcdef";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view WithoutSpaceAtEnd(std::string_view token) {
  while (!token.empty() && IsSpace(token.back())) token.remove_suffix(1);
  return token;
}

size_t Digits(std::string_view text, size_t from) {
  size_t i = from;
  while (i < text.size() && IsDigit(text[i])) ++i;
  return i - from;
}

bool IsNumber(std::string_view text) {
  size_t i = text.front() == '-' ? 1 : 0;
  const size_t integer = Digits(text, i);
  if (integer == 0 || (integer > 1 && text[i] == '0')) return false;
  i += integer;
  if (i < text.size() && text[i] == '.') {
    const size_t fraction = Digits(text, i + 1);
    if (fraction == 0) return false;
    i += 1 + fraction;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    const size_t exponent = Digits(text, i);
    if (exponent == 0) return false;
    i += exponent;
  }
  return i == text.size();
}

bool IsScalar(std::string_view token) {
  if (token.empty()) return false;
  switch (token.front()) {
    case '"':
      return token.size() >= 2 && token.back() == '"';
    case 't':
      return token == "true";
    case 'f':
      return token == "false";
    case 'n':
      return token == "null";
    default:
      return IsNumber(token);
  }
}

// The four hexadecimal digits at `text[at]`; nothing if they are not there.
std::optional<uint32_t> HexDigits(std::string_view text, size_t at) {
  uint32_t value = 0;
  if (at + 4 > text.size()) return std::nullopt;
  const char* const end = text.data() + at + 4;
  const auto result = std::from_chars(text.data() + at, end, value, 16);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

void AppendCodePoint(uint32_t c, std::string& out) {
  const auto put = [&out](uint32_t byte) {
    out.push_back(static_cast<char>(byte));
  };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

// What follows `\u` at `escaped[at]`. Returns how much of it was read.
size_t AppendUnicodeEscape(std::string_view escaped, size_t at,
                           std::string& out) {
  const std::optional<uint32_t> unit = HexDigits(escaped, at);
  if (!unit.has_value()) {
    out.append(kReplacement);
    return 0;
  }
  if (*unit < 0xD800 || *unit > 0xDFFF) {
    AppendCodePoint(*unit, out);
    return 4;
  }
  if (*unit < 0xDC00 && escaped.substr(at + 4, 2) == "\\u") {
    const std::optional<uint32_t> low = HexDigits(escaped, at + 6);
    if (low.has_value() && *low >= 0xDC00 && *low <= 0xDFFF) {
      AppendCodePoint(0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00),
                      out);
      return 10;
    }
  }
  out.append(kReplacement);  // half a pair
  return 4;
}

// Whether the escapes inside a string are those of the standard.
bool HasOnlyValidEscapes(std::string_view escaped) {
  for (size_t i = escaped.find('\\'); i != std::string_view::npos;
       i = escaped.find('\\', i)) {
    if (i + 1 >= escaped.size()) return false;
    if (escaped[i + 1] == 'u') {
      if (!HexDigits(escaped, i + 2).has_value()) return false;
    } else if (std::strchr("\"\\/bfnrt", escaped[i + 1]) == nullptr) {
      return false;
    }
    i += 2;
  }
  return true;
}

std::string_view Inside(std::string_view quoted) {
  return quoted.substr(1, quoted.size() - 2);
}

bool AppendCompact(JsonValue value, std::string& out) {
  if (value.IsString() && !HasOnlyValidEscapes(Inside(value.raw()))) {
    return false;
  }
  if (!value.IsObject() && !value.IsArray()) {
    out.append(value.raw());
    return true;
  }
  out.push_back(value.IsObject() ? '{' : '[');
  for (const JsonValue child : value) {
    if (out.back() != '{' && out.back() != '[') out.push_back(',');
    if (value.IsObject()) {
      AppendJsonString(child.name(), out);
      out.push_back(':');
    }
    if (!AppendCompact(child, out)) return false;
  }
  out.push_back(value.IsObject() ? '}' : ']');
  return true;
}

}  // namespace

// Walks a text with the library's cursor and notes where its values are. The
// cursor takes the bytes behind the text for a part of it when brackets are
// missing, and skips what follows a value up to the next bracket when a comma
// is: what it finds is measured against the text.
class JsonDocument::Builder {
 public:
  Builder(std::string_view text, std::vector<Node>& nodes)
      : text_(text), nodes_(nodes) {}

  bool AddRoot(ondemand::document& document) {
    ondemand::object object;
    ondemand::array array;
    ondemand::json_type type;
    if (document.type().get(type)) return false;
    switch (type) {
      case ondemand::json_type::object:
        if (document.get_object().get(object)) return false;
        break;
      case ondemand::json_type::array:
        if (document.get_array().get(array)) return false;
        break;
      default:
        return false;
    }
    const size_t begin = text_.find_first_of("{[");
    nodes_.push_back(MakeNode(text_.substr(begin, 1)));
    const bool added = text_[begin] == '{' ? AddMembers(object, begin, 1)
                                           : AddElements(array, begin, 1);
    return added && Close(0) &&
           WithoutSpaceAtEnd(text_).size() == begin + nodes_.front().size;
  }

 private:
  bool Add(ondemand::value value, int depth) {
    if (depth > kMaxDepth || nodes_.size() > kMaxNodes) return false;
    std::string_view token = value.raw_json_token();
    // At the end of a text that breaks off, the cursor stands behind it.
    if (token.data() >= text_.data() + text_.size()) return false;
    token = WithoutSpaceAtEnd(token);
    if (token.empty()) return false;
    const size_t index = nodes_.size();
    if (token.front() == '{') {
      ondemand::object object;
      if (value.get_object().get(object)) return false;
      nodes_.push_back(MakeNode(token));
      return AddMembers(object, nodes_[index].begin, depth + 1) && Close(index);
    }
    if (token.front() == '[') {
      ondemand::array array;
      if (value.get_array().get(array)) return false;
      nodes_.push_back(MakeNode(token));
      return AddElements(array, nodes_[index].begin, depth + 1) && Close(index);
    }
    if (!IsScalar(token)) return false;
    nodes_.push_back(MakeNode(token));
    return true;
  }

  // Of the object that begins at `at`.
  bool AddMembers(ondemand::object& object, size_t at, int depth) {
    const size_t first = ++at;
    for (simdjson::simdjson_result<ondemand::field> result : object) {
      ondemand::field field;
      if (std::move(result).get(field)) return false;
      const char* const name = field.key().raw();
      const size_t begin = name - text_.data();
      if (!Separates(at == first ? '\0' : ',', at, begin - 1)) return false;
      const size_t index = nodes_.size();
      if (!Add(field.value(), depth)) return false;
      Node& node = nodes_[index];
      // Before the value stand the name's end quote, a colon and space.
      size_t end = node.begin;
      while (end > begin && text_[end - 1] != '"') --end;
      if (end <= begin || !Separates(':', end, node.begin)) return false;
      node.name_begin = static_cast<uint32_t>(begin);
      node.name_size = static_cast<uint32_t>(end - 1 - begin);
      at = node.begin + node.size;
    }
    return true;
  }

  bool AddElements(ondemand::array& array, size_t at, int depth) {
    const size_t first = ++at;
    for (simdjson::simdjson_result<ondemand::value> result : array) {
      ondemand::value value;
      if (std::move(result).get(value)) return false;
      const size_t index = nodes_.size();
      if (!Add(value, depth)) return false;
      const Node& node = nodes_[index];
      if (!Separates(at == first ? '\0' : ',', at, node.begin)) return false;
      at = node.begin + node.size;
    }
    return true;
  }

  // Between two places stands `separator`, if it is not 0, and space.
  bool Separates(char separator, size_t from, size_t to) const {
    if (to > text_.size()) return false;
    const auto skip_space = [this, &from, to] {
      while (from < to && IsSpace(text_[from])) ++from;
    };
    skip_space();
    if (separator != '\0') {
      if (from >= to || text_[from] != separator) return false;
      ++from;
      skip_space();
    }
    return from == to;
  }

  Node MakeNode(std::string_view token) const {
    const auto begin = static_cast<uint32_t>(token.data() - text_.data());
    const auto next = static_cast<uint32_t>(nodes_.size() + 1);
    return {begin, static_cast<uint32_t>(token.size()), 0, 0, next};
  }

  // Gives the container at `index` its size: between its last child and its
  // closing bracket stands nothing but space.
  bool Close(size_t index) {
    Node& node = nodes_[index];
    node.end = static_cast<uint32_t>(nodes_.size());
    size_t at = node.begin + 1;
    if (size_t child = index + 1; child < nodes_.size()) {
      while (nodes_[child].end < nodes_.size()) child = nodes_[child].end;
      at = nodes_[child].begin + nodes_[child].size;
    }
    while (at < text_.size() && IsSpace(text_[at])) ++at;
    const char bracket = text_[node.begin] == '{' ? '}' : ']';
    if (at >= text_.size() || text_[at] != bracket) return false;
    node.size = static_cast<uint32_t>(at + 1 - node.begin);
    return true;
  }

  const std::string_view text_;
  std::vector<Node>& nodes_;
};

absl::Status JsonDocument::Parse(std::string_view text) {
  nodes_.clear();
  if (nodes_.capacity() > kMaxKeptNodes) nodes_.shrink_to_fit();
  if (copy_.capacity() > kMaxKeptBytes) std::string().swap(copy_);
  return Build(text);
}

absl::Status JsonDocument::ParseCopy(std::string_view text) {
  std::string copy;
  copy.reserve(text.size() + kJsonPadding);
  copy.append(text);
  copy.append(kJsonPadding, ' ');
  const absl::Status status =
      Parse(std::string_view(copy).substr(0, text.size()));
  // A sanitized text is kept in copy_ already.
  if (text_ == copy.data()) {
    copy_.swap(copy);
    text_ = copy_.data();
  }
  return status;
}

absl::Status JsonDocument::Build(std::string_view text) {
  // Its buffers follow the longest text and are larger than that: one for all
  // documents of a thread.
  static thread_local auto parser = std::make_unique<ondemand::parser>();

  text_ = text.data();
  ondemand::document document;
  const simdjson::error_code error =
      parser->iterate(text.data(), text.size(), text.size() + kJsonPadding)
          .get(document);
  if (error == simdjson::UTF8_ERROR) {
    copy_ = ToValidUtf8(text);
    const size_t size = copy_.size();
    copy_.append(kJsonPadding, ' ');
    return Build(std::string_view(copy_).substr(0, size));
  }
  const bool built =
      error == simdjson::SUCCESS && Builder(text, nodes_).AddRoot(document);
  if (text.size() > kMaxKeptBytes) {
    parser = std::make_unique<ondemand::parser>();
  }
  if (built) return absl::OkStatus();
  nodes_.clear();
  return absl::InvalidArgumentError(absl::StrCat(
      "not a JSON object or array: ", text.size(), " bytes",
      error == simdjson::SUCCESS ? "" : ", ",
      error == simdjson::SUCCESS ? "" : simdjson::error_message(error)));
}

JsonValue JsonDocument::root() const {
  return nodes_.empty() ? JsonValue() : JsonValue(this, 0);
}

char JsonValue::first() const {
  return exists() ? document_->text_[document_->nodes_[index_].begin] : '\0';
}

std::string_view JsonValue::raw() const {
  if (!exists()) return {};
  const JsonDocument::Node& node = document_->nodes_[index_];
  return {document_->text_ + node.begin, node.size};
}

std::string_view JsonValue::raw_name() const {
  if (!exists()) return {};
  const JsonDocument::Node& node = document_->nodes_[index_];
  return {document_->text_ + node.name_begin, node.name_size};
}

JsonValue::Iterator JsonValue::begin() const {
  return IsObject() || IsArray() ? Iterator(document_, index_ + 1) : end();
}

JsonValue::Iterator JsonValue::end() const {
  return {document_, exists() ? document_->nodes_[index_].end : 0};
}

bool JsonValue::empty() const { return !(begin() != end()); }

JsonValue JsonValue::operator[](std::string_view name) const {
  if (!IsObject()) return JsonValue();
  for (const JsonValue member : *this) {
    const std::string_view raw = member.raw_name();
    if (raw == name) return member;
    if (raw.find('\\') != std::string_view::npos && member.name() == name) {
      return member;
    }
  }
  return JsonValue();
}

std::string JsonValue::name() const {
  std::string name;
  AppendUnescaped(raw_name(), name);
  return name;
}

std::string JsonValue::String() const {
  std::string text;
  if (IsString()) AppendUnescaped(Inside(raw()), text);
  return text;
}

std::string_view JsonValue::Text(std::string& scratch) const {
  if (!IsString()) return {};
  const std::string_view escaped = Inside(raw());
  if (escaped.find('\\') == std::string_view::npos) return escaped;
  scratch.clear();
  AppendUnescaped(escaped, scratch);
  return scratch;
}

bool JsonValue::Is(std::string_view text) const {
  std::string scratch;
  return IsString() && Text(scratch) == text;
}

std::optional<int64_t> JsonValue::Int() const {
  const std::string_view text = raw();
  int64_t value = 0;
  const auto result =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<double> JsonValue::Double() const {
  const std::string_view text = raw();
  double value = 0;
  const auto result =
      std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

void AppendUnescaped(std::string_view escaped, std::string& out) {
  for (;;) {
    const size_t backslash = escaped.find('\\');
    out.append(escaped.substr(0, backslash));
    if (backslash == std::string_view::npos) return;
    escaped.remove_prefix(backslash + 1);
    if (escaped.empty()) return;
    const char c = escaped.front();
    escaped.remove_prefix(1);
    switch (c) {
      case 'b':
        out.push_back('\b');
        break;
      case 'f':
        out.push_back('\f');
        break;
      case 'n':
        out.push_back('\n');
        break;
      case 'r':
        out.push_back('\r');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'u':
        escaped.remove_prefix(AppendUnicodeEscape(escaped, 0, out));
        break;
      default:
        out.push_back(c);
    }
  }
}

void AppendJsonString(std::string_view text, std::string& out) {
  std::string valid;
  if (!IsValidUtf8(text)) {
    valid = ToValidUtf8(text);
    text = valid;
  }
  out.reserve(out.size() + text.size() + 2);
  out.push_back('"');
  size_t done = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.substr(done, i - done));
    done = i + 1;
    out.push_back('\\');
    switch (c) {
      case '"':
      case '\\':
        out.push_back(static_cast<char>(c));
        break;
      case '\n':
        out.push_back('n');
        break;
      case '\r':
        out.push_back('r');
        break;
      case '\t':
        out.push_back('t');
        break;
      default:
        out.append("u00");
        out.push_back(kHex[c >> 4]);
        out.push_back(kHex[c & 0xF]);
    }
  }
  out.append(text.substr(done));
  out.push_back('"');
}

std::string JsonString(std::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

absl::StatusOr<std::string> CompactJson(std::string_view text) {
  JsonDocument document;
  if (absl::Status status = document.ParseCopy(text); !status.ok()) {
    return status;
  }
  std::string compact;
  compact.reserve(text.size());
  if (!AppendCompact(document.root(), compact)) {
    return absl::InvalidArgumentError("not JSON: a string has a bad escape");
  }
  return compact;
}

}  // namespace understudy::session
