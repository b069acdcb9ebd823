// agents, models, conversations, info.

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/paging.h"

namespace understudy::client {
namespace {

std::string OrDash(const std::string& text) {
  return text.empty() ? "-" : text;
}

// --- agents

void DeclareAgents(CLI::App&, v1::ListAgentsRequest&) {}

std::string CapabilitiesText(const v1::Capabilities& capabilities) {
  std::vector<std::string> can;
  if (capabilities.native_switch()) can.push_back("switch");
  if (capabilities.clear()) can.push_back("clear");
  if (capabilities.resume()) can.push_back("resume");
  if (capabilities.interrupt()) can.push_back("interrupt");
  if (capabilities.permissions()) can.push_back("permissions");
  // Before a first handshake, it is what the kind can do at most.
  return OrDash(absl::StrJoin(can, ",")) + (capabilities.known() ? "" : " ?");
}

int Agents(const Context& context, const v1::ListAgentsRequest& request) {
  return Answer(
      context, ListAll(context, &Client::ListAgents, request),
      [](const v1::ListAgentsResponse& response) {
        std::vector<std::vector<std::string>> rows;
        for (const v1::Agent& agent : response.agents()) {
          rows.push_back({agent.name(), agent.kind(), OrDash(agent.version()),
                          OrDash(agent.default_model()),
                          CapabilitiesText(agent.capabilities())});
        }
        PrintTable({"AGENT", "KIND", "VERSION", "DEFAULT MODEL", "CAN"}, rows);
      });
}

// --- models

void DeclareModels(CLI::App& command, v1::ListModelsRequest& request) {
  auto* const session = command.add_option(
      "SESSION", *request.mutable_session_id(), "whose models to list");
  command
      .add_option("--agent", *request.mutable_agent(),
                  "the profile whose models to list (default: the only one)")
      ->excludes(session);
}

int Models(const Context& context, const v1::ListModelsRequest& request) {
  return Answer(
      context, ListAll(context, &Client::ListModels, request),
      [](const v1::ListModelsResponse& response) {
        std::vector<std::vector<std::string>> rows;
        for (const v1::Model& model : response.models()) {
          std::vector<std::string> notes;
          if (model.is_current()) notes.push_back("current");
          if (model.is_default()) notes.push_back("default");
          if (!model.known()) notes.push_back("not named by the agent");
          rows.push_back({model.model(), OrDash(OneLine(model.name())),
                          absl::StrJoin(notes, ", ")});
        }
        PrintTable({"MODEL", "NAME", "NOTES"}, rows);
      });
}

// --- conversations

void DeclareConversations(CLI::App& command,
                          v1::ListConversationsRequest& request) {
  command.add_option("SESSION", *request.mutable_session_id())->required();
}

int Conversations(const Context& context,
                  const v1::ListConversationsRequest& request) {
  return Answer(
      context, ListAll(context, &Client::ListConversations, request),
      [](const v1::ListConversationsResponse& response) {
        std::vector<std::vector<std::string>> rows;
        for (const v1::Conversation& conversation : response.conversations()) {
          rows.push_back({conversation.agent_session_id(),
                          OrDash(TimeText(conversation.update_time())),
                          OrDash(EnumText(conversation.source())),
                          OneLine(conversation.first_prompt(), 60)});
        }
        PrintTable({"CONVERSATION", "UPDATED", "SOURCE", "BEGINS"}, rows);
      });
}

// --- info

void DeclareInfo(CLI::App&, v1::GetServerInfoRequest&) {}

int Info(const Context& context, const v1::GetServerInfoRequest& request) {
  return Answer(context, context.client.GetServerInfo(request, context.Call()),
                [](const v1::GetServerInfoResponse& response) {
                  PrintTable({}, {{"version", response.version()},
                                  {"build", OrDash(response.build())},
                                  {"store", response.store_kind()},
                                  {"node", OrDash(response.node_id())},
                                  {"uptime", DurationText(response.uptime())}});
                });
}

}  // namespace

void AddListingCommands(CLI::App& app, Command& chosen) {
  AddCommand(app, chosen, "agents", "List the profiles a session may run on.",
             DeclareAgents, Agents);
  AddCommand(app, chosen, "models",
             "List the models a session or a profile may switch to.",
             DeclareModels, Models);
  AddCommand(app, chosen, "conversations",
             "List the conversations a session may resume.",
             DeclareConversations, Conversations);
  AddCommand(app, chosen, "info", "Say what the server is.", DeclareInfo, Info);
}

}  // namespace understudy::client
