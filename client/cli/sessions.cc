// create, list, get, delete.

#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/event_text.h"
#include "client/cli/paging.h"

namespace understudy::client {
namespace {

// --- create

struct CreateArguments {
  v1::CreateSessionRequest request;
  std::string directory = ".";
  std::vector<std::string> labels;
};

std::string CheckLabel(const std::string& label) {
  const size_t equals = label.find('=');
  return equals == std::string::npos || equals == 0 ? "must be KEY=VALUE" : "";
}

void DeclareCreate(CLI::App& command, CreateArguments& arguments) {
  auto& request = arguments.request;
  command.add_option("--agent", *request.mutable_agent(),
                     "the profile to run on (default: the only one)");
  command.add_option("--model", *request.mutable_model(),
                     "the model to start with (default: the profile's)");
  command.add_option("--directory", arguments.directory,
                     "where its agents work (default: here)");
  command.add_option("--label", arguments.labels, "any number of them")
      ->check(CLI::Validator(
          [](std::string& label) { return CheckLabel(label); }, "KEY=VALUE"));
  command.add_option("--id", *request.mutable_session_id(),
                     "the session's id, a UUID (default: a new one)");
  AddRequestId(command, request);
}

// The directory as the server wants it: absolute, and as short as it gets.
std::string AbsolutePath(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path =
      std::filesystem::absolute(directory, error).lexically_normal();
  if (error) return directory;
  if (!path.has_filename() && path != path.root_path()) {
    path = path.parent_path();
  }
  return path.string();
}

int Create(const Context& context, const CreateArguments& arguments) {
  v1::CreateSessionRequest request = arguments.request;
  request.set_working_directory(AbsolutePath(arguments.directory));
  for (const std::string& label : arguments.labels) {
    const size_t equals = label.find('=');
    (*request.mutable_labels())[label.substr(0, equals)] =
        label.substr(equals + 1);
  }
  return Answer(
      context, context.client.CreateSession(std::move(request), context.Call()),
      [](const v1::Session& session) {
        std::cout << session.session_id() << "\n";
      });
}

// --- list

void DeclareList(CLI::App& command, v1::ListSessionsRequest& request) {
  command.add_option("--filter", *request.mutable_filter(),
                     "terms that all hold: agent=X state=IDLE label.KEY=VALUE");
}

int List(const Context& context, const v1::ListSessionsRequest& request) {
  return Answer(
      context, ListAll(context, &Client::ListSessions, request),
      [](const v1::ListSessionsResponse& response) {
        std::vector<std::vector<std::string>> rows;
        for (const v1::Session& session : response.sessions()) {
          rows.push_back({session.session_id(), session.agent(),
                          session.model().empty() ? "-" : session.model(),
                          EnumText(session.state()),
                          TimeText(session.update_time()),
                          OneLine(session.working_directory())});
        }
        PrintTable(
            {"SESSION", "AGENT", "MODEL", "STATE", "UPDATED", "DIRECTORY"},
            rows);
      });
}

// --- get

void DeclareGet(CLI::App& command, v1::GetSessionRequest& request) {
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command.add_flag_callback(
      "--prewarm", [&request] { request.set_prewarm(true); },
      "start its agent in the background");
}

void PrintSession(const v1::Session& session) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&rows](const std::string& name, const std::string& value) {
    if (!value.empty()) rows.push_back({name, value});
  };
  add("session", session.session_id());
  add("state", EnumText(session.state()));
  add("agent", session.agent());
  add("model", session.model());
  add("override", session.model_override());
  add("permission mode", session.permission_mode());
  add("directory", OneLine(session.working_directory()));
  add("conversation", session.agent_session_id());
  add("running turn", session.running_turn_id());
  if (session.queued_messages() > 0) {
    add("queued", absl::StrCat(session.queued_messages(), " messages"));
  }
  add("asks", absl::StrJoin(session.pending_permission_ids(), " "));
  add("events", absl::StrCat(session.oldest_sequence(), " to ",
                             session.newest_sequence()));
  add("agents so far", absl::StrCat(session.incarnation()));
  for (const auto& [key, value] : session.labels()) {
    add("label", OneLine(absl::StrCat(key, "=", value)));
  }
  if (session.has_usage()) add("usage", UsageText(session.usage()));
  add("created", TimeText(session.create_time()));
  add("updated", TimeText(session.update_time()));
  PrintTable({}, rows);
}

int Get(const Context& context, const v1::GetSessionRequest& request) {
  return Answer(context, context.client.GetSession(request, context.Call()),
                PrintSession);
}

// --- delete

void DeclareDelete(CLI::App& command, v1::DeleteSessionRequest& request) {
  command.add_option("SESSION", *request.mutable_session_id())->required();
  AddRequestId(command, request);
}

int Delete(const Context& context, const v1::DeleteSessionRequest& request) {
  const absl::Status status =
      context.client.DeleteSession(request, context.Call());
  if (!status.ok()) return Fail(context, status);
  if (context.format == Format::kJson) PrintJson(google::protobuf::Empty());
  return kSuccess;
}

}  // namespace

void AddSessionCommands(CLI::App& app, Command& chosen) {
  AddCommand(app, chosen, "create",
             "Create a session; prints its id. Starts no agent.", DeclareCreate,
             Create);
  AddCommand(app, chosen, "list", "List the sessions.", DeclareList, List);
  AddCommand(app, chosen, "get", "Show a session.", DeclareGet, Get);
  AddCommand(app, chosen, "delete",
             "Stop a session's agent and remove its record and events.",
             DeclareDelete, Delete);
}

}  // namespace understudy::client
