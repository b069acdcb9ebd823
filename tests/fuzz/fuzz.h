// What fuzz targets have in common: a rule that ends the process when it is
// broken, with what broke it, and an input that is used up from the front.

#ifndef UNDERSTUDY_TESTS_FUZZ_FUZZ_H_
#define UNDERSTUDY_TESTS_FUZZ_FUZZ_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace understudy::fuzz {

inline void Require(bool holds, std::string_view rule,
                    std::string_view detail = {}) {
  if (holds) return;
  std::fprintf(stderr, "broken: %.*s: %.*s\n", static_cast<int>(rule.size()),
               rule.data(), static_cast<int>(detail.size()), detail.data());
  std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  // 0 when nothing is left.
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const char byte = rest_.front();
    rest_.remove_prefix(1);
    return static_cast<uint8_t>(byte);
  }
  // At most `size` bytes.
  std::string_view Take(size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the next newline, which is used up.
  std::string_view Line() {
    const std::string_view line = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(line.size());
    Byte();
    return line;
  }

 private:
  std::string_view rest_;
};

}  // namespace understudy::fuzz

#endif  // UNDERSTUDY_TESTS_FUZZ_FUZZ_H_
