// Ignores SIGTERM, SIGINT, SIGHUP and the end of its stdin. Says "ready".

#include <signal.h>
#include <unistd.h>

int main() {
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  if (write(1, "ready\n", 6) != 6) return 1;
  for (;;) pause();
}
