// understudy-rehearsal: a scripted agent that speaks the protocols of real
// coding agents. `understudy-rehearsal --help` documents it.

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "session/agent/rehearsal/acp.h"
#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/frames.h"
#include "session/agent/rehearsal/rpc.h"
#include "session/agent/rehearsal/stream_json.h"

namespace understudy::session {
namespace {

std::string WorkingDirectory() {
  std::error_code error;
  return std::filesystem::current_path(error).string();
}

// Nothing, and the exit code, if there is no such conversation.
absl::StatusOr<Transcript> OpenTranscript(const Options& options) {
  std::string id = options.session_id.empty() ? NewUuid() : options.session_id;
  if (options.resume) {
    absl::StatusOr<Transcript> resumed =
        Transcript::Resume(WorkingDirectory(), *options.resume,
                           options.version(), !options.legacy);
    if (!resumed.ok() || !options.fork_session) return resumed;
    return resumed->Fork(id);
  }
  if (Transcript::Exists(id)) {
    return absl::AlreadyExistsError("Error: Session ID " + id +
                                    " is already in use.");
  }
  return Transcript::New(WorkingDirectory(), id, options.version());
}

std::string FirstModel(const Options& options, const Models& models,
                       const Transcript& transcript) {
  if (!options.model.empty()) return models.Resolve(options.model);
  if (!options.legacy && !transcript.last_model().empty()) {
    return transcript.last_model();
  }
  return models.default_id();
}

void LogSpawn(AgentLog& log, int argc, char** argv, const std::string& model,
              bool resumed) {
  log.Write({{"event", "spawn"},
             {"argv", std::vector<std::string>(argv, argv + argc)},
             {"model", model},
             {"resumed", resumed}});
}

int RunStreamJson(int argc, char** argv, const Options& options) {
  Loop loop;
  AgentLog log(options.log);
  absl::StatusOr<Transcript> transcript = OpenTranscript(options);
  if (!transcript.ok()) {
    std::string error(transcript.status().message());
    fprintf(stderr, "%s\n", error.c_str());
    if (options.resume) {
      loop.WriteBlocking(Dump(NoConversationFrame(*options.resume, error)) +
                         "\n");
    }
    return 1;
  }
  Misbehaviour faults(loop, log, options.protocol, options.faults);
  Models models(options.models, options.bad_models);
  std::string model = FirstModel(options, models, *transcript);
  Conversation conversation{.options = options,
                            .loop = loop,
                            .faults = faults,
                            .log = log,
                            .models = std::move(models),
                            .transcript = *std::move(transcript),
                            .cwd = WorkingDirectory(),
                            .model = std::move(model),
                            .permission_mode = options.permission_mode};
  RestoreCost(conversation);
  log.set_session_id(conversation.session_id());
  LogSpawn(log, argc, argv, conversation.model, options.resume.has_value());
  loop.Pause(faults.Reach(Fault::Point::kSpawn).delay);
  StreamJson protocol(conversation);
  return loop.Run(protocol);
}

int RunAcp(int argc, char** argv, const Options& options) {
  Loop loop;
  AgentLog log(options.log);
  Misbehaviour faults(loop, log, options.protocol, options.faults);
  Models models(options.models, options.bad_models);
  RpcPeer client(loop, log, options.log_lines);
  AcpProcess process{.options = options,
                     .loop = loop,
                     .faults = faults,
                     .log = log,
                     .client = client,
                     .models = models,
                     .default_model = options.model.empty()
                                          ? models.default_id()
                                          : models.Resolve(options.model)};
  LogSpawn(log, argc, argv, process.default_model, /*resumed=*/false);
  loop.Pause(faults.Reach(Fault::Point::kSpawn).delay);
  Acp protocol(process);
  return loop.Run(protocol);
}

}  // namespace
}  // namespace understudy::session

int main(int argc, char** argv) {
  understudy::session::Options options;
  if (auto exit_code = understudy::session::ParseOptions(argc, argv, options)) {
    return *exit_code;
  }
  return options.protocol == understudy::session::Protocol::kAcp
             ? understudy::session::RunAcp(argc, argv, options)
             : understudy::session::RunStreamJson(argc, argv, options);
}
