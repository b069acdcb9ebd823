// An agent and the process it believes to speak to, played by the test: what
// the fixtures of all protocols have in common. Says lines of
// testdata/FOLDER/*.jsonl too.

#ifndef UNDERSTUDY_TESTS_SESSION_AGENT_AGENT_FIXTURE_H_
#define UNDERSTUDY_TESTS_SESSION_AGENT_AGENT_FIXTURE_H_

#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "session/agent/agent.h"
#include "tests/fakes/fake_launcher.h"
#include "tests/fakes/fake_loop.h"
#include "tests/support/agent_owner.h"
#include "tests/support/status_matchers.h"

namespace understudy::session {

class AgentFixture : public ::testing::Test {
 protected:
  using Json = nlohmann::json;
  using Lines = std::vector<std::string>;

  // --- The process ---

  // What it answers to a line.
  virtual void Answer(FakeChild& process, const Json& line) = 0;

  // The lines of a file, with `words` in the place of those that stand for
  // them.
  static Lines Recorded(const std::string& file,
                        const std::map<std::string, std::string>& words) {
    std::ifstream stream(absl::StrCat(UNDERSTUDY_TESTDATA, "/", file));
    EXPECT_TRUE(stream.is_open()) << file;
    Lines lines;
    for (std::string line; std::getline(stream, line);) {
      lines.push_back(absl::StrReplaceAll(line, words));
    }
    return lines;
  }

  FakeChild& child() { return launcher_.last(); }

  // The process says lines, in one breath.
  void Say(Lines lines) {
    child().Say(std::move(lines));
    loop_.RunUntilIdle();
  }
  void Say(const Json& line) { Say(Lines{line.dump()}); }

  // Everything it was written, and the last of it.
  std::vector<Json> Written() {
    std::vector<Json> lines;
    for (const std::string& line : child().lines()) {
      lines.push_back(Json::parse(line));
    }
    return lines;
  }
  Json LastWritten() { return Written().back(); }

  // --- The agent ---

  virtual absl::Status Make() {
    launcher_.OnLaunch([this](FakeChild& launched) {
      launched.OnLine([this](FakeChild& process, std::string_view line) {
        Answer(process, Json::parse(line));
      });
    });
    auto made = FindAgentKind(profile_.kind)
                    ->make(loop_, *through_, profile_, opening_, &owner_);
    if (!made.ok()) return made.status();
    owner_.agent = *std::move(made);
    return absl::OkStatus();
  }

  Agent& agent() { return *owner_.agent; }

  // What the handshake came to; nothing while it goes on.
  const std::optional<absl::Status>& Start() {
    ready_.reset();
    EXPECT_THAT(Make(), IsOk());
    agent().Start([this](absl::Status status) {
      EXPECT_FALSE(ready_.has_value()) << "called twice";
      ready_ = std::move(status);
    });
    EXPECT_FALSE(ready_.has_value()) << "called from inside the call";
    loop_.RunUntilIdle();
    return ready_;
  }
  void MustStart() {
    Start();
    ASSERT_TRUE(ready_.has_value());
    ASSERT_THAT(*ready_, IsOk());
    owner_.Take();
  }

  // What a change came to; nothing while it goes on.
  const std::optional<absl::Status>& Apply(const Change& change) {
    changed_.reset();
    agent().Apply(change, [this](absl::Status status) {
      EXPECT_FALSE(changed_.has_value()) << "called twice";
      changed_ = std::move(status);
    });
    EXPECT_FALSE(changed_.has_value()) << "called from inside the call";
    loop_.RunUntilIdle();
    return changed_;
  }

  FakeLoop loop_;
  FakeLauncher launcher_{loop_};
  Launcher* through_ = &launcher_;  // starts the agent
  Profile profile_;
  Opening opening_;
  AgentOwner owner_;
  std::optional<absl::Status> ready_;
  std::optional<absl::Status> changed_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_AGENT_AGENT_FIXTURE_H_
