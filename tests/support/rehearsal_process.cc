#include "tests/support/rehearsal_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/support/processes.h"

namespace understudy::session {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kPatienceMs = 30000;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool IsReady(int fd) {
  pollfd poll_fd = {fd, POLLIN, 0};
  int ready;
  do {
    ready = poll(&poll_fd, 1, kPatienceMs);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

RehearsalProcess::Arguments ForStreamJson(
    const RehearsalProcess::Options& options) {
  RehearsalProcess::Arguments arguments = {
      "-p",          "--input-format", "stream-json",       "--output-format",
      "stream-json", "--verbose",      "--setting-sources="};
  if (options.partial_messages) {
    arguments.push_back("--include-partial-messages");
  }
  if (options.asks_permission) {
    arguments.insert(arguments.end(), {"--permission-prompt-tool", "stdio"});
  }
  return arguments;
}

}  // namespace

std::string RandomUuid() {
  std::string uuid = ReadFile("/proc/sys/kernel/random/uuid");
  uuid.resize(36);
  return uuid;
}

std::function<bool(const Json&)> LineOf(const std::string& type) {
  return [type](const Json& line) { return line.value("type", "") == type; };
}

Json FirstOf(const std::vector<Json>& lines, const std::string& type,
             const std::string& subtype) {
  for (const Json& line : lines) {
    if (line.value("type", "") != type) continue;
    if (subtype.empty() || line.value("subtype", "") == subtype) return line;
  }
  return nullptr;
}

RehearsalHome::RehearsalHome() {
  std::string path = (fs::temp_directory_path() / "rehearsal-XXXXXX").string();
  path_ = mkdtemp(path.data());
}

RehearsalHome::~RehearsalHome() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string RehearsalHome::Folder(const std::string& name) const {
  fs::create_directories(fs::path(path_) / name);
  return path_ + "/" + name;
}

std::vector<Json> RehearsalHome::Log() const {
  std::vector<Json> entries;
  std::ifstream file(path_ + "/log");
  for (std::string line; std::getline(file, line);) {
    entries.push_back(Json::parse(line));
  }
  return entries;
}

std::vector<Json> RehearsalHome::Log(std::string_view event) const {
  std::vector<Json> entries;
  for (Json& entry : Log()) {
    if (entry["event"] == event) entries.push_back(std::move(entry));
  }
  return entries;
}

std::string RehearsalHome::FileOf(const std::string& session_id) const {
  std::error_code error;
  for (const auto& project :
       fs::directory_iterator(path_ + "/projects", error)) {
    fs::path file = project.path() / (session_id + ".jsonl");
    if (fs::exists(file)) return file.string();
  }
  return "";
}

RehearsalProcess::RehearsalProcess(const RehearsalHome& home,
                                   const Options& options)
    : home_(home) {
  static std::atomic<int> count = 0;
  stderr_path_ = home.path() + "/stderr" + std::to_string(++count);
  Arguments arguments =
      options.acp ? Arguments{"--protocol=acp"} : ForStreamJson(options);
  arguments.insert(arguments.begin(), options.program);
  arguments.push_back("--log=" + home.path() + "/log");
  arguments.insert(arguments.end(), options.arguments.begin(),
                   options.arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  signal(SIGPIPE, SIG_IGN);
  int in[2];
  int out[2];
  EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  int err = open(stderr_path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  pid_ = fork();
  if (pid_ == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    setenv("CLAUDE_CONFIG_DIR", home.path().c_str(), 1);
    setenv("IS_SANDBOX", "1", 1);
    setenv("UNDERSTUDY_REHEARSAL", options.environment.c_str(), 1);
    if (chdir(options.working_directory.c_str()) != 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(in[0]);
  close(out[1]);
  close(err);
  input_ = in[1];
  output_ = out[0];
}

RehearsalProcess::~RehearsalProcess() {
  CloseInput();
  close(output_);
  if (!reaped_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (const Json& entry : home_.Log()) {
    if (entry["pid"] != pid_ || !entry.contains("child")) continue;
    kill(-entry["child"].get<pid_t>(), SIGKILL);
  }
}

void RehearsalProcess::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = write(input_, bytes.data(), bytes.size());
    if (n <= 0) return;  // it is gone; what it said tells why
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string RehearsalProcess::User(const std::string& text, Json more) {
  std::string uuid = RandomUuid();
  Json line = {{"type", "user"},
               {"message", {{"role", "user"}, {"content", text}}},
               {"parent_tool_use_id", nullptr},
               {"uuid", uuid}};
  line.update(more);
  Send(line);
  return uuid;
}

std::string RehearsalProcess::Request(const std::string& subtype, Json more) {
  std::string id = "request-" + std::to_string(++last_request_);
  Json request = {{"subtype", subtype}};
  request.update(more);
  Send({{"type", "control_request"}, {"request_id", id}, {"request", request}});
  return id;
}

void RehearsalProcess::Permit(const Json& request, const Json& answer) {
  Send({{"type", "control_response"},
        {"response",
         {{"subtype", "success"},
          {"request_id", request["request_id"]},
          {"response", answer}}}});
}

int RehearsalProcess::Call(const std::string& method, Json params) {
  const int id = ++last_request_;
  Send({{"jsonrpc", "2.0"},
        {"id", id},
        {"method", method},
        {"params", std::move(params)}});
  return id;
}

void RehearsalProcess::Notify(const std::string& method, Json params) {
  Send({{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}});
}

std::vector<Json> RehearsalProcess::UntilAnswer(int id) {
  return Until([id](const Json& line) {
    return !line.contains("method") && line.value("id", Json()) == id;
  });
}

void RehearsalProcess::CloseInput() {
  if (input_ >= 0) close(std::exchange(input_, -1));
}

bool RehearsalProcess::Fill() {
  if (!IsReady(output_)) {
    ADD_FAILURE() << "the agent says nothing; stderr: " << Stderr();
    return false;
  }
  char chunk[1 << 16];
  ssize_t n = read(output_, chunk, sizeof(chunk));
  if (n <= 0) return false;
  buffer_.append(chunk, static_cast<size_t>(n));
  return true;
}

std::string RehearsalProcess::NextBytes() {
  size_t scanned = 0;
  size_t end;
  while ((end = buffer_.find('\n', scanned)) == std::string::npos) {
    scanned = buffer_.size();
    if (!Fill()) return std::exchange(buffer_, "");
  }
  std::string line = buffer_.substr(0, end + 1);
  buffer_.erase(0, end + 1);
  return line;
}

std::string RehearsalProcess::Some() {
  if (buffer_.empty()) Fill();
  return std::exchange(buffer_, "");
}

Json RehearsalProcess::Next() {
  std::string line = NextBytes();
  if (line.empty()) return nullptr;
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(json.is_discarded()) << line;
  return json;
}

std::vector<Json> RehearsalProcess::Until(
    const std::function<bool(const Json&)>& wanted) {
  std::vector<Json> lines;
  while (true) {
    lines.push_back(Next());
    if (lines.back().is_null()) {
      ADD_FAILURE() << "the agent ended; stderr: " << Stderr();
      return lines;
    }
    if (wanted(lines.back())) return lines;
  }
}

std::vector<Json> RehearsalProcess::UntilResult() {
  return Until(LineOf("result"));
}

Json RehearsalProcess::Response(const std::string& request_id) {
  std::vector<Json> lines = Until([&](const Json& line) {
    return line.value("type", "") == "control_response" &&
           line["response"]["request_id"] == request_id;
  });
  return lines.back().is_null() ? Json() : lines.back()["response"];
}

void RehearsalProcess::Signal(int signal) { kill(pid_, signal); }

int RehearsalProcess::Wait() {
  while (Fill()) buffer_.clear();
  if (!WaitUntilGone({pid_}, absl::Milliseconds(kPatienceMs))) {
    ADD_FAILURE() << "the agent does not end";
    kill(pid_, SIGKILL);
  }
  int status;
  waitpid(pid_, &status, 0);
  reaped_ = true;
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string RehearsalProcess::Stderr() const { return ReadFile(stderr_path_); }

}  // namespace understudy::session
