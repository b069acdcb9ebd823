// Writes as fast as it can, for ever: floods stdout|stderr [LINE]. Without a
// line it writes no newline either.

#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  const int fd = argc > 1 && strcmp(argv[1], "stderr") == 0 ? 2 : 1;
  static char block[65536];
  size_t used = sizeof(block);
  memset(block, 'x', sizeof(block));
  if (argc > 2) {
    const size_t size = strlen(argv[2]);
    for (used = 0; used + size + 1 <= sizeof(block); used += size + 1) {
      memcpy(block + used, argv[2], size);
      block[used + size] = '\n';
    }
  }
  if (fd == 2 && write(1, "ready\n", 6) != 6) return 1;
  while (write(fd, block, used) > 0) {
  }
  return 1;
}
