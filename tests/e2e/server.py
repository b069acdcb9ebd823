"""The real server as a child of the test: started, killed, started again."""

import contextlib
import glob
import os
import signal
import socket
import subprocess
import time
import uuid

from google.protobuf import text_format

import processes
from client import Client
from protos import config

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 60


def program(name):
    """The path of one of our programs, in the build folder."""
    build = os.environ.get('UNDERSTUDY_BUILD')
    if not build:
        raise RuntimeError('UNDERSTUDY_BUILD does not name the build folder')
    for path in [os.path.join(build, name),
                 *glob.glob(os.path.join(build, '**', name), recursive=True)]:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise RuntimeError(f'{build} has no {name}; build it first')


def _sanitizer_options():
    """What a sanitized server is to be told."""
    return {name: value for name, value in os.environ.items()
            if name in ('ASAN_OPTIONS', 'TSAN_OPTIONS', 'UBSAN_OPTIONS')}


class Server:
    """understudyd on a unix socket, its data and its log in `folder`.

    `marker` is in the environment of the server; give it to the agents, too
    (`environment`), and every process of the test can be found by it.
    """

    def __init__(self, folder, profiles, **options):
        self.folder = folder
        self.marker = str(uuid.uuid4())
        self.environment = {processes.VARIABLE: self.marker}
        os.mkdir(os.path.join(folder, 'run'), 0o700)
        self.socket = os.path.join(folder, 'run', 'server.sock')
        self.address = f'unix:{self.socket}'
        self.store = os.path.join(folder, 'store.db')
        self._log = os.path.join(folder, 'server.log')
        self._config = os.path.join(folder, 'config.textproto')
        for profile in profiles:
            profile.env.update(self.environment)
        with open(self._config, 'w', encoding='utf-8') as file:
            file.write(text_format.MessageToString(
                config.Config(profile=profiles, **options)))
        self._process = None

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        """Returns a client, once the server says that it serves."""
        with open(self._log, 'ab') as log:
            self._process = subprocess.Popen(
                [program('understudyd'), f'--listen={self.address}',
                 f'--store=sqlite:{self.store}', f'--config={self._config}'],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
                env={'PATH': os.environ['PATH'], 'HOME': self.folder,
                     **_sanitizer_options(), **self.environment})
        self._wait_for_socket()
        client = Client(self.address)
        if not client.healthy():
            raise RuntimeError(f'the server is not healthy:\n{self.log()}')
        return client

    def _wait_for_socket(self):
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.socket(
                    socket.AF_UNIX) as probe:
                probe.connect(self.socket)
                return
            # The pause between two attempts ends early if the server does.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=0.01)
                raise RuntimeError(
                    f'the server exited with {code}:\n{self.log()}')
            if time.monotonic() > deadline:
                raise RuntimeError(f'the server does not listen on '
                                   f'{self.socket}:\n{self.log()}')

    def kill(self):
        """SIGKILL: the server gets no chance to clean up."""
        self._process.kill()
        self._process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError('the server did not stop:\n'
                               f'{self.log()}') from None

    def processes(self):
        """Everything alive that this server has started, itself included."""
        return processes.marked(self.marker)

    def leftovers(self, timeout=20):
        """What is still alive of it all when the time is over."""
        return processes.wait_until_none(self.marker, timeout)

    def end_everything(self):
        """For a test that has failed already: leaves nothing behind."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        self.leftovers()

    def log(self):
        with contextlib.suppress(OSError), open(
                self._log, encoding='utf-8', errors='replace') as file:
            return ''.join(file.readlines()[-200:])
        return ''
