// The model and the mode of a conversation that an AcpAgent opens or changes:
// what is wanted is said, also where the agent reports that it is so already.

#include <string>
#include <utility>

#include "proto/error.h"
#include "session/agent/acp_agent.h"
#include "session/agent/acp_events.h"
#include "session/agent/acp_settings.h"
#include "session/base/concat.h"

namespace understudy::session {

// --- The model --------------------------------------------------------------

void AcpAgent::ChooseModel() {
  Course& course = *course_;
  const std::string wanted = course.model.value_or(wanted_model_);
  const AcpSetting& setting = course.settings.model;
  if (!setting.exists()) {
    if (wanted.empty()) return ChooseMode();
    if (course.loaded && !default_model_.has_value()) {
      // It may be that it tells its settings of new conversations only.
      return LearnDefaults([this] { ChooseModel(); });
    }
    return Refuse(
        MakeError(Reason::kCapabilityMissing,
                  Concat({"switch ", name(), " to ", wanted, ": ", agent_name_,
                          " ", version_, " offers no models"}),
                  {{"capability", "switch_model"}}));
  }
  if (!wanted.empty()) {
    // After a load it is said again, whatever the agent reports: codex-acp
    // 0.16 reports another model than it uses.
    if (setting.current == wanted && !course.loaded && !course.model) {
      course.verified = true;
      return ChooseMode();
    }
    return SetModel(wanted);
  }
  if (course.opened && !course.loaded) {  // as a new one is
    course.verified = !setting.current.empty();
    return ChooseMode();
  }
  if (setting.Offers("default")) return SetModel("default");
  if (!default_model_.has_value()) {
    return LearnDefaults([this] { ChooseModel(); });
  }
  if (!default_model_->empty()) return SetModel(*default_model_);
  Refuse(MakeError(Reason::kCapabilityMissing,
                   Concat({"switch ", name(), " to its own default model: ",
                           agent_name_, " ", version_, " does not tell it"}),
                   {{"capability", "switch_model"}}));
}

// A conversation that is loaded, or has been switched, does not tell what an
// agent's own default is; a new one does.
void AcpAgent::LearnDefaults(absl::AnyInvocable<void() &&> then) {
  Call("session/new",
       Concat({R"({"cwd":)", JsonString(directory_), R"(,"mcpServers":[]})"}),
       [this, then = std::move(then)](const JsonRpcMessage& answer) mutable {
         AcpSettings fresh;
         fresh.Read(answer.result);
         Close(answer.result["sessionId"].String());
         default_model_ = fresh.model.current;
         default_mode_ = fresh.mode.current;
         Course& course = *course_;
         for (auto [has, learnt] :
              {std::pair(&course.settings.model, &fresh.model),
               std::pair(&course.settings.mode, &fresh.mode)}) {
           if (has->exists()) continue;
           *has = *learnt;
           has->current.clear();  // that is not what this one is at
         }
         std::move(then)();
       });
}

void AcpAgent::SetModel(const std::string& model) {
  const AcpCall call =
      AcpSetModel(course_->conversation, course_->settings.model, model);
  // It may be told of by an update, before the answer.
  Call(
      call.method, call.params,
      [this, model, before = course_->settings.model.current](
          const JsonRpcMessage& answer) { OnModelSet(model, before, answer); });
}

void AcpAgent::OnModelSet(const std::string& model, const std::string& before,
                          const JsonRpcMessage& answer) {
  Course& course = *course_;
  if (!answer.ok()) {
    const JsonRpcFault fault = ReadJsonRpcFault(answer.error);
    const Reason reason =
        fault.code == kJsonRpcMethodNotFound ? Reason::kCapabilityMissing
        : fault.code == kJsonRpcInternalError && !IsAboutModel(fault.text)
            ? Reason::kAgentProtocol  // whatever that was
            : Reason::kModelRejected;
    return Refuse(MakeError(
        reason, Concat({"switch ", name(), " to ", model, ": ", fault.text})));
  }
  AcpSettings said;
  said.Read(answer.result);
  course.verified = said.model.exists();
  if (course.verified) {
    course.settings.Read(answer.result);
  } else {
    course.settings.model.current = model;
  }
  const std::string& now = course.settings.model.current;
  // What is not on offer may be another name of the same.
  if (now != model && course.settings.model.Offers(model)) {
    return Refuse(MakeError(
        now == before ? Reason::kModelRejected : Reason::kAgentProtocol,
        Concat({"switch ", name(), " to ", model, ": it ",
                now == before ? "stays with " : "goes to ", now})));
  }
  ChooseMode();
}

// --- The mode ---------------------------------------------------------------

// A conversation that is not changed keeps the mode that it has.
void AcpAgent::ChooseMode() {
  Course& course = *course_;
  const AcpSetting& setting = course.settings.mode;
  std::string wanted = wanted_mode_;
  if (wanted.empty() && course.loaded) wanted = default_mode_.value_or("");
  if (!course.opened || wanted.empty() ||
      (wanted == setting.current && !course.loaded)) {
    return Arrive();
  }
  if (!setting.exists()) {
    if (wanted_mode_.empty()) return Arrive();
    return Refuse(
        MakeError(Reason::kAgentStartFailed,
                  Concat({"start ", name(), " in permission mode ", wanted,
                          ": ", agent_name_, " ", version_, " has no modes"})));
  }
  const AcpCall call = AcpSetMode(course.conversation, setting, wanted);
  Call(call.method, call.params, [this, wanted](const JsonRpcMessage& answer) {
    if (!answer.ok()) {
      return Refuse(
          MakeError(Reason::kAgentStartFailed,
                    Concat({"start ", name(), " in permission mode ", wanted,
                            ": ", ReadJsonRpcFault(answer.error).text})));
    }
    course_->settings.Read(answer.result);
    course_->settings.mode.current = wanted;
    Arrive();
  });
}

void AcpAgent::MakeMode(const std::string& mode) {
  const AcpSetting& setting = settings_.mode;
  const std::string wanted = mode.empty() ? default_mode_.value_or("") : mode;
  if (!setting.exists() || wanted.empty()) {
    return FinishMode(
        MakeError(Reason::kCapabilityMissing,
                  Concat({"set the permission mode of ", name(), ": ",
                          agent_name_, " ", version_,
                          setting.exists() ? " does not tell its default"
                                           : " has no modes"}),
                  {{"capability", "permissions"}}));
  }
  if (!setting.choices.empty() && !setting.Offers(wanted)) {
    std::string modes;
    for (const AcpSetting::Choice& choice : setting.choices) {
      modes.append(modes.empty() ? "" : ", ").append(choice.value);
    }
    return FinishMode(FieldInvalid(
        "permission_mode",
        Concat({"the agent has no mode ", wanted, ", but ", modes})));
  }
  const AcpCall call = AcpSetMode(current_.conversation, setting, wanted);
  Call(call.method, call.params,
       [this, mode, wanted](const JsonRpcMessage& answer) {
         if (!answer.ok()) {
           const JsonRpcFault fault = ReadJsonRpcFault(answer.error);
           return FinishMode(fault.code == kJsonRpcMethodNotFound
                                 ? MakeError(Reason::kCapabilityMissing,
                                             fault.text,
                                             {{"capability", "permissions"}})
                                 : FieldInvalid("permission_mode", fault.text));
         }
         wanted_mode_ = mode;
         const bool changes = settings_.mode.current != wanted;
         settings_.Read(answer.result);
         settings_.mode.current = wanted;
         const Witness witness(*this);
         if (changes) {
           v1::Event event;
           event.mutable_notice()->set_kind(v1::NOTICE_KIND_MODE);
           event.mutable_notice()->set_message(wanted);
           observer().OnEvent(std::move(event), {});
         }
         if (!witness.gone()) FinishMode(absl::OkStatus());
       });
}

}  // namespace understudy::session
