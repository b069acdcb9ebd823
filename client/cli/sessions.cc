// create, list, get, update, delete.

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

void AddLabels(CLI::App& command, std::vector<std::string>& labels) {
  command.add_option("--label", labels, "any number of them")
      ->allow_extra_args(false)
      ->check(CLI::Validator(
          [](std::string& label) { return CheckLabel(label); }, "KEY=VALUE"));
}

void DeclareCreate(CLI::App& command, CreateArguments& arguments) {
  auto& request = arguments.request;
  command.add_option("--agent", *request.mutable_agent(),
                     "the profile to run on (default: the only one)");
  command.add_option("--model", *request.mutable_model(),
                     "the model to start with (default: the profile's)");
  command.add_option("--directory", arguments.directory,
                     "where its agents work (default: here)");
  AddLabels(command, arguments.labels);
  command.add_option("--id", *request.mutable_session_id(),
                     "the session's id, a UUID (default: a new one)");
  AddRequestId(command, request);
}

std::string KeyOf(const std::string& label) {
  return label.substr(0, label.find('='));
}

std::string ValueOf(const std::string& label) {
  return label.substr(label.find('=') + 1);
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
    (*request.mutable_labels())[KeyOf(label)] = ValueOf(label);
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

// --- update

struct UpdateArguments {
  v1::UpdateSessionRequest request;
  std::vector<std::string> labels;
  std::vector<std::string> removed;
};

void DeclareUpdate(CLI::App& command, UpdateArguments& arguments) {
  auto& request = arguments.request;
  command
      .add_option("SESSION", *request.mutable_session()->mutable_session_id())
      ->required();
  AddLabels(command, arguments.labels);
  command
      .add_option("--remove-label", arguments.removed,
                  "its KEY; any number of them")
      ->allow_extra_args(false);
  AddRequestId(command, request);
}

int Update(const Context& context, const UpdateArguments& arguments) {
  v1::UpdateSessionRequest request = arguments.request;
  auto& mask = *request.mutable_update_mask();
  for (const std::string& label : arguments.labels) {
    (*request.mutable_session()->mutable_labels())[KeyOf(label)] =
        ValueOf(label);
    mask.add_paths(absl::StrCat("labels.", KeyOf(label)));
  }
  for (const std::string& key : arguments.removed) {
    mask.add_paths(absl::StrCat("labels.", key));
  }
  return Answer(
      context, context.client.UpdateSession(std::move(request), context.Call()),
      [](const v1::UpdateSessionResponse& response) {
        PrintSession(response.session());
      });
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
  AddCommand(app, chosen, "update", "Change a session's labels.", DeclareUpdate,
             Update);
  AddCommand(app, chosen, "delete",
             "Stop a session's agent and remove its record and events.",
             DeclareDelete, Delete);
}

}  // namespace understudy::client
