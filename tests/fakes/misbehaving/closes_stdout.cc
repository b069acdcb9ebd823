// Says "closing", closes its stdout and lives on.

#include <unistd.h>

int main() {
  if (write(1, "closing\n", 8) != 8) return 1;
  close(1);
  for (;;) pause();
}
