// understudy-rehearsal: a scripted agent that speaks the protocols of real
// coding agents. `understudy-rehearsal --help` documents it.

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "session/agent/rehearsal/conversation.h"
#include "session/agent/rehearsal/frames.h"
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

int Run(int argc, char** argv, const Options& options) {
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
  Misbehaviour faults(loop, log, options.faults);
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
  log.Write({{"event", "spawn"},
             {"argv", std::vector<std::string>(argv, argv + argc)},
             {"model", conversation.model},
             {"resumed", options.resume.has_value()}});
  loop.Pause(faults.Reach(Fault::Point::kSpawn).delay);
  StreamJson protocol(conversation);
  return loop.Run(protocol);
}

}  // namespace
}  // namespace understudy::session

int main(int argc, char** argv) {
  understudy::session::Options options;
  if (auto exit_code = understudy::session::ParseOptions(argc, argv, options)) {
    return *exit_code;
  }
  return understudy::session::Run(argc, argv, options);
}
