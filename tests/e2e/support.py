"""What an end-to-end test of a real agent stands on.

A test has a folder of its own with a home, a configuration folder and a
working directory for the agent, a stand-in for the model's API, and a server
whose agents know nothing but these.
"""

import os
import select
import shutil
import sys
import tempfile
import time
import unittest

from google.protobuf import duration_pb2

import processes
from install_agents import install_claude
from messages_api import MessagesApi
from client import Failure, kind
from protos import config
from server import Server

DEFAULT_MODEL = 'claude-sonnet-5-5'
OTHER_MODEL = 'claude-haiku-5-5'
UNKNOWN_MODEL = 'claude-bogus-9'

# Seconds within which nothing is left of what has ended.
GONE = 1

# A time-out that has nothing to wait for.
SOON = duration_pb2.Duration(nanos=100_000_000)

# Names of configuration values.
NEVER = 'NATIVE_SWITCH_NEVER'
ALLOW = 'PERMISSION_POLICY_ALLOW'

# The conversation that proves what an agent remembers: the stand-in answers
# the question from what the request itself says.
SECRET = 'my secret number is 4711'
QUESTION = 'what is the secret number?'
KNOWN = 'The secret number is 4711.'
UNKNOWN = 'I know no secret number.'


def claude_profile(name, program, folder, api_url, **fields):
    """A profile for the real CLI that can reach nothing but the stand-in."""
    home = os.path.join(folder, 'home')
    configuration = os.path.join(folder, 'claude')
    temporary = os.path.join(folder, 'tmp')
    for path in (home, configuration, temporary):
        os.makedirs(path, mode=0o700, exist_ok=True)
    return config.Profile(
        name=name, agent='claude', command=program,
        default_model=DEFAULT_MODEL, **fields,
        env={
            'ANTHROPIC_API_KEY': 'a-made-up-key',
            'ANTHROPIC_BASE_URL': api_url,
            'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': '1',
            'CLAUDE_CODE_MAX_RETRIES': '2',
            'CLAUDE_CONFIG_DIR': configuration,
            'DISABLE_AUTOUPDATER': '1',
            'DISABLE_ERROR_REPORTING': '1',
            'DISABLE_TELEMETRY': '1',
            'HOME': home,
            # The tests run as root in many containers.
            'IS_SANDBOX': '1',
            'LANG': 'C.UTF-8',
            'PATH': '/usr/local/bin:/usr/bin:/bin',
            'SHELL': '/bin/bash',
            'TMPDIR': temporary,
        })


class Fifo:
    """A meeting point with a shell command that an agent runs."""

    def __init__(self, path):
        os.mkfifo(path, 0o600)
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def close(self):
        os.close(self._fd)

    def read_lines(self, count, timeout=60):
        """The lines that commands write to it; waits for so many."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        deadline = time.monotonic() + timeout
        text = ''
        while text.count('\n') < count:
            if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f'{self.path} got no more than {text!r}')
            text += os.read(self._fd, 4096).decode()
        return text.splitlines()

    def write(self, text):
        """Lets a command that reads a line from it go on."""
        os.write(self._fd, text.encode())


class AgentTest(unittest.TestCase):
    """The ground of a test with a real agent.

    Of Claude Code, whose version subclasses name; those for another agent
    replace `setUpClass`, `start_api`, `profile` and `is_agent`.
    """

    maxDiff = None
    version = None
    program = None

    @classmethod
    def setUpClass(cls):
        if cls.version is None:
            raise unittest.SkipTest('only the ground of other tests')
        cls.program = install_claude(cls.version)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='understudy-e2e-', dir='/tmp')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.directory = os.path.join(self.folder, 'work')
        os.mkdir(self.directory)
        self.api = self.start_api()
        self.addCleanup(self.api.close)
        self.server = None
        self.client = None

    def start_api(self):
        """The stand-in for the API behind the agent."""
        return MessagesApi()

    def profile(self, **fields):
        return claude_profile('claude', self.program, self.folder,
                              self.api.url, **fields)

    def is_agent(self, process):
        """Whether this is the agent itself, not what it has started."""
        return bool(process.arguments) and (
            process.arguments[0] == self.program)

    def doCleanups(self):
        outcome = getattr(self, '_outcome', None)
        if outcome is not None and not outcome.success and self.server:
            print(f'\n--- {self.id()}: the server said:\n{self.server.log()}',
                  file=sys.stderr)
        return super().doCleanups()

    def serve(self, max_slots=0, drain_timeout=None, **profile_fields):
        """Starts a server with one profile; returns a client of it."""
        options = {'max_slots': max_slots} if max_slots else {}
        if drain_timeout is not None:
            options['drain_timeout'] = drain_timeout
        self.server = Server(self.folder, [self.profile(**profile_fields)],
                             **options)
        self.addCleanup(self.server.end_everything)
        self.client = self.server.start()
        self.addCleanup(self._stop_cleanly)
        return self.client

    def _stop_cleanly(self):
        """Holds of every test: a server that stops leaves nothing running."""
        self.client.close()
        code = self.server.stop()
        self.assertEqual([], [str(p) for p in self.server.leftovers()])
        self.assertIn(code, (0, -9), self.server.log())

    def restart(self):
        """Starts the server again after it was killed or stopped."""
        self.client.close()
        self.client = self.server.start()
        return self.client

    def session(self, **fields):
        return self.client.create(self.directory, **fields).session_id

    def fifo(self, name):
        fifo = Fifo(os.path.join(self.folder, name))
        self.addCleanup(fifo.close)
        return fifo

    def stubborn_tool(self, words):
        """Lets the agent run a tool that never ends, in two process groups.

        Returns a function that waits until it runs, and its process ids.
        """
        pids = self.fifo('pids')
        self.api.use_bash(
            words, f"setsid sh -c 'echo $$ > {pids.path}; exec sleep 1000' & "
            f"sh -c 'echo $$ > {pids.path}; exec sleep 1000'")
        return lambda: [int(line) for line in pids.read_lines(2)]

    def agent_pids(self):
        """The agents that are alive."""
        return [p.pid for p in self.server.processes() if self.is_agent(p)]

    def assert_gone(self, pids):
        """None of these processes is left, or outlives the next moment."""
        deadline = time.monotonic() + GONE
        for pid in pids:
            self.assertTrue(processes.wait_for_end(
                pid, deadline - time.monotonic()), f'{pid} lives on')

    def arguments_of(self, pid):
        return next(p.arguments for p in self.server.processes()
                    if p.pid == pid)

    def fails(self, code, reason):
        return _Fails(self, code, reason)

    def check_log(self, reader):
        """What holds of every log, whatever happened."""
        durable = reader.durable
        self.assertEqual(list(range(1, len(durable) + 1)),
                         [e.sequence for e in durable])
        newest = 0
        for e in reader.events:
            if e.sequence:
                newest = e.sequence
            else:
                self.assertLessEqual(e.after_sequence, newest, kind(e))
        open_turns, begun, ended = set(), set(), set()
        for e in durable:
            if not e.turn_id:
                continue
            self.assertNotIn(e.turn_id, ended,
                             f'{kind(e)} after the end of its turn')
            if e.turn_id not in open_turns:
                wanted = ('turn_started' if kind(e) == 'turn_started' and
                          e.turn_started.unsolicited else 'message_accepted')
                self.assertEqual(wanted, kind(e))
                open_turns.add(e.turn_id)
            if kind(e) == 'turn_started':
                begun.add(e.turn_id)
            elif kind(e) == 'turn_completed':
                ended.add(e.turn_id)
            elif kind(e) != 'message_accepted':
                self.assertIn(e.turn_id, begun,
                              f'{kind(e)} before turn_started')
        exited = [e.agent_exited.pid for e in reader.of('agent_exited')]
        self.assertEqual(len(exited), len(set(exited)))


class _Fails:
    """As assertRaises, for a call that must fail for one reason."""

    def __init__(self, test, code, reason):
        self._test = test
        self._wanted = (code, reason)
        self.failure = None

    def __enter__(self):
        return self

    def __exit__(self, kind_of_error, error, _):
        if kind_of_error is None:
            self._test.fail(f'the call did not fail with {self._wanted}')
        if not isinstance(error, Failure):
            return False
        self._test.assertEqual(self._wanted, (error.code, error.reason),
                               error.message)
        self._test.assertEqual('understudy.dev', error.domain)
        self.failure = error
        return True
