// A server of nothing but a launcher, which a test kills: doomed_server GUARD
// NAME PROGRAM [ARGUMENT]... Starts the program twice, says its mark ("mark
// ..."), each agent's pid ("agent PID") and each of their lines; then it waits
// for its end. Its stdin is not read.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "session/base/event_loop.h"
#include "session/process/subprocess.h"
#include "session/process/sweep.h"

namespace understudy::session {
namespace {

class Printer final : public Subprocess::Observer {
 public:
  void OnStarted(pid_t pid) override {
    std::printf("agent %d\n", pid);
    std::fflush(stdout);
  }
  void OnLine(char* line, size_t size) override {
    std::printf("%.*s\n", static_cast<int>(size), line);
    std::fflush(stdout);
  }
  void OnLinesDone() override {}
  void OnExit(const ExitStatus& status) override {
    std::printf("exit %s\n", status.ToString().c_str());
    std::fflush(stdout);
  }
};

int Main(int argc, char** argv) {
  if (argc < 4) return 2;
  const absl::StatusOr<std::string> mark = NewServerMark();
  if (!mark.ok()) return 1;
  std::printf("mark %s\n", mark->c_str());
  std::fflush(stdout);
  const std::unique_ptr<RunnableLoop> loop = NewAsioLoop();
  const std::unique_ptr<Launcher> launcher = NewPosixLauncher(
      *loop,
      {.guard_path = argv[1], .marker_name = argv[2], .marker_value = *mark});
  Command command;
  command.argv.assign(argv + 3, argv + argc);
  command.cwd = "/";
  Printer printer;
  std::vector<std::unique_ptr<Subprocess>> agents;
  for (int i = 0; i < 2; ++i) {
    auto agent = launcher->Launch(command, &printer);
    if (!agent.ok()) return 1;
    agents.push_back(*std::move(agent));
  }
  loop->Run();
  return 0;
}

}  // namespace
}  // namespace understudy::session

int main(int argc, char** argv) {
  return understudy::session::Main(argc, argv);
}
