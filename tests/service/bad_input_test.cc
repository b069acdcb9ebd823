// Everything that a client may get wrong, as a table: each request is refused
// with the field named, before the engine hears of it.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "proto/error.h"
#include "service/check.h"
#include "service/commands.h"
#include "tests/support/engine.h"
#include "tests/support/temp_folder.h"
#include "understudy/v1/agent_control.pb.h"

namespace understudy::service {
namespace {

using session::CallId;
using session::Engine;
using session::TempFolder;
using ::testing::Contains;

constexpr char kSession[] = "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

struct BadInput {
  std::string what;
  std::string field;  // that must be among the violations
  Reason reason = Reason::kFieldInvalid;
  // Gives the request to `commands`; what it answered before it returned.
  std::function<std::optional<absl::Status>(Commands& commands)> call;
};

class Table {
 public:
  template <typename Request, typename Response>
  void Add(CallId (Commands::*run)(const Request&, Answer<Response>),
           Request request, std::string field,
           Reason reason = Reason::kFieldInvalid) {
    BadInput& row = rows_.emplace_back();
    row.what = absl::StrCat(Request::descriptor()->name(), " {",
                            request.ShortDebugString().substr(0, 160), "}");
    row.field = std::move(field);
    row.reason = reason;
    row.call = [run, request = std::move(request)](Commands& commands) {
      std::optional<absl::Status> status;
      (commands.*run)(request, [&status](absl::StatusOr<Response> answer) {
        status = answer.status();
      });
      return status;
    };
  }

  // `text` with $0 replaced by `value`, quoted.
  template <typename Request, typename Response>
  void AddText(CallId (Commands::*run)(const Request&, Answer<Response>),
               const std::string& text, const std::string& value,
               std::string field, Reason reason = Reason::kFieldInvalid) {
    Request request;
    const std::string quoted =
        absl::StrCat("\"", absl::CHexEscape(value), "\"");
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        absl::Substitute(text, quoted), &request))
        << text;
    Add(run, std::move(request), std::move(field), reason);
  }

  const std::vector<BadInput>& rows() const { return rows_; }

 private:
  std::vector<BadInput> rows_;
};

// What is no UUID.
std::vector<std::string> BadUuids() {
  return {"x",
          "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeee",    // too short
          "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeeee",  // too long
          "0190aaaabbbb4ccc8dddeeeeeeeeeeee",
          "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeeg",
          "{0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee}",
          " 0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
          "0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\n",
          std::string("0190aaaa-bbbb-4ccc-8ddd-eeeeeeeeeee\0", 36),
          "../../../../../../etc/passwd/xxxxxxxx",
          "--session-id=0190aaaa-bbbb-4ccc-8ddd"};
}

// What is no id.
std::vector<std::string> BadIds() {
  return {"-rf",
          ".hidden",
          "_x",
          "a b",
          "a/b",
          "a\nb",
          "a;b",
          "$(id)",
          "\xc3\xa4",
          "a\x7f",
          "../x",
          "a\"b",
          "--resume",
          std::string(129, 'a'),
          std::string("a\0b", 3)};
}

// What is no name of a model.
std::vector<std::string> BadModels() {
  return {"-m",
          "--model=x",
          " opus",
          "opus ",
          "a b",
          "a\nb",
          "a;rm",
          "`id`",
          "$HOME",
          "a'b",
          "\xc3\xa4",
          "[1m]",
          "/opus",
          "a{b}",
          std::string(129, 'm'),
          std::string("a\0b", 3)};
}

void AddIds(Table& table) {
  for (const std::string& id : BadUuids()) {
    table.AddText(&Commands::CreateSession,
                  "session_id: $0 working_directory: '/tmp'", id, "session_id");
    table.AddText(&Commands::GetSession, "session_id: $0", id, "session_id");
    table.AddText(&Commands::DeleteSession, "session_id: $0", id, "session_id");
    table.AddText(&Commands::SendMessage, "session_id: $0 text: 'x'", id,
                  "session_id");
    table.AddText(&Commands::SwitchModel, "session_id: $0 model: 'm'", id,
                  "session_id");
    table.AddText(&Commands::Clear, "session_id: $0", id, "session_id");
    table.AddText(&Commands::Resume, "session_id: $0 agent_session_id: 'c'", id,
                  "session_id");
    table.AddText(&Commands::Interrupt, "session_id: $0", id, "session_id");
    table.AddText(&Commands::ResolvePermission,
                  "session_id: $0 permission_id: 'p' "
                  "decision: PERMISSION_DECISION_ALLOW",
                  id, "session_id");
    table.AddText(&Commands::UpdateSession, "session { session_id: $0 }", id,
                  "session.session_id");
    table.AddText(&Commands::SetPermissionMode, "session_id: $0", id,
                  "session_id");
    table.AddText(&Commands::ListModels, "session_id: $0", id, "session_id");
    table.AddText(&Commands::ListConversations, "session_id: $0", id,
                  "session_id");

    const std::string named = absl::StrCat("session_id: '", kSession, "' ");
    table.AddText(&Commands::CreateSession,
                  "request_id: $0 working_directory: '/tmp'", id, "request_id");
    table.AddText(&Commands::DeleteSession, named + "request_id: $0", id,
                  "request_id");
    table.AddText(&Commands::SendMessage, named + "text: 'x' request_id: $0",
                  id, "request_id");
    table.AddText(&Commands::SwitchModel, named + "request_id: $0", id,
                  "request_id");
    table.AddText(&Commands::Clear, named + "request_id: $0", id, "request_id");
    table.AddText(&Commands::Resume,
                  named + "agent_session_id: 'c' request_id: $0", id,
                  "request_id");
    table.AddText(&Commands::Interrupt, named + "request_id: $0", id,
                  "request_id");
    table.AddText(&Commands::SetPermissionMode, named + "request_id: $0", id,
                  "request_id");
    table.AddText(&Commands::UpdateSession,
                  absl::StrCat("session { ", named, "} request_id: $0"), id,
                  "request_id");
    table.AddText(&Commands::ResolvePermission,
                  named +
                      "permission_id: 'p' request_id: $0 "
                      "decision: PERMISSION_DECISION_ALLOW",
                  id, "request_id");
  }
  // Required, and missing.
  table.Add(&Commands::GetSession, {}, "session_id");
  table.Add(&Commands::DeleteSession, {}, "session_id");
  table.Add(&Commands::SendMessage, {}, "session_id");
  table.Add(&Commands::SwitchModel, {}, "session_id");
  table.Add(&Commands::Clear, {}, "session_id");
  table.Add(&Commands::Resume, {}, "session_id");
  table.Add(&Commands::Resume, {}, "agent_session_id");
  table.Add(&Commands::Interrupt, {}, "session_id");
  table.Add(&Commands::ResolvePermission, {}, "session_id");
  table.Add(&Commands::ResolvePermission, {}, "permission_id");
  table.Add(&Commands::ResolvePermission, {}, "decision");
  table.Add(&Commands::UpdateSession, {}, "session.session_id");
  table.Add(&Commands::SetPermissionMode, {}, "session_id");
  table.Add(&Commands::ListConversations, {}, "session_id");
  table.Add(&Commands::CreateSession, {}, "working_directory");

  const std::string named = absl::StrCat("session_id: '", kSession, "' ");
  for (const std::string& id : BadIds()) {
    table.AddText(&Commands::CreateSession,
                  "agent: $0 working_directory: '/tmp'", id, "agent");
    table.AddText(&Commands::CreateSession,
                  "labels { key: $0 value: 'v' } working_directory: '/tmp'", id,
                  "labels");
    table.AddText(&Commands::Resume, named + "agent_session_id: $0", id,
                  "agent_session_id");
    table.AddText(&Commands::Clear, named + "resume_agent_session_id: $0", id,
                  "resume_agent_session_id");
    table.AddText(&Commands::Interrupt, named + "turn_id: $0", id, "turn_id");
    table.AddText(&Commands::ResolvePermission,
                  named +
                      "permission_id: $0 "
                      "decision: PERMISSION_DECISION_ALLOW",
                  id, "permission_id");
    table.AddText(&Commands::ResolvePermission,
                  named + "permission_id: 'p' option_id: $0", id, "option_id");
    table.AddText(&Commands::ListModels, "agent: $0", id, "agent");
    table.AddText(&Commands::SetPermissionMode, named + "permission_mode: $0",
                  id, "permission_mode");
    table.AddText(
        &Commands::UpdateSession,
        absl::StrCat("session { ", named, " labels { key: $0 value: 'v' } }"),
        id, "session.labels");
  }
}

void AddUpdateMasks(Table& table) {
  const std::string named =
      absl::StrCat("session { session_id: '", kSession, "' } ");
  // Fields that cannot be changed, and what is no field.
  for (const char* path : {"session_id",
                           "agent",
                           "model",
                           "model_override",
                           "working_directory",
                           "state",
                           "permission_mode",
                           "usage",
                           "create_time",
                           "labels.",
                           "labels.-a",
                           "labels.a b",
                           "label",
                           "Labels",
                           "session.labels",
                           "**",
                           "",
                           " labels",
                           "usage.cost_usd",
                           "labels,model"}) {
    table.AddText(&Commands::UpdateSession,
                  named + "update_mask { paths: 'labels' paths: $0 }", path,
                  "update_mask");
  }
  v1::UpdateSessionRequest update;
  update.mutable_session()->set_session_id(kSession);
  auto& labels = *update.mutable_session()->mutable_labels();
  labels["team"] = std::string(257, 'x');
  table.Add(&Commands::UpdateSession, update, "session.labels.team");
  labels["team"] = "\xff";
  table.Add(&Commands::UpdateSession, update, "session.labels.team");
  labels.clear();
  for (int i = 0; i < 65; ++i) labels[absl::StrCat("label", i)] = "x";
  table.Add(&Commands::UpdateSession, update, "session.labels");
}

void AddModels(Table& table) {
  const std::string named = absl::StrCat("session_id: '", kSession, "' ");
  for (const std::string& model : BadModels()) {
    table.AddText(&Commands::CreateSession,
                  "model: $0 working_directory: '/tmp'", model, "model");
    table.AddText(&Commands::SendMessage, named + "text: 'x' model: $0", model,
                  "model");
    table.AddText(&Commands::SwitchModel, named + "model: $0", model, "model");
    table.AddText(&Commands::Resume, named + "agent_session_id: 'c' model: $0",
                  model, "model");
  }
}

void AddWorkingDirectories(Table& table, const std::string& file) {
  for (const std::string& path :
       {std::string("tmp"), std::string("./tmp"), std::string("~"),
        std::string("/tmp/.."), std::string("/tmp/../etc"),
        std::string("/tmp/./x"), std::string("/does/not/exist"),
        std::string("/tmp\n"), std::string("/tmp\0", 5),
        std::string("/dev/null"), file, file + "/x",
        "/" + std::string(5000, 'a'), "/" + std::string(300, 'a')}) {
    table.AddText(&Commands::CreateSession, "working_directory: $0", path,
                  "working_directory");
  }
}

void AddTexts(Table& table, size_t max_text_bytes) {
  v1::SendMessageRequest base;
  base.set_session_id(kSession);
  const auto with = [&](std::function<void(v1::SendMessageRequest&)> change) {
    v1::SendMessageRequest request = base;
    change(request);
    return request;
  };
  const auto add = [&](std::string field,
                       std::function<void(v1::SendMessageRequest&)> change) {
    table.Add(&Commands::SendMessage, with(std::move(change)),
              std::move(field));
  };
  const std::string long_text(max_text_bytes + 1, 'x');
  add("text", [](auto&) {});
  add("text", [](auto& r) { r.set_text(""); });
  add("text", [&](auto& r) { r.set_text(long_text); });
  add("text", [](auto& r) { r.set_text("\xff"); });
  add("text", [](auto& r) { r.set_text("a\xc3"); });
  add("text", [](auto& r) { r.set_text("\xed\xa0\x80"); });
  add("content.parts", [](auto& r) { r.mutable_content(); });
  add("content.parts[0]", [](auto& r) { r.mutable_content()->add_parts(); });
  add("content.parts[0].text",
      [](auto& r) { r.mutable_content()->add_parts()->set_text(""); });
  add("content.parts[1].text", [](auto& r) {
    r.mutable_content()->add_parts()->set_text("a");
    r.mutable_content()->add_parts()->set_text("\xfe");
  });
  add("content.parts[0].text",
      [&](auto& r) { r.mutable_content()->add_parts()->set_text(long_text); });
  add("content", [&](auto& r) {
    for (int i = 0; i < 2; ++i) {
      r.mutable_content()->add_parts()->set_text(
          std::string(max_text_bytes / 2 + 1, 'x'));
    }
  });
  add("content", [&](auto& r) {
    v1::Image& image = *r.mutable_content()->add_parts()->mutable_image();
    image.set_mime_type("image/png");
    image.set_data(long_text);
  });
  // Texts and images together.
  add("content", [&](auto& r) {
    r.mutable_content()->add_parts()->set_text("x");
    v1::Image& image = *r.mutable_content()->add_parts()->mutable_image();
    image.set_mime_type("image/png");
    image.set_data(std::string(max_text_bytes, 'x'));
  });
  add("content.parts[0].image.data", [](auto& r) {
    r.mutable_content()->add_parts()->mutable_image()->set_mime_type(
        "image/png");
  });
  for (const char* type : {"", "png", "image/svg+xml", "image/PNG",
                           "image/png ", "text/plain", "image/png;a=b"}) {
    add("content.parts[0].image.mime_type", [&](auto& r) {
      v1::Image& image = *r.mutable_content()->add_parts()->mutable_image();
      image.set_mime_type(type);
      image.set_data("x");
    });
  }
  add("content.parts", [](auto& r) {
    for (int i = 0; i < 1001; ++i) {
      r.mutable_content()->add_parts()->set_text("x");
    }
  });
}

void AddEnums(Table& table) {
  const std::string named = absl::StrCat("session_id: '", kSession, "' ");
  for (const int value : {-1, 4, 99, 1 << 30}) {
    v1::SendMessageRequest send;
    send.set_session_id(kSession);
    send.set_text("x");
    send.set_wait_until(static_cast<v1::WaitUntil>(value));
    table.Add(&Commands::SendMessage, send, "wait_until");
    v1::SwitchModelRequest move;
    move.set_session_id(kSession);
    move.set_turn_policy(static_cast<v1::TurnPolicy>(value));
    table.Add(&Commands::SwitchModel, move, "turn_policy");
    v1::ClearRequest clear;
    clear.set_session_id(kSession);
    clear.set_turn_policy(static_cast<v1::TurnPolicy>(value));
    table.Add(&Commands::Clear, clear, "turn_policy");
    v1::ResumeRequest resume;
    resume.set_session_id(kSession);
    resume.set_agent_session_id("c");
    resume.set_turn_policy(static_cast<v1::TurnPolicy>(value));
    table.Add(&Commands::Resume, resume, "turn_policy");
    v1::ResolvePermissionRequest permission;
    permission.set_session_id(kSession);
    permission.set_permission_id("p");
    permission.set_decision(static_cast<v1::PermissionDecision>(value));
    table.Add(&Commands::ResolvePermission, permission, "decision");
    permission.set_decision(v1::PERMISSION_DECISION_ALLOW);
    permission.set_scope(static_cast<v1::PermissionScope>(value));
    table.Add(&Commands::ResolvePermission, permission, "scope");
  }
  table.AddText(&Commands::ResolvePermission,
                named +
                    "permission_id: 'p' decision: "
                    "PERMISSION_DECISION_UNSPECIFIED message: $0",
                "", "decision");
}

void AddPermissions(Table& table) {
  const std::string allow =
      absl::StrCat("session_id: '", kSession,
                   "' permission_id: 'p' decision: PERMISSION_DECISION_ALLOW ");
  for (const char* json : {"x", "[]", "\"text\"", "1", "null", "{", "{\"a\":}",
                           "{} {}", "{a:1}", "  ", "{'a':1}", "{\"a\":1,}"}) {
    table.AddText(&Commands::ResolvePermission,
                  allow + "updated_input_json: $0", json, "updated_input_json");
  }
  table.AddText(&Commands::ResolvePermission,
                absl::StrCat("session_id: '", kSession,
                             "' permission_id: 'p' decision: "
                             "PERMISSION_DECISION_DENY updated_input_json: $0"),
                "{}", "updated_input_json");
  table.AddText(&Commands::ResolvePermission, allow + "message: $0",
                std::string((64 << 10) + 1, 'x'), "message");
}

void AddLists(Table& table) {
  for (const char* filter : {"agent",
                             "agent=",
                             "=x",
                             "agent=-x",
                             "agent=a agent=b",
                             "state=BUSY",
                             "state=idle",
                             "state=IDLE state=IDLE",
                             "label.=x",
                             "label.a b=x",
                             "label.-a=x",
                             "labels.a=x",
                             "name=x",
                             "agent=x OR agent=y",
                             "label.a=\"b",
                             "label.a=\"b\"c",
                             "label.a=b\"c",
                             "label.a=1 label.a=2",
                             "agent=x AND",
                             "()",
                             "NOT agent=x",
                             "agent:x"}) {
    table.AddText(&Commands::ListSessions, "filter: $0", filter, "filter");
  }
  table.AddText(&Commands::ListSessions, "filter: $0",
                "label.a=" + std::string(5000, 'x'), "filter");
  table.AddText(&Commands::ListSessions, "page_size: -1 filter: $0", "",
                "page_size");
  table.AddText(&Commands::ListSessions, "page_token: $0",
                std::string(2000, 'x'), "page_token");
  for (const char* token : {"x", "-1", "99999999999999999999", "1.5"}) {
    table.AddText(&Commands::ListAgents, "page_token: $0", token, "page_token");
  }
  table.AddText(&Commands::ListAgents, "page_size: -5 page_token: $0", "",
                "page_size");
  table.AddText(&Commands::ListModels, "page_size: -5 page_token: $0", "",
                "page_size");
  table.AddText(
      &Commands::ListConversations,
      absl::StrCat("session_id: '", kSession, "' page_size: -5 page_token: $0"),
      "", "page_size");
  table.AddText(&Commands::ListModels,
                absl::StrCat("session_id: '", kSession, "' agent: $0"), "fake",
                "agent");
}

void AddLabelsAndAgents(Table& table) {
  v1::CreateSessionRequest request;
  request.set_working_directory("/tmp");
  request.set_agent("other");
  table.Add(&Commands::CreateSession, request, "agent", Reason::kAgentNotFound);
  table.AddText(&Commands::ListModels, "agent: $0", "other", "agent",
                Reason::kAgentNotFound);
  request.clear_agent();
  (*request.mutable_labels())["team"] = std::string(257, 'x');
  table.Add(&Commands::CreateSession, request, "labels.team");
  (*request.mutable_labels())["team"] = "\xff";
  table.Add(&Commands::CreateSession, request, "labels.team");
  request.clear_labels();
  for (int i = 0; i < 65; ++i) {
    (*request.mutable_labels())[absl::StrCat("label", i)] = "x";
  }
  table.Add(&Commands::CreateSession, request, "labels");
}

TEST(BadInputTest, IsRefusedWithTheFieldNamedBeforeTheEngineHearsOfIt) {
  constexpr size_t kMaxTextBytes = 1000;
  TempFolder folder;
  const std::string file = folder.path() + "/file";
  ASSERT_EQ(fclose(fopen(file.c_str(), "w")), 0);
  Table table;
  AddIds(table);
  AddModels(table);
  AddWorkingDirectories(table, file);
  AddTexts(table, kMaxTextBytes);
  AddEnums(table);
  AddPermissions(table);
  AddLists(table);
  AddLabelsAndAgents(table);
  AddUpdateMasks(table);
  EXPECT_GE(table.rows().size(), 200u);

  Engine engine;
  Commands commands(*engine.manager, {.max_text_bytes = kMaxTextBytes,
                                      .working_directory_roots = {},
                                      .agents = {"fake"}});
  for (const BadInput& row : table.rows()) {
    SCOPED_TRACE(row.what);
    const std::optional<absl::Status> status = row.call(commands);
    ASSERT_TRUE(status.has_value()) << "it went to the engine";
    EXPECT_EQ(ReasonOf(*status), row.reason) << *status;
    if (!row.field.empty()) {
      std::vector<std::string> fields;
      for (const FieldViolation& violation : FieldViolationsOf(*status)) {
        fields.push_back(violation.field);
        EXPECT_NE(violation.description, "");
      }
      EXPECT_THAT(fields, Contains(row.field));
    }
    EXPECT_FALSE(engine.loop.RunOne()) << "the engine was called";
  }
  EXPECT_EQ(engine.store.writes(), 0);
  EXPECT_EQ(engine.world.started, 0);
}

}  // namespace
}  // namespace understudy::service
