// One pass over the text. At each position that begins a word the known shapes
// of secrets are tried; what none of them takes is copied.

#include "session/base/redact.h"

#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "session/base/utf8.h"

namespace understudy::session {
namespace {

constexpr std::string_view kRedacted = "[redacted]";

bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; }

// What a token of any scheme is made of, padding and separators included.
bool IsTokenByte(char c) {
  return IsWord(c) || c == '.' || c == '~' || c == '+' || c == '/' ||
         c == '=' || c == '%' || c == ':';
}

template <typename Predicate>
size_t RunLength(std::string_view text, Predicate predicate) {
  size_t size = 0;
  while (size < text.size() && predicate(text[size])) ++size;
  return size;
}

bool StartsWithIgnoreCase(std::string_view text, std::string_view prefix) {
  return absl::StartsWithIgnoreCase({text.data(), text.size()},
                                    {prefix.data(), prefix.size()});
}

bool EndsWithIgnoreCase(std::string_view text, std::string_view suffix) {
  return absl::EndsWithIgnoreCase({text.data(), text.size()},
                                  {suffix.data(), suffix.size()});
}

// A secret that begins `text`: this much is kept, and this much replaced.
struct Secret {
  size_t kept = 0;
  size_t replaced = 0;
};

Secret FindApiKey(std::string_view text) {
  if (text.substr(0, 3) == "sk-") {
    const size_t size = RunLength(text, IsWord);
    if (size >= 3 + 8) return {3, size - 3};
  }
  if (text.substr(0, 4) == "AKIA" || text.substr(0, 4) == "ASIA") {
    const size_t size = RunLength(text, [](char c) {
      return absl::ascii_isupper(c) || absl::ascii_isdigit(c);
    });
    if (size >= 4 + 12) return {4, size - 4};
  }
  return {};
}

Secret FindBearerToken(std::string_view text) {
  constexpr std::string_view kBearer = "bearer";
  if (!StartsWithIgnoreCase(text, kBearer)) return {};
  const size_t spaces = RunLength(text.substr(kBearer.size()),
                                  [](char c) { return c == ' ' || c == '\t'; });
  if (spaces == 0) return {};
  const size_t kept = kBearer.size() + spaces;
  return {kept, RunLength(text.substr(kept), IsTokenByte)};
}

// scheme://user:password@host
Secret FindUserInfo(std::string_view text) {
  const size_t scheme = RunLength(text, [](char c) {
    return absl::ascii_isalnum(c) || c == '+' || c == '-' || c == '.';
  });
  if (scheme == 0 || text.substr(scheme, 3) != "://") return {};
  const size_t begin = scheme + 3;
  const std::string_view authority = text.substr(
      begin, RunLength(text.substr(begin), [](char c) {
        return absl::ascii_isgraph(c) && c != '/' && c != '?' && c != '#' &&
               c != '"' && c != '\'' && c != '<' && c != '>';
      }));
  const size_t at = authority.rfind('@');
  if (at == std::string_view::npos || at == 0) return {};
  return {begin, at};
}

// API_KEY=..., "x-api-key": "...", password: ...
Secret FindAssignment(std::string_view text) {
  const size_t name_size = RunLength(text, IsWord);
  const std::string_view name = text.substr(0, name_size);
  bool secret = false;
  for (std::string_view suffix : {"key", "token", "secret", "password"}) {
    secret = secret || EndsWithIgnoreCase(name, suffix);
  }
  if (!secret) return {};
  size_t kept = name_size;
  const auto skip = [&](auto predicate) {
    kept += RunLength(text.substr(kept), predicate);
  };
  skip([](char c) { return c == '"' || c == '\'' || c == ' '; });
  if (kept == text.size() || (text[kept] != '=' && text[kept] != ':')) {
    return {};
  }
  ++kept;
  skip([](char c) { return c == ' ' || c == '\t'; });
  // A scheme before a token is taken with it: "Basic dXNlcjpw".
  char quote = '\0';
  if (kept < text.size() && (text[kept] == '"' || text[kept] == '\'')) {
    quote = text[kept++];
  }
  const size_t size = RunLength(text.substr(kept), [quote](char c) {
    return quote != '\0' ? c != quote && c != '\n'
                         : absl::ascii_isgraph(c) && c != ',' && c != ';';
  });
  return {kept, size};
}

Secret FindSecret(std::string_view text) {
  for (auto* find :
       {&FindApiKey, &FindBearerToken, &FindUserInfo, &FindAssignment}) {
    const Secret secret = find(text);
    if (secret.replaced > 0) return secret;
  }
  return {};
}

void AppendEscaped(std::string_view text, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are control characters too: terminals obey them.
    const bool c1 = byte == 0xC2 && i + 1 < text.size() &&
                    static_cast<unsigned char>(text[i + 1]) < 0xA0;
    const bool c0 =
        (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    if (!c0 && !c1) {
      out->push_back(text[i]);
      continue;
    }
    const unsigned value = c1 ? static_cast<unsigned char>(text[++i]) : byte;
    out->append("\\x");
    out->push_back(kHex[value >> 4]);
    out->push_back(kHex[value & 0xF]);
  }
}

}  // namespace

std::string Redact(std::string_view bytes) {
  const std::string valid = ToValidUtf8(bytes);
  std::string_view text = valid;
  std::string redacted;
  redacted.reserve(text.size());
  while (!text.empty()) {
    const Secret secret = FindSecret(text);
    if (secret.replaced > 0) {
      AppendEscaped(text.substr(0, secret.kept), &redacted);
      redacted.append(kRedacted);
      text.remove_prefix(secret.kept + secret.replaced);
      continue;
    }
    // To the beginning of the next word.
    size_t size = RunLength(text, IsWord);
    size += RunLength(text.substr(size), [](char c) { return !IsWord(c); });
    AppendEscaped(text.substr(0, size), &redacted);
    text.remove_prefix(size);
  }
  return redacted;
}

}  // namespace understudy::session
