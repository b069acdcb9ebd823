// Starts a family that does not want to die, says the pid of each on a line of
// its own, then "family", then exits or stays: leaves_family exit|stay.
//
// The family: a child; one in a session of its own; and one that is orphaned
// (its parent has ended) in a session of its own, which has a child itself. All
// hold stdin, stdout and stderr and ignore every signal that can be ignored.

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int born[2];  // a byte for each that lives

void Live() {
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_IGN);
  char line[32];
  const int size = snprintf(line, sizeof(line), "%d\n", getpid());
  if (write(1, line, size) != size || write(born[1], "", 1) != 1) _exit(1);
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (pipe(born) != 0) return 1;
  if (fork() == 0) Live();
  if (fork() == 0) {
    setsid();
    Live();
  }
  const pid_t middle = fork();
  if (middle == 0) {
    if (fork() == 0) {
      setsid();
      fork();  // both live
      Live();
    }
    _exit(0);
  }
  waitpid(middle, nullptr, 0);
  for (int i = 0; i < 4; ++i) {
    char byte;
    if (read(born[0], &byte, 1) != 1) return 1;
  }
  if (write(1, "family\n", 7) != 7) return 1;
  if (argc > 1 && strcmp(argv[1], "exit") == 0) return 7;
  for (;;) pause();
}
