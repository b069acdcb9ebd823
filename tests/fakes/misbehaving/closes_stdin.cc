// Says "ready", waits for SIGUSR1, closes its stdin, says "closed" and lives
// on.

#include <signal.h>
#include <unistd.h>

int main() {
  sigset_t start;
  sigemptyset(&start);
  sigaddset(&start, SIGUSR1);
  sigprocmask(SIG_BLOCK, &start, nullptr);
  if (write(1, "ready\n", 6) != 6) return 1;
  int number;
  sigwait(&start, &number);
  close(0);
  if (write(1, "closed\n", 7) != 7) return 1;
  for (;;) pause();
}
