// interrupt, permit, permission-mode.

#include <iostream>
#include <map>
#include <string>

#include "client/cli/command.h"

namespace understudy::client {
namespace {

void DeclareInterrupt(CLI::App& command, v1::InterruptRequest& request) {
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command.add_option("--turn", *request.mutable_turn_id(),
                     "only this one (default: whichever runs)");
  AddRequestId(command, request);
}

int Interrupt(const Context& context, const v1::InterruptRequest& request) {
  return Answer(context, context.client.Interrupt(request, context.Call()),
                [](const v1::InterruptResponse& response) {
                  if (response.interrupted()) {
                    std::cout << "interrupted " << response.turn_id() << "\n";
                  } else {
                    std::cout << "nothing to interrupt\n";
                  }
                });
}

void DeclarePermit(CLI::App& command, v1::ResolvePermissionRequest& request) {
  static const std::map<std::string, v1::PermissionDecision> kDecisions = {
      {"allow", v1::PERMISSION_DECISION_ALLOW},
      {"deny", v1::PERMISSION_DECISION_DENY}};
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command.add_option("PERMISSION", *request.mutable_permission_id())
      ->required();
  command
      .add_option_function<v1::PermissionDecision>(
          "DECISION",
          [&request](v1::PermissionDecision decision) {
            request.set_decision(decision);
          },
          "allow or deny")
      ->required()
      ->transform(
          CLI::CheckedTransformer(kDecisions).description("{allow,deny}"));
  command.add_flag_callback(
      "--always",
      [&request] { request.set_scope(v1::PERMISSION_SCOPE_SESSION); },
      "for all like it in this session");
  command.add_option("--message", *request.mutable_message(),
                     "what to tell the agent, when it is denied");
  AddRequestId(command, request);
}

int Permit(const Context& context,
           const v1::ResolvePermissionRequest& request) {
  return Answer(context,
                context.client.ResolvePermission(request, context.Call()),
                [](const v1::ResolvePermissionResponse&) {});
}

void DeclareMode(CLI::App& command, v1::SetPermissionModeRequest& request) {
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command
      .add_option("MODE", *request.mutable_permission_mode(),
                  "in the agent's own word; \"\": the profile's")
      ->required();
  AddRequestId(command, request);
}

int SetMode(const Context& context,
            const v1::SetPermissionModeRequest& request) {
  return Answer(context,
                context.client.SetPermissionMode(request, context.Call()),
                [](const v1::SetPermissionModeResponse& response) {
                  std::cout << (response.permission_mode().empty()
                                    ? "(the agent's own default)"
                                    : response.permission_mode())
                            << "\n";
                });
}

}  // namespace

void AddTurnCommands(CLI::App& app, Command& chosen) {
  AddCommand(app, chosen, "interrupt",
             "Interrupt the running turn, or withdraw a queued one.",
             DeclareInterrupt, Interrupt);
  AddCommand(app, chosen, "permit",
             "Answer an agent that asks whether it may use a tool.",
             DeclarePermit, Permit);
  AddCommand(app, chosen, "permission-mode",
             "Set the agent's permission mode, at once and for good.",
             DeclareMode, SetMode);
}

}  // namespace understudy::client
