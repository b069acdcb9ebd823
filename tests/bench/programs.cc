#include "tests/bench/programs.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "simdjson.h"
#include "tests/bench/report.h"

namespace understudy::bench {
namespace {

constexpr size_t kBlock = 1 << 20;

[[noreturn]] void Die(std::string_view what) {
  std::cerr << what << ": " << strerror(errno) << "\n";
  std::exit(1);
}

}  // namespace

std::string Program(std::string_view name) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  return (self.parent_path() / name).string();
}

Folder::Folder()
    : path_((std::filesystem::temp_directory_path() / "understudy-bench-XXXXXX")
                .string()) {
  if (mkdtemp(path_.data()) == nullptr) Die("make a folder");
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Child::Child(const std::vector<std::string>& argv, const Folder& folder) {
  signal(SIGPIPE, SIG_IGN);
  int in[2];
  int out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) Die("pipe");
  fcntl(out[0], F_SETPIPE_SZ, kBlock);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addchdir_np(&actions, folder.path().c_str());
  std::vector<char*> arguments;
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::string home = "HOME=" + folder.path();
  std::string path = absl::StrCat("PATH=", getenv("PATH"));
  std::string flush = "CLAUDE_CODE_EAGER_FLUSH=1";  // as the server sets it
  char* environment[] = {home.data(), path.data(), flush.data(), nullptr};
  errno = posix_spawn(&pid_, argv.front().c_str(), &actions, nullptr,
                      arguments.data(), environment);
  if (errno != 0) Die(argv.front());
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

Child::~Child() {
  close(input_);
  close(output_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

Server::Server(const std::string& config)
    : target_("unix:" + folder_.path() + "/run/server.sock") {
  const std::string file = folder_.path() + "/config.textproto";
  std::ofstream(file) << config
                      << "\nprofile { name: \"rehearsal\" agent: \"claude\" "
                         "command: \""
                      << Program("understudy-rehearsal") << "\" }\n";
  process_ = std::make_unique<Child>(
      std::vector<std::string>{Program("understudyd"), "--listen=" + target_,
                               "--config=" + file,
                               "--store=sqlite:" + folder_.path() + "/store.db",
                               "--log-level=error"},
      folder_);
}

std::unique_ptr<client::Client> Server::Connect() const {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (true) {
    auto client = client::Client::Connect(target_);
    if (client.ok() || absl::Now() > deadline) {
      return OrDie(std::move(client), "connect");
    }
    absl::SleepFor(absl::Milliseconds(5));  // it is starting
  }
}

std::string Server::CreateSession(const client::Client& client,
                                  const std::string& profile) const {
  v1::CreateSessionRequest request;
  request.set_agent(profile);
  request.set_working_directory(folder_.path());
  return OrDie(client.CreateSession(request), "create a session").session_id();
}

RawAgent::RawAgent(const std::vector<std::string>& arguments)
    : process_(
          [&] {
            std::vector<std::string> argv = {Program("understudy-rehearsal"),
                                             "--output-format",
                                             "stream-json",
                                             "--input-format",
                                             "stream-json",
                                             "--verbose",
                                             "--include-partial-messages",
                                             "--permission-prompt-tool",
                                             "stdio"};
            argv.insert(argv.end(), arguments.begin(), arguments.end());
            return argv;
          }(),
          folder_),
      buffer_(2 * kBlock + simdjson::SIMDJSON_PADDING) {
  Write(R"({"type":"control_request","request_id":"u-0",)"
        R"("request":{"subtype":"initialize","hooks":null}})");
  ReadUntil("control_response");
}

void RawAgent::Write(std::string_view line) {
  const std::string bytes = std::string(line) + "\n";
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t n = write(process_.input(), rest.data(), rest.size());
    if (n <= 0) Die("write to the agent");
    rest.remove_prefix(n);
  }
}

size_t RawAgent::RunTurn(std::string_view text) {
  char uuid[37];
  snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012d", ++turns_);
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  Write(absl::StrCat(R"({"type":"user","message":{"role":"user","content":")",
                     escaped, R"("},"parent_tool_use_id":null,"uuid":")", uuid,
                     R"(","client_composed":true})"));
  return ReadUntil("result");
}

size_t RawAgent::ReadUntil(std::string_view wanted) {
  static simdjson::ondemand::parser parser;
  size_t stream_events = 0;
  while (true) {
    const void* found;
    while ((found = memchr(buffer_.data() + begin_, '\n', end_ - begin_)) ==
           nullptr) {
      if (begin_ > 0) {
        memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
      }
      if (end_ > kBlock) Die("read the agent: a line is too long");
      const ssize_t n = read(process_.output(), buffer_.data() + end_, kBlock);
      if (n <= 0) Die("read the agent");
      end_ += n;
    }
    const char* const line = buffer_.data() + begin_;
    const size_t size = static_cast<const char*>(found) - line;
    begin_ += size + 1;
    simdjson::ondemand::document document;
    std::string_view type;
    std::string_view session_id;
    if (parser.iterate(line, size, buffer_.size() - (line - buffer_.data()))
                .get(document) != simdjson::SUCCESS ||
        document["type"].get(type) != simdjson::SUCCESS) {
      Die("parse a line of the agent");
    }
    if (type == "stream_event") {
      ++stream_events;
      if (document["session_id"].get(session_id) != simdjson::SUCCESS) {
        Die("parse a line of the agent: no session_id");
      }
    }
    if (type == wanted) return stream_events;
  }
}

}  // namespace understudy::bench
