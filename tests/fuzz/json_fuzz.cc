// The JSON layer beside another library: what that one accepts, this one does,
// and with the same values. It accepts more, and says what: bytes that are not
// UTF-8, halves of surrogate pairs, numbers of any size, and escapes that do
// not exist; CompactJson does not take the last.

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "session/base/json.h"
#include "session/base/utf8.h"
#include "tests/fuzz/fuzz.h"

namespace understudy::fuzz {
namespace {

using session::JsonDocument;
using session::JsonValue;

// A document as a list of what is in it, in order.
struct Token {
  char kind;  // { } [ ] k(ey) s(tring) i(nteger) f(loat) b(ool) n(ull)
  std::string text = {};
  int64_t integer = 0;
  double number = 0;
};

class Listener final : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Token> tokens;
  size_t depth = 0;
  size_t deepest = 0;
  std::string error;

  bool null() override { return Add({'n'}); }
  bool boolean(bool value) override { return Add({'b', {}, value}); }
  bool number_integer(number_integer_t value) override {
    return Add({'i', {}, value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    // What does not fit is a number all the same.
    if (value > INT64_MAX) return Add({'f', {}, 0, double(value)});
    return Add({'i', {}, static_cast<int64_t>(value)});
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Add({'f', {}, 0, value});
  }
  bool string(string_t& value) override { return Add({'s', value}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open('{'); }
  bool key(string_t& value) override { return Add({'k', value}); }
  bool end_object() override { return Close('}'); }
  bool start_array(size_t) override { return Open('['); }
  bool end_array() override { return Close(']'); }
  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception& why) override {
    error = why.what();
    return false;
  }

 private:
  bool Add(Token token) {
    tokens.push_back(std::move(token));
    return true;
  }
  bool Open(char kind) {
    deepest = std::max(deepest, ++depth);
    return Add({kind});
  }
  bool Close(char kind) {
    --depth;
    return Add({kind});
  }
};

void Walk(JsonValue value, std::vector<Token>& tokens) {
  if (value.IsObject() || value.IsArray()) {
    tokens.push_back({value.IsObject() ? '{' : '['});
    for (const JsonValue child : value) {
      if (value.IsObject()) {
        tokens.push_back({'k', child.name()});
        Require(session::IsValidUtf8(child.name()), "a name is UTF-8");
        Require(value[child.name()].exists(), "a member is found");
      }
      Walk(child, tokens);
    }
    tokens.push_back({value.IsObject() ? '}' : ']'});
  } else if (value.IsString()) {
    std::string scratch;
    const std::string text = value.String();
    Require(session::IsValidUtf8(text), "a string is UTF-8");
    Require(value.Text(scratch) == text && value.Is(text), "it is one string");
    tokens.push_back({'s', text});
  } else if (value.IsNull()) {
    tokens.push_back({'n'});
  } else if (value.raw() == "true" || value.raw() == "false") {
    tokens.push_back({'b', {}, value.Bool()});
  } else if (const std::optional<int64_t> integer = value.Int()) {
    tokens.push_back({'i', {}, *integer});
  } else {
    // What does not fit in the other direction is nothing, and told as 0.
    tokens.push_back({'f', {}, 0, value.Double().value_or(0)});
  }
}

void Compare(const std::vector<Token>& ours, const std::vector<Token>& theirs) {
  Require(ours.size() == theirs.size(), "the same number of values");
  for (size_t i = 0; i < ours.size(); ++i) {
    const Token& a = ours[i];
    const Token& b = theirs[i];
    const std::string where = absl::StrCat("value ", i);
    Require(a.kind == b.kind, "the same kind of value", where);
    Require(a.text == b.text, "the same text", where);
    Require(a.integer == b.integer, "the same integer", where);
    Require(a.number == b.number || std::fabs(b.number) < 1e-300,
            "the same number", where);
  }
}

// Accepted by the letter, but for what no letter forbids us.
bool IsStandard(const std::string& json) {
  Listener listener;
  if (nlohmann::json::sax_parse(json, &listener)) return true;
  return listener.error.find("out_of_range.406") != std::string::npos ||
         listener.error.find("surrogate") != std::string::npos;
}

// Why the other library refuses what this one takes.
bool IsExcused(const std::string& error) {
  for (const char* excuse :
       {"out_of_range.406", "surrogate", "ill-formed UTF-8", "after backslash",
        "'\\u' must be followed"}) {
    if (error.find(excuse) != std::string::npos) return true;
  }
  return false;
}

void Run(std::string_view text) {
  // The other library skips a byte order mark.
  if (text.starts_with("\xEF\xBB\xBF")) return;
  JsonDocument document;
  const bool accepted = document.ParseCopy(text).ok();
  Require(accepted == document.root().exists(), "a root, or none");
  std::vector<Token> ours;
  if (accepted) Walk(document.root(), ours);

  Listener theirs;
  // A NUL is the end of a text for the other library.
  const bool has_nul = text.find('\0') != std::string_view::npos;
  const bool is_json = !has_nul && nlohmann::json::sax_parse(text, &theirs);
  if (accepted && !is_json && !has_nul) {
    Require(IsExcused(theirs.error), "what is not JSON is refused",
            theirs.error);
  }
  if (is_json && theirs.deepest > 0 && theirs.deepest < 500) {
    Require(accepted, "what is JSON is accepted");
    Compare(ours, theirs.tokens);
  }
  if (is_json) Require(!accepted || theirs.deepest > 0, "no bare value");

  // In place, with whatever stands behind it.
  std::string padded(text);
  padded.append(session::kJsonPadding, '}');
  JsonDocument in_place;
  Require(
      in_place.Parse(std::string_view(padded).substr(0, text.size())).ok() ==
          accepted,
      "what follows a text does not matter");

  const absl::StatusOr<std::string> compact = session::CompactJson(text);
  Require(accepted || !compact.ok(), "what is compact was accepted");
  if (is_json && accepted) Require(compact.ok(), "what is JSON is compacted");
  if (compact.ok()) {
    Require(IsStandard(*compact), "what is compact is JSON", *compact);
    Require(compact->find('\n') == std::string::npos, "it is one line");
    JsonDocument again;
    Require(again.ParseCopy(*compact).ok(), "it is read again");
    std::vector<Token> tokens;
    Walk(again.root(), tokens);
    Compare(tokens, ours);
  }

  const std::string quoted = session::JsonString(text);
  Require(nlohmann::json::parse(quoted).get<std::string>() ==
              session::ToValidUtf8(text),
          "a string that is written is read");
  Require(quoted.find('\n') == std::string::npos, "it is one line");
}

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
