// switch-model, clear, resume.

#include <iostream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"

namespace understudy::client {
namespace {

template <typename Request>
void DeclareTransition(CLI::App& command, Request& request) {
  static const std::map<std::string, v1::TurnPolicy> kPolicies = {
      {"after-turn", v1::TURN_POLICY_AFTER_TURN},
      {"interrupt", v1::TURN_POLICY_INTERRUPT},
      {"fail", v1::TURN_POLICY_FAIL}};
  command.add_option("SESSION", *request.mutable_session_id())->required();
  command
      .add_option_function<v1::TurnPolicy>(
          "--if-running",
          [&request](v1::TurnPolicy policy) {
            request.set_turn_policy(policy);
          },
          "what to do if a turn runs (default: after-turn)")
      ->transform(CLI::CheckedTransformer(kPolicies).description(
          "{after-turn,interrupt,fail}"));
  AddRequestId(command, request);
}

void DeclareSwitchModel(CLI::App& command, v1::SwitchModelRequest& request) {
  DeclareTransition(command, request);
  command
      .add_option("MODEL", *request.mutable_model(),
                  "\"\": back to the profile's default")
      ->required();
}

void DeclareClear(CLI::App& command, v1::ClearRequest& request) {
  DeclareTransition(command, request);
  command.add_option("--resume", *request.mutable_resume_agent_session_id(),
                     "load this conversation in the same step");
}

void DeclareResume(CLI::App& command, v1::ResumeRequest& request) {
  DeclareTransition(command, request);
  command
      .add_option("CONVERSATION", *request.mutable_agent_session_id(),
                  "as `conversations` lists it")
      ->required();
  command.add_option("--model", *request.mutable_model(),
                     "continue on this model");
}

void PrintTransition(const v1::TransitionResponse& response) {
  std::string text;
  if (!response.changed()) {
    text = "unchanged";
  } else {
    text = EnumText(response.route());
    if (text.empty()) text = "changed";
  }
  absl::StrAppend(&text, "  model ",
                  response.model().empty() ? "(the agent's own default)"
                                           : response.model());
  if (response.changed() && response.previous_model() != response.model() &&
      !response.previous_model().empty()) {
    absl::StrAppend(&text, " (was ", response.previous_model(), ")");
  }
  if (response.changed() && !response.verified()) {
    absl::StrAppend(&text, ", not yet confirmed by the agent");
  }
  absl::StrAppend(&text, "  conversation ",
                  response.agent_session_id().empty()
                      ? "(named with its first message)"
                      : response.agent_session_id());
  const std::string& previous = response.previous_agent_session_id();
  if (!previous.empty() && previous != response.agent_session_id()) {
    absl::StrAppend(&text, " (was ", previous, ")");
  }
  std::cout << text << "\n";
}

int SwitchModel(const Context& context, const v1::SwitchModelRequest& request) {
  return Answer(context, context.client.SwitchModel(request, context.Call()),
                PrintTransition);
}

int Clear(const Context& context, const v1::ClearRequest& request) {
  return Answer(context, context.client.Clear(request, context.Call()),
                PrintTransition);
}

int Resume(const Context& context, const v1::ResumeRequest& request) {
  return Answer(context, context.client.Resume(request, context.Call()),
                PrintTransition);
}

}  // namespace

void AddTransitionCommands(CLI::App& app, Command& chosen) {
  AddCommand(app, chosen, "switch-model",
             "Move a session to another model, keeping its conversation.",
             DeclareSwitchModel, SwitchModel);
  AddCommand(app, chosen, "clear",
             "Give a session a fresh conversation, keeping everything else.",
             DeclareClear, Clear);
  AddCommand(app, chosen, "resume",
             "Continue an earlier conversation in a session.", DeclareResume,
             Resume);
}

}  // namespace understudy::client
