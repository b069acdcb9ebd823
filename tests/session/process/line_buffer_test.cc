#include "session/process/line_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "session/process/subprocess.h"

namespace understudy::session {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Feeds `bytes`, at most `at_once` in one read, and returns the lines.
struct Fed {
  std::vector<std::string> lines;
  bool too_long = false;
};

Fed Feed(LineBuffer& buffer, std::string_view bytes, size_t at_once) {
  Fed fed;
  while (!bytes.empty()) {
    const LineBuffer::Span room = buffer.Prepare();
    const size_t size = std::min({bytes.size(), at_once, room.size});
    EXPECT_GT(size, 0u);
    std::memcpy(room.data, bytes.data(), size);
    buffer.Commit(size);
    bytes.remove_prefix(size);
    LineBuffer::Span line;
    LineBuffer::Result result;
    while ((result = buffer.Next(&line)) == LineBuffer::kLine) {
      // Padding can be read, whatever it is.
      volatile char sum = 0;
      for (size_t i = 0; i < kLinePadding; ++i) {
        sum = static_cast<char>(sum + line.data[line.size + i]);
      }
      fed.lines.emplace_back(line.data, line.size);
      // The bytes are the caller's to change.
      std::memset(line.data, '!', line.size);
    }
    if (result == LineBuffer::kTooLong) {
      fed.too_long = true;
      break;
    }
    buffer.Release();
  }
  return fed;
}

TEST(LineBufferTest, SplitsBytesIntoLines) {
  LineBuffer buffer(100);
  EXPECT_THAT(Feed(buffer, "one\ntwo\n\nthree\r\n\r\nfour", 1000).lines,
              ElementsAre("one", "two", "", "three", ""));
  EXPECT_EQ(buffer.partial_bytes(), 4u);
  EXPECT_THAT(Feed(buffer, " and more\n", 1000).lines,
              ElementsAre("four and more"));
  EXPECT_EQ(buffer.partial_bytes(), 0u);
}

TEST(LineBufferTest, KeepsWhatIsNotALineEnd) {
  LineBuffer buffer(100);
  EXPECT_THAT(
      Feed(buffer, std::string_view("a\rb\n\0\n\xFF\xFE\n", 10), 1).lines,
      ElementsAre("a\rb", std::string(1, '\0'), "\xFF\xFE"));
}

TEST(LineBufferTest, TheLinesDoNotDependOnHowTheBytesArrive) {
  std::mt19937 random(1);
  std::string bytes;
  std::vector<std::string> wanted;
  for (int i = 0; i < 3000; ++i) {
    const size_t size = random() % (i % 100 == 0 ? 900'000 : 200);
    wanted.emplace_back(size, static_cast<char>('a' + i % 26));
    bytes += wanted.back() + "\n";
  }
  for (const size_t at_once :
       {size_t{777}, size_t{4096}, size_t{65536}, size_t{1} << 20}) {
    LineBuffer buffer(1 << 20);
    const Fed fed = Feed(buffer, bytes, at_once);
    EXPECT_FALSE(fed.too_long);
    EXPECT_TRUE(fed.lines == wanted) << at_once;
    EXPECT_EQ(buffer.partial_bytes(), 0u);
  }
}

TEST(LineBufferTest, ALineMayHaveExactlyTheMostBytes) {
  for (const size_t most : {size_t{1}, size_t{1000}, LineBuffer::kBlockBytes,
                            3 * LineBuffer::kBlockBytes + 17}) {
    LineBuffer fits(most);
    const std::string line(most, 'x');
    EXPECT_THAT(Feed(fits, line + "\n", 65536).lines, ElementsAre(line));
    LineBuffer bursts(most);
    const Fed fed = Feed(bursts, "ok\n" + line + "x\n", 65536);
    EXPECT_TRUE(fed.too_long) << most;
    EXPECT_LE(fed.lines.size(), 1u);
  }
}

TEST(LineBufferTest, AFloodWithoutANewlineIsFoundBeforeMemoryGrowsMuch) {
  LineBuffer buffer(1 << 20);
  const Fed fed = Feed(buffer, std::string(8 << 20, 'x'), 1 << 20);
  EXPECT_TRUE(fed.too_long);
  EXPECT_THAT(fed.lines, IsEmpty());
  EXPECT_LE(buffer.memory_bytes(), size_t{4} << 20);
  // For good.
  LineBuffer::Span line;
  EXPECT_EQ(buffer.Next(&line), LineBuffer::kTooLong);
}

TEST(LineBufferTest, MemoryIsGivenBackWhenNothingIsBuffered) {
  LineBuffer buffer(64 << 20);
  EXPECT_EQ(buffer.memory_bytes(), 0u);
  Feed(buffer, std::string(10 << 20, 'x'), 65536);
  EXPECT_GE(buffer.memory_bytes(), size_t{10} << 20);
  Feed(buffer, "\nshort", 65536);
  Feed(buffer, " line\nnext", 65536);
  EXPECT_EQ(buffer.memory_bytes(), LineBuffer::kBlockBytes);
  Feed(buffer, "\n", 65536);
  EXPECT_EQ(buffer.memory_bytes(), 0u);
}

}  // namespace
}  // namespace understudy::session
