"""Which processes a test has started, directly or not.

Every process of a test carries the test's marker in its environment, and so do
its children, whatever session or process group they moved to and whoever
adopted them: they are found by looking through /proc, not by descent.
"""

import contextlib
import dataclasses
import os
import select
import time

VARIABLE = 'UNDERSTUDY_E2E'


@dataclasses.dataclass(frozen=True)
class Process:
    pid: int
    arguments: tuple

    def __str__(self):
        return f'{self.pid}: {" ".join(self.arguments)[:200]}'


def _read(pid, name):
    with open(f'/proc/{pid}/{name}', 'rb') as file:
        return file.read()


def marked(marker):
    """The living processes with this marker; zombies do not count."""
    wanted = f'{VARIABLE}={marker}'.encode()
    found = []
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if wanted in _read(name, 'environ').split(b'\0'):
                arguments = _read(name, 'cmdline').decode(
                    errors='replace').rstrip('\0').split('\0')
                found.append(Process(int(name), tuple(arguments)))
    return found


def wait_for_end(pid, timeout):
    """Whether the process ends within the time; none is as good as ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(0, timeout) * 1000))
    finally:
        os.close(pidfd)


def wait_until_none(marker, timeout=20):
    """Returns what is left with this marker when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        left = marked(marker)
        if not left:
            return []
        for process in left:
            if not wait_for_end(process.pid, deadline - time.monotonic()):
                return marked(marker)
