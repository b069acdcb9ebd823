// What is found among files as Claude Code 2.1.329 leaves them.

#include "session/agent/claude_transcripts.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kA[] = "aaaaaaaa-0000-4000-8000-000000000000";
constexpr char kB[] = "bbbbbbbb-0000-4000-8000-000000000000";

class ClaudeTranscriptsTest : public ::testing::Test {
 protected:
  ClaudeTranscriptsTest() {
    profile_.env["CLAUDE_CONFIG_DIR"] = config_.path();
  }

  static std::string Key(std::string directory) {
    for (char& c : directory) {
      if (!isalnum(static_cast<unsigned char>(c))) c = '-';
    }
    return directory;
  }

  fs::path Write(const std::string& key, const std::string& name,
                 const std::string& text) {
    const fs::path folder = fs::path(config_.path()) / "projects" / key;
    fs::create_directories(folder);
    std::ofstream(folder / name) << text;
    return folder / name;
  }
  fs::path Keep(const std::string& directory, const std::string& id,
                const std::string& text) {
    return Write(Key(directory), absl::StrCat(id, ".jsonl"), text);
  }
  static std::string Says(const std::string& prompt) {
    return absl::StrCat(
        R"({"type":"queue-operation","operation":"enqueue"})", "\n",
        R"({"type":"user","message":{"role":"user","content":")", prompt,
        "\"}}\n");
  }
  std::vector<LocalConversation> List(const std::string& directory,
                                      size_t limit = 100) {
    return ClaudeConversations(profile_, directory, limit);
  }

  TempFolder config_;
  TempFolder work_;
  Profile profile_;
};

TEST_F(ClaudeTranscriptsTest, ListsTheNewestFirstWithTheirFirstPrompts) {
  const fs::path older = Keep(work_.path(), kA, Says("one") + Says("two"));
  Keep(work_.path(), kB, Says("three"));
  fs::last_write_time(older,
                      fs::last_write_time(older) - std::chrono::hours(1));
  const std::vector<LocalConversation> found = List(work_.path());
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].agent_session_id, kB);
  EXPECT_EQ(found[0].first_prompt, "three");
  EXPECT_EQ(found[1].agent_session_id, kA);
  EXPECT_EQ(found[1].first_prompt, "one");
  EXPECT_NEAR(absl::ToDoubleHours(found[0].update_time - found[1].update_time),
              1, 0.1);
  EXPECT_NEAR(absl::ToDoubleMinutes(absl::Now() - found[0].update_time), 0, 5);
  EXPECT_THAT(List(work_.path(), 1), SizeIs(1));
}

TEST_F(ClaudeTranscriptsTest, LeavesOutWhatTheProgramSaysForTheUser) {
  Keep(
      work_.path(), kA,
      R"({"type":"user","isMeta":true,"message":{"content":"caveat"}})"
      "\n" +
          Says("<command-name>/clear</command-name>") +
          R"({"type":"user","message":{"content":[{"type":"tool_result"}]}})"
          "\nnot JSON at all: \"user\"\n"
          R"({"type":"user","message":{"content":[{"type":"text","text":"hi"}]}})"
          "\n");
  ASSERT_THAT(List(work_.path()), SizeIs(1));
  EXPECT_EQ(List(work_.path())[0].first_prompt, "hi");
}

TEST_F(ClaudeTranscriptsTest, LeavesOutWhatIsNoConversation) {
  Keep(work_.path(), kA, "");
  Keep(work_.path(), kB, Says("<command-name>/clear</command-name>"));
  Keep(work_.path(), "agent-1234", Says("a sub-agent"));
  Write(Key(work_.path()), "notes.txt", Says("notes"));
  EXPECT_THAT(List(work_.path()), IsEmpty());
  EXPECT_THAT(List("/nowhere"), IsEmpty());
  profile_.env.clear();
  EXPECT_THAT(List(work_.path()), IsEmpty());
}

TEST_F(ClaudeTranscriptsTest, FindsTheFolderOfALongDirectoryByItsBeginning) {
  const std::string longer = absl::StrCat("/", std::string(300, 'x'));
  Write(absl::StrCat(Key(longer).substr(0, 200), "-1a2b3c"),
        absl::StrCat(kA, ".jsonl"), Says("one"));
  EXPECT_THAT(List(longer), SizeIs(1));
  EXPECT_THAT(List(longer.substr(0, 150)), IsEmpty());
}

TEST_F(ClaudeTranscriptsTest, ADirectoryIsItsRealPath) {
  Keep(work_.path(), kA, Says("one"));
  const std::string link = config_.path() + "/link";
  fs::create_directory_symlink(work_.path(), link);
  EXPECT_THAT(List(link), SizeIs(1));
}

TEST_F(ClaudeTranscriptsTest, TheConfigurationFolderIsInTheHome) {
  profile_.env = {{"HOME", config_.path()}};
  fs::create_directories(config_.path() + "/.claude");
  Keep(work_.path(), kA, Says("one"));
  fs::rename(config_.path() + "/projects",
             config_.path() + "/.claude/projects");
  EXPECT_THAT(List(work_.path()), SizeIs(1));
}

TEST_F(ClaudeTranscriptsTest, KnowsWhatBelongsToAnotherDirectoryOnly) {
  Keep("/elsewhere", kA, Says("one"));
  const auto elsewhere = [&](const char* id) {
    return ClaudeConversationIsElsewhere(profile_, work_.path(), id);
  };
  EXPECT_TRUE(elsewhere(kA));
  EXPECT_FALSE(elsewhere(kB));
  Keep(work_.path(), kA, Says("one"));
  EXPECT_FALSE(elsewhere(kA));
}

}  // namespace
}  // namespace understudy::session
