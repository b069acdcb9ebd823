// Says "ready" and never reads its stdin, until SIGUSR1: then it reads
// everything up to a line "end" and says how many bytes came before, and
// whether each line was what was sent: "line N " and a thousand times 'x'.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main() {
  sigset_t start;
  sigemptyset(&start);
  sigaddset(&start, SIGUSR1);
  sigprocmask(SIG_BLOCK, &start, nullptr);
  printf("ready\n");
  fflush(stdout);
  int number;
  sigwait(&start, &number);

  static char line[4096];
  static char wanted[4096];
  long bytes = 0;
  long mangled = 0;
  for (long i = 0; fgets(line, sizeof(line), stdin) != nullptr; ++i) {
    if (strcmp(line, "end\n") == 0) break;
    bytes += static_cast<long>(strlen(line));
    int size = snprintf(wanted, sizeof(wanted), "line %ld ", i);
    memset(wanted + size, 'x', 1000);
    memcpy(wanted + size + 1000, "\n", 2);
    mangled += strcmp(line, wanted) != 0;
  }
  printf("read %ld mangled %ld\n", bytes, mangled);
  fflush(stdout);
}
