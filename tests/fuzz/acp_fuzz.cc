// AcpAgent told any lines at any moment, by an owner that keeps its part of the
// contract (owner.h); or two of them that share a process.
//
// An input is lines of the process, in which stand
//   $REQUEST  the id of the last request that it was written, $PROMPT that of
//             the last prompt, $PING that of the last request behind one
// and, on lines that begin with an exclamation mark, what the owner does.
// Beside that, at the beginning:
//   !two             a second agent joins the process, with an owner of its own
//   !load            the conversation is one that exists, named c-0
//   !shy             nothing is answered by itself
// and anywhere:
//   !second, !first  it is this one that is meant from here
// Unless it is shy, the process answers all but prompts as an agent does that
// is at peace; its conversations are c-1, c-2, ... Lines of the process that
// follow one another come in one read.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "session/agent/agent.h"
#include "session/agent/shared_process.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/owner.h"

namespace understudy::fuzz {
namespace {

using session::FakeChild;

class Acp {
 public:
  void Run(Input input) {
    bool two = false;
    session::Opening opening;
    opening.model = "b";
    opening.working_directory = "/";
    std::string_view line;
    while (!input.empty()) {
      line = input.Line();
      if (line == "!two") {
        two = true;
      } else if (line == "!load") {
        opening.conversation = "c-0";
      } else if (line == "!shy") {
        shy_ = true;
      } else {
        break;
      }
      line = {};
    }
    Make(opening, two);
    std::vector<std::string> lines;
    for (bool first = true; first || !input.empty(); first = false) {
      if (!first) line = input.Line();
      if (!line.starts_with('!')) {
        lines.push_back(absl::StrReplaceAll(
            absl::string_view(line.data(), line.size()),
            {{"$REQUEST", request_}, {"$PROMPT", prompt_}, {"$PING", ping_}}));
        continue;
      }
      world_.Say(lines);
      const auto [verb, argument] = Verb(line);
      if (verb == "first") meant_ = &first_;
      if (verb == "second" && two) meant_ = &second_;
      meant_->Do(verb, argument);
      world_.Do(verb, argument);
      world_.loop_.RunUntilIdle();
    }
    world_.Say(lines);
    world_.Pass();
    for (Owner* const owner : {&first_, &second_}) owner->End();
    shared_.reset();
    world_.End();
  }

 private:
  void Make(const session::Opening& opening, bool two) {
    profile_.name = "someone";
    profile_.kind = "acp";
    profile_.command = "some-agent";
    world_.launcher_.OnLaunch([this](FakeChild& child) {
      child.OnLine([this](FakeChild& process, std::string_view line) {
        Answer(process, nlohmann::json::parse(line));  // it must be JSON
      });
    });
    session::Launcher* launcher = &world_.launcher_;
    if (two) {
      shared_ = session::SharedProcess::Create(world_.loop_, world_.launcher_);
      launcher = shared_.get();
    }
    first_.Make(world_.loop_, *launcher, profile_, opening);
    Require(first_.made(), "it is made");
    if (two)
      second_.Make(world_.loop_, *launcher, profile_,
                   {.model = "b", .working_directory = "/"});
    world_.loop_.RunUntilIdle();
  }

  void Answer(FakeChild& process, const nlohmann::json& line) {
    if (!line.contains("method") || !line.contains("id")) return;
    const std::string method = line["method"];
    const std::string id = line["id"];
    if (method == "session/prompt") {
      prompt_ = id;
      return;
    }
    (method[0] == '_' ? ping_ : request_) = id;
    if (shy_) return;
    std::string result = R"("error":{"code":-32601,"message":"no"})";
    if (method == "initialize") {
      result =
          R"("result":{"protocolVersion":1,"agentInfo":{"name":"some"},)"
          R"("agentCapabilities":{"loadSession":true,"sessionCapabilities":)"
          R"({"list":{},"close":{}}}})";
    } else if (method == "session/new") {
      result = absl::StrCat(R"("result":{"sessionId":"c-)", ++conversations_,
                            R"(",)", kSettings, "}");
    } else if (method == "session/list") {
      result = R"("result":{"sessions":[{"sessionId":"c-1"}]})";
    } else if (method.rfind("session/", 0) == 0) {
      result = absl::StrCat(R"("result":{)", kSettings, "}");
    }
    process.Say(
        absl::StrCat(R"({"jsonrpc":"2.0","id":")", id, R"(",)", result, "}"));
  }

  static constexpr char kSettings[] =
      R"("models":{"currentModelId":"a","availableModels":[{"modelId":"a"},)"
      R"({"modelId":"b"}]},"modes":{"currentModeId":"ask","availableModes":)"
      R"([{"id":"ask"},{"id":"trust"}]})";

  World world_;
  session::Profile profile_;
  std::shared_ptr<session::SharedProcess> shared_;
  bool shy_ = false;
  int conversations_ = 0;
  std::string request_, prompt_, ping_;
  Owner first_, second_;
  Owner* meant_ = &first_;
};

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Acp().Run({data, size});
  return 0;
}
