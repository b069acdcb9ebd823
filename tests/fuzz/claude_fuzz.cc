// ClaudeAgent told any lines at any moment, by an owner that keeps its part of
// the contract (owner.h).
//
// An input is lines of the process, in which stand
//   $REQUEST       the id of the last request that it was written
//   $TURN          the id of the last turn
//   $CONVERSATION  the conversation that it was started with, $NEXT another one
//   $MODEL         the model that it was started with
// and, on lines that begin with an exclamation mark, what the owner does.
// Lines of the process that follow one another come in one read.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "session/agent/agent.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/owner.h"

namespace understudy::fuzz {
namespace {

using session::FakeChild;

constexpr char kNext[] = "33333333-3333-4333-8333-333333333333";
constexpr char kModel[] = "claude-sonnet-5-5";

class Claude {
 public:
  void Run(Input input) {
    Make();
    std::vector<std::string> lines;
    while (!input.empty()) {
      const std::string_view line = input.Line();
      if (!line.starts_with('!')) {
        lines.push_back(
            absl::StrReplaceAll(absl::string_view(line.data(), line.size()),
                                {{"$REQUEST", request_},
                                 {"$TURN", owner_.last_turn()},
                                 {"$CONVERSATION", conversation_},
                                 {"$NEXT", kNext},
                                 {"$MODEL", kModel}}));
        continue;
      }
      world_.Say(lines);
      const auto [verb, argument] = Verb(line);
      if (verb == "ready") {
        Answer(R"({"claude_code_version":"2.1.329","models":[{"value":"haiku",)"
               R"("resolvedModel":"claude-haiku-5-5"}]})");
        Answer(R"({"applied":{"model":"claude-sonnet-5-5"}})");
      }
      owner_.Do(verb, argument);
      world_.Do(verb, argument);
      world_.loop_.RunUntilIdle();
    }
    world_.Say(lines);
    world_.Pass();
    owner_.End();
    world_.End();
  }

 private:
  void Make() {
    profile_.name = "claude";
    profile_.kind = "claude";
    profile_.command = "claude-program";
    session::Opening opening;
    opening.model = kModel;
    opening.working_directory = "/";
    world_.launcher_.OnLaunch([this](FakeChild& child) {
      child.OnLine([this](FakeChild&, std::string_view line) {
        const auto json = nlohmann::json::parse(line);  // it must be JSON
        if (json.contains("request_id")) request_ = json["request_id"];
      });
    });
    owner_.Make(world_.loop_, world_.launcher_, profile_, opening);
    Require(owner_.made(), "it is made");
    for (const std::string& argument : world_.child().command().argv) {
      constexpr std::string_view kFlag = "--session-id=";
      if (argument.starts_with(kFlag)) {
        conversation_ = argument.substr(kFlag.size());
      }
    }
    world_.loop_.RunUntilIdle();
  }

  // The process answers its last request.
  void Answer(const std::string& response) {
    std::vector<std::string> lines = {
        absl::StrCat(R"({"type":"control_response","response":{)",
                     R"("subtype":"success","request_id":")", request_,
                     R"(","response":)", response, "}}")};
    world_.Say(lines);
  }

  World world_;
  session::Profile profile_;
  std::string conversation_;
  std::string request_;
  Owner owner_;
};

}  // namespace
}  // namespace understudy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  understudy::fuzz::Claude().Run({data, size});
  return 0;
}
