// RehearsalProcess: the rehearsal agent as a host sees it, for tests: a
// process with three pipes, and a home of its own.
//
// Every wait ends after half a minute at the latest, as a test failure.
#ifndef UNDERSTUDY_TESTS_SUPPORT_REHEARSAL_PROCESS_H_
#define UNDERSTUDY_TESTS_SUPPORT_REHEARSAL_PROCESS_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"

namespace understudy::session {

// A folder for conversations and logs; gone with the object.
class RehearsalHome {
 public:
  RehearsalHome();
  RehearsalHome(const RehearsalHome&) = delete;
  RehearsalHome& operator=(const RehearsalHome&) = delete;
  ~RehearsalHome();

  const std::string& path() const { return path_; }
  // A new folder in it.
  std::string Folder(const std::string& name) const;
  // The lines of the agents' --log file; all agents of the home have one.
  std::vector<nlohmann::json> Log() const;
  // Those with this event.
  std::vector<nlohmann::json> Log(std::string_view event) const;
  // The file of a conversation; "" if there is none.
  std::string FileOf(const std::string& session_id) const;

 private:
  std::string path_;
};

class RehearsalProcess {
 public:
  using Json = nlohmann::json;
  using Arguments = std::vector<std::string>;

  struct Options {
    std::string program;
    Arguments arguments = {};  // beside those of every host
    std::string working_directory = "/";
    std::string environment = "";  // UNDERSTUDY_REHEARSAL
    bool partial_messages = true;
    bool asks_permission = true;
    bool acp = false;  // speaks the Agent Client Protocol
  };

  RehearsalProcess(const RehearsalHome& home, const Options& options);
  RehearsalProcess(const RehearsalProcess&) = delete;
  RehearsalProcess& operator=(const RehearsalProcess&) = delete;
  // Kills the process, and the process trees that it logged.
  ~RehearsalProcess();

  pid_t pid() const { return pid_; }
  void Write(std::string_view bytes);
  void Send(const Json& message) { Write(message.dump() + "\n"); }
  // Sends a message with a new uuid, which it returns.
  std::string User(const std::string& text, Json more = Json::object());
  // Sends a control request and returns its id.
  std::string Request(const std::string& subtype, Json more = Json::object());
  // Answers a permission request of the agent.
  void Permit(const Json& request, const Json& answer);
  void CloseInput();

  // In the Agent Client Protocol: sends a request and returns its id.
  int Call(const std::string& method, Json params);
  void Notify(const std::string& method, Json params);
  // The answer to that request: the whole message.
  Json Answer(int id) { return UntilAnswer(id).back(); }
  // Everything up to it, with it.
  std::vector<Json> UntilAnswer(int id);
  Json Do(const std::string& method, Json params) {
    return Answer(Call(method, std::move(params)));
  }

  // The next line; null once there are none.
  Json Next();
  std::string NextBytes();
  // What there is, a line or not.
  std::string Some();
  // Everything up to the first line that `wanted` accepts, with that line.
  std::vector<Json> Until(const std::function<bool(const Json&)>& wanted);
  std::vector<Json> UntilResult();
  Json Result() { return UntilResult().back(); }
  // The `response` of the answer to that request.
  Json Response(const std::string& request_id);
  Json Ask(const std::string& subtype, Json more = Json::object()) {
    return Response(Request(subtype, std::move(more)));
  }

  void Signal(int signal);
  // Waits for its end: the exit code, or minus the signal. Output that is left
  // is read and dropped.
  int Wait();
  std::string Stderr() const;

 private:
  bool Fill();

  const RehearsalHome& home_;
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string stderr_path_;
  std::string buffer_;
  bool reaped_ = false;
  int last_request_ = 0;
};

// A random UUID.
std::string RandomUuid();
// Accepts the lines of this type.
std::function<bool(const nlohmann::json&)> LineOf(const std::string& type);
// The first line of this type and subtype; null if there is none.
nlohmann::json FirstOf(const std::vector<nlohmann::json>& lines,
                       const std::string& type,
                       const std::string& subtype = "");

}  // namespace understudy::session

#endif  // UNDERSTUDY_TESTS_SUPPORT_REHEARSAL_PROCESS_H_
