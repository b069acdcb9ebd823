// Says how it was started, one fact on each line, then "done", and exits at the
// end of its stdin: argument, variable, descriptor, directory, blocked and
// ignored signals, whether it leads its session and its group.

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) printf("argument %s\n", argv[i]);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    printf("variable %s\n", *variable);
  }
  DIR* const fds = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(fds)) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(fds)) continue;
    printf("descriptor %s\n", entry->d_name);
  }
  closedir(fds);
  char directory[4096];
  printf("directory %s\n", getcwd(directory, sizeof(directory)));
  sigset_t blocked;
  sigprocmask(SIG_BLOCK, nullptr, &blocked);
  for (int number = 1; number < NSIG; ++number) {
    if (sigismember(&blocked, number) == 1) printf("blocked %d\n", number);
    struct sigaction action;
    if (sigaction(number, nullptr, &action) == 0 &&
        action.sa_handler != SIG_DFL) {
      printf("not default %d\n", number);
    }
  }
  printf("leader %d %d\n", getsid(0) == getpid(), getpgrp() == getpid());
  printf("done\n");
  fflush(stdout);
  while (getchar() != EOF) {
  }
  return 0;
}
