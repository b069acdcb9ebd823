// Writes what it is told to stderr and exits: fails_at_once CODE TEXT.

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  if (argc > 2) fputs(argv[2], stderr);
  return argc > 1 ? atoi(argv[1]) : 1;
}
