// Takes memory, says "ready" and stays: allocates MIB self|setsid|shared.
// Itself; or an orphan in a session of its own; or itself, shared with eight
// children.

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void Take(size_t mib) {
  char* const bytes = static_cast<char*>(malloc(mib << 20));
  if (bytes == nullptr) _exit(1);
  // Not zeros, which the kernel could share.
  memset(bytes, 'x', mib << 20);
  // Used, so that a compiler does not leave it out.
  volatile char last = bytes[(mib << 20) - 1];
  (void)last;
}

void Stay() {
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const size_t mib = strtoul(argv[1], nullptr, 10);
  if (strcmp(argv[2], "setsid") == 0) {
    const pid_t middle = fork();
    if (middle == 0) {
      if (fork() != 0) _exit(0);
      setsid();
      Take(mib);
      Stay();
    }
    waitpid(middle, nullptr, 0);
    Stay();
  }
  Take(mib);
  if (strcmp(argv[2], "shared") == 0) {
    for (int i = 0; i < 8; ++i) {
      if (fork() == 0) Stay();
    }
  }
  if (write(1, "ready\n", 6) != 6) return 1;
  Stay();
}
