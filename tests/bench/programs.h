// The programs that are measured: a server of the benchmark's own, and the
// rehearsal agent without one.

#ifndef UNDERSTUDY_TESTS_BENCH_PROGRAMS_H_
#define UNDERSTUDY_TESTS_BENCH_PROGRAMS_H_

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "client/cpp/client.h"

namespace understudy::bench {

// A private folder, gone with the object. Sessions work in it, and agents keep
// their transcripts there.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A program with two pipes. Killed by the destructor.
class Child {
 public:
  // `argv[0]` is the path of the program. Its HOME is `folder`.
  Child(const std::vector<std::string>& argv, const Folder& folder);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  int input() const { return input_; }
  int output() const { return output_; }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
};

// understudyd on a unix socket in a folder of its own, with a store in SQLite.
class Server {
 public:
  // `config` is in text format and says what differs from the default. The
  // profile `rehearsal` is there already.
  explicit Server(const std::string& config = "");

  // Of a connection of its own.
  std::unique_ptr<client::Client> Connect() const;
  // A new session on that profile.
  std::string CreateSession(const client::Client& client,
                            const std::string& profile = "rehearsal") const;

  pid_t pid() const { return process_->pid(); }
  const Folder& folder() const { return folder_; }

 private:
  Folder folder_;
  std::string target_;
  std::unique_ptr<Child> process_;
};

// The rehearsal agent as the server runs it, read as fast as it goes: blocks of
// 1 MiB, lines found by memchr, `type` and `session_id` by simdjson on demand.
class RawAgent {
 public:
  explicit RawAgent(const std::vector<std::string>& arguments);

  // Sends a message and reads until the turn has ended. Returns how many
  // stream_event lines there were.
  size_t RunTurn(std::string_view text);

 private:
  void Write(std::string_view line);
  size_t ReadUntil(std::string_view type);

  Folder folder_;
  Child process_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  int turns_ = 0;
};

// The path of a program that was built with this one.
std::string Program(std::string_view name);

}  // namespace understudy::bench

#endif  // UNDERSTUDY_TESTS_BENCH_PROGRAMS_H_
