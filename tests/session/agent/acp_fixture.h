// An AcpAgent and the process it believes to speak to. The process is an agent
// of no make: it answers every request as the protocol has it, in words that a
// test may change, and its conversations are c-1, c-2, ... With `folder_` set,
// it answers with the lines of a real one, in testdata/acp/FOLDER/*.jsonl; in
// them stand
//   $REQUEST       the id of the request that is answered
//   $CONVERSATION  its conversation

#ifndef UNDERSTUDY_TESTS_SESSION_AGENT_ACP_FIXTURE_H_
#define UNDERSTUDY_TESTS_SESSION_AGENT_ACP_FIXTURE_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/session/agent/agent_fixture.h"

namespace understudy::session {

inline constexpr char kTurn[] = "11111111-1111-4111-8111-111111111111";

class AcpFixture : public AgentFixture {
 protected:
  AcpFixture() {
    profile_.name = "someone";
    profile_.kind = "acp";
    profile_.command = "some-agent";
    opening_.working_directory = "/work";
  }

  // --- The process ---

  static Json Result(const Json& id, Json result) {
    return {{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}};
  }
  static Json Error(const Json& id, int code, const std::string& message) {
    return {{"jsonrpc", "2.0"},
            {"id", id},
            {"error", {{"code", code}, {"message", message}}}};
  }
  static Json Options(const std::string& model, const std::string& mode) {
    const auto option = [](const char* id, const std::string& now,
                           const std::vector<std::string>& values) {
      Json options = Json::array();
      for (const std::string& value : values) {
        options.push_back({{"value", value}, {"name", "The " + value}});
      }
      return Json{{"id", id},
                  {"category", id},
                  {"type", "select"},
                  {"currentValue", now},
                  {"options", options}};
    };
    return {{"configOptions",
             {option("model", model, {"a", "b", "c"}),
              option("mode", mode, {"ask", "trust"})}}};
  }
  static Json Update(const std::string& conversation, Json update) {
    return {{"jsonrpc", "2.0"},
            {"method", "session/update"},
            {"params",
             {{"sessionId", conversation}, {"update", std::move(update)}}}};
  }
  static Json Chunk(const std::string& conversation, const std::string& text) {
    return Update(conversation,
                  {{"sessionUpdate", "agent_message_chunk"},
                   {"content", {{"type", "text"}, {"text", text}}}});
  }
  static Json AsksPermission(const Json& id, const std::string& conversation) {
    Json options = Json::array();
    for (const char* kind :
         {"allow_once", "allow_always", "reject_once", "reject_always"}) {
      options.push_back({{"optionId", std::string("the-") + kind},
                         {"name", kind},
                         {"kind", kind}});
    }
    return {{"jsonrpc", "2.0"},
            {"id", id},
            {"method", "session/request_permission"},
            {"params",
             {{"sessionId", conversation},
              {"toolCall",
               {{"toolCallId", "t-1"},
                {"title", "touch x"},
                {"kind", "execute"},
                {"rawInput", {{"command", "touch x"}}}}},
              {"options", options}}}};
  }

  // The lines of a real agent.
  Lines Data(const std::string& name, const std::string& conversation = "",
             const std::string& request = "") const {
    return Recorded(absl::StrCat("acp/", folder_, "/", name, ".jsonl"),
                    {{"$REQUEST", request}, {"$CONVERSATION", conversation}});
  }

  // What it was written of a method: whole lines.
  std::vector<Json> Written(const std::string& method) {
    std::vector<Json> lines = AgentFixture::Written();
    std::erase_if(lines, [&method](const Json& line) {
      return line.value("method", "") != method;
    });
    return lines;
  }
  // The values that it was told to set, with their conversations.
  std::vector<std::string> Settings() {
    std::vector<std::string> settings;
    for (const Json& line : Written("session/set_config_option")) {
      settings.push_back(
          absl::StrCat(line["params"]["sessionId"].get<std::string>(), " ",
                       line["params"]["value"].get<std::string>()));
    }
    return settings;
  }
  std::vector<std::string> Closed() {
    std::vector<std::string> closed;
    for (const Json& line : Written("session/close")) {
      closed.push_back(line["params"]["sessionId"]);
    }
    return closed;
  }
  // The id of the last prompt.
  Json Prompt() { return Written("session/prompt").back()["id"]; }
  void EndTurn(const std::string& reason = "end_turn") {
    Say(Result(Prompt(), {{"stopReason", reason}}));
  }

  // --- The agent ---

  std::string conversation() { return agent().current().conversation; }

  void Send(const std::string& text = "hello") {
    agent().Send({kTurn, text});
    loop_.RunUntilIdle();
  }

  const std::optional<absl::Status>& SetMode(const std::string& mode) {
    changed_.reset();
    agent().SetPermissionMode(
        mode, [this](absl::Status status) { changed_ = std::move(status); });
    loop_.RunUntilIdle();
    return changed_;
  }

  std::string folder_;
  std::map<std::string, std::string> instead_;  // answered by another file
  std::set<std::string> unanswered_;     // methods that the process ignores
  std::map<std::string, Json> refused_;  // methods, with the error
  std::set<std::string> no_models_;      // that it refuses to switch to
  Lines before_;                         // said before the next answer
  Json initialize_ = {
      {"protocolVersion", 1},
      {"agentInfo", {{"name", "some-agent"}, {"version", "1.0"}}},
      {"agentCapabilities",
       {{"loadSession", true},
        {"promptCapabilities", {{"image", true}}},
        {"sessionCapabilities",
         {{"close", Json::object()}, {"list", Json::object()}}}}}};
  Json listed_ = {{"sessions", Json::array()}};
  std::string begins_with_ = "a";  // the model of a conversation that is opened
  int conversations_ = 0;
  bool load_tells_ = true;  // its settings

 private:
  void Answer(FakeChild& process, const Json& line) override {
    if (!line.contains("method") || !line.contains("id")) return;
    const std::string method = line["method"];
    if (unanswered_.count(method) > 0 || method == "session/prompt") return;
    Lines lines = std::exchange(before_, {});
    if (folder_.empty() || method[0] == '_' || method == "session/close") {
      lines.push_back(Invented(line).dump());
    } else {
      std::string conversation =
          line["params"].value("sessionId", absl::StrCat("c-", conversations_));
      if (method == "session/new") {
        conversation = absl::StrCat("c-", ++conversations_);
      }
      for (std::string& one : Data(FileOf(method), conversation, line["id"])) {
        lines.push_back(std::move(one));
      }
    }
    if (!process.ended()) process.Say(std::move(lines));
  }

  std::string FileOf(const std::string& method) const {
    const auto instead = instead_.find(method);
    if (instead != instead_.end()) return instead->second;
    if (method == "session/set_config_option") return "set_model";
    const size_t slash = method.find('/');
    return slash == std::string::npos ? method : method.substr(slash + 1);
  }

  Json Invented(const Json& line) {
    const std::string method = line["method"];
    const Json& id = line["id"];
    const Json& params = line["params"];
    if (refused_.count(method) > 0) {
      return {{"jsonrpc", "2.0"}, {"id", id}, {"error", refused_[method]}};
    }
    if (method == "initialize") return Result(id, initialize_);
    if (method == "session/new") {
      const std::string conversation = absl::StrCat("c-", ++conversations_);
      models_[conversation] = begins_with_;
      Json result = Options(begins_with_, "ask");
      result["sessionId"] = conversation;
      return Result(id, result);
    }
    if (method == "session/load" || method == "session/resume") {
      models_[params["sessionId"]] = begins_with_;
      return Result(id, load_tells_ ? Options(begins_with_, "ask")
                                    : Json::object());
    }
    if (method == "session/set_config_option") {
      const std::string value = params["value"];
      if (no_models_.count(value) > 0) {
        return Error(id, -32602, "model not found: " + value);
      }
      std::string& model = models_[params["sessionId"]];
      std::string& mode = modes_[params["sessionId"]];
      if (mode.empty()) mode = "ask";
      (params["configId"] == "model" ? model : mode) = value;
      return Result(id, Options(model, mode));
    }
    if (method == "session/list") return Result(id, listed_);
    if (method == "session/close" || method == "authenticate") {
      return Result(id, Json::object());
    }
    return Error(id, -32601, "Method not found: " + method);
  }

  std::map<std::string, std::string> models_;
  std::map<std::string, std::string> modes_;
};

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SESSION_AGENT_ACP_FIXTURE_H_
