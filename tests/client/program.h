// Program: a child process for a test: what it writes, and how it ends.
//
// Threads: one.

#ifndef UNDERSTUDY_TESTS_CLIENT_PROGRAM_H_
#define UNDERSTUDY_TESTS_CLIENT_PROGRAM_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace understudy {

class Program {
 public:
  struct Result {
    int exit_code;  // 128 + the signal that ended it
    std::string output;
    std::string errors;
  };

  // Starts argv[0], a path, with `input` on its standard input. Nothing of this
  // process's environment is passed but what keeps sanitizers informed.
  explicit Program(const std::vector<std::string>& argv,
                   const std::string& input = "");
  // Kills it if it has not ended.
  ~Program();

  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The next line of its output, without line feed; empty at the end.
  std::string ReadLine();
  void Signal(int signal);
  // Reads on to the end of its output. `output` has what ReadLine has not.
  Result Wait();

 private:
  bool Fill();

  pid_t pid_ = -1;
  int output_ = -1;
  int errors_ = -1;
  std::string unread_;
};

}  // namespace understudy

#endif  // UNDERSTUDY_TESTS_CLIENT_PROGRAM_H_
