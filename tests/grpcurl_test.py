#!/usr/bin/python3
"""Every grpcurl line of proto/README.md works, through reflection alone.

    UNDERSTUDY_BUILD=<build folder> tests/grpcurl_test.py

The lines are taken from the page as they stand and given to a shell, in their
order, with the variables that the page explains set to what a reader would put
there. grpcurl is the real one and gets no descriptor file.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'e2e'))

# pylint: disable=wrong-import-position
from install_grpcurl import install_grpcurl
from protos import config
from server import Server, program

TIMEOUT_SECONDS = 60

SERVICES = ('understudy.v1.AgentControl', 'understudy.v1.PoolAdmin')
STANDARD_SERVICES = ('grpc.health.v1.Health',
                     'grpc.reflection.v1alpha.ServerReflection')

# What this server does not do yet, and says so.
UNIMPLEMENTED = {'GetPool', 'WarmPool', 'DrainSlots'}
# One black pixel.
PNG = base64.b64decode(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQ'
    'AAAABJRU5ErkJggg==')
# Runs until it is stopped.
ENDLESS = {'WatchEvents'}


def readme_lines():
    """(RPC, shell line) of every line in the page that calls grpcurl."""
    with open(os.path.join(ROOT, 'proto', 'README.md'),
              encoding='utf-8') as page:
        text = page.read()
    found = []
    for block in re.findall(r'^```sh\n(.*?)^```', text, re.M | re.S):
        for line in block.replace('\\\n', ' ').splitlines():
            if re.search(r'(^|\| *)grpcurl ', line):
                rpc = re.search(r'understudy\.v1\.(\w+)[/.](\w+)', line)
                found.append((rpc and rpc.group(2), line))
    return found


class GrpcurlTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.grpcurl = install_grpcurl()

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='understudy-e2e-', dir='/tmp')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = Server(self.folder, [config.Profile(
            name='rehearsal', agent='claude',
            command=program('understudy-rehearsal'),
            env={'HOME': self.folder})])
        self.addCleanup(self.server.end_everything)
        self.server.start().close()
        self.environment = {
            'PATH': f'{os.path.dirname(self.grpcurl)}:/usr/bin:/bin',
            'HOME': self.folder,
            'SOCK': self.server.socket,
            'SESSION': str(uuid.uuid4()),
            'IMAGE': os.path.join(self.folder, 'image.png'),
        }
        with open(self.environment['IMAGE'], 'wb') as image:
            image.write(PNG)

    def tearDown(self):
        self.assertEqual(0, self.server.stop(), self.server.log())
        self.assertEqual([], [str(p) for p in self.server.leftovers()])

    def shell(self, line):
        return subprocess.run(
            ['bash', '-c', line], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_SECONDS,
            check=False)

    def watch(self, line, words):
        """Runs a line that does not end until it has shown the words."""
        seen = ''
        watcher = subprocess.Popen(
            ['bash', '-c', line], env=self.environment, cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        # The time-out of a reader that cannot wait for both.
        previous = signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(TIMEOUT_SECONDS)
        try:
            for output in watcher.stdout:
                seen += output
                if words in output:
                    return seen
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
            os.killpg(watcher.pid, signal.SIGKILL)
            watcher.stdout.close()
            watcher.wait()
        self.fail(f'{line}\nended without {words}:\n{seen}')

    def call(self, method, **request):
        """A call of the test's own, made in the same way.

        Descriptors that come by reflection from C++ have no JSON names, so
        grpcurl shows the names of the proto.
        """
        done = subprocess.run(
            [self.grpcurl, '-plaintext', '-unix', '-d', json.dumps(request),
             self.server.socket, f'understudy.v1.AgentControl/{method}'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=TIMEOUT_SECONDS, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout or '{}')

    def prepare(self, line):
        """Sets the variables of a line to what the page says they are."""
        session = self.environment['SESSION']
        if '$MODEL' in line:
            models = self.call('ListModels', session_id=session)['models']
            self.environment['MODEL'] = next(
                m['model'] for m in models if not m.get('is_current'))
        if '$CONVERSATION' in line:
            # An earlier one: the current one would be nothing to resume.
            current = self.call('GetSession', session_id=session).get(
                'agent_session_id', '')
            self.environment['CONVERSATION'] = next(
                c['agent_session_id'] for c in self.call(
                    'ListConversations', session_id=session)['conversations']
                if c['agent_session_id'] != current)
        if '$PERMISSION' in line:
            self.call('SendMessage', session_id=session,
                      text='!tool Bash {"command":"true"}')
            shown = self.watch(
                'grpcurl -plaintext -unix -d \'{"session_id":"\'$SESSION\'",'
                '"after_sequence":0}\' "$SOCK" '
                'understudy.v1.AgentControl/WatchEvents', '"permission_id"')
            self.environment['PERMISSION'] = re.search(
                r'"permission_id": "(.*?)"', shown).group(1)

    def test_every_line_of_the_page_works(self):
        lines = readme_lines()
        self.assertTrue(lines)
        for rpc, line in lines:
            with self.subTest(rpc=rpc):
                self.prepare(line)
                if rpc in ENDLESS:
                    self.assertIn('"session_id"',
                                  self.watch(line, '"sequence"'))
                    continue
                done = self.shell(line)
                if rpc in UNIMPLEMENTED:
                    self.assertIn('Code: Unimplemented', done.stderr)
                    self.assertNotEqual(0, done.returncode)
                else:
                    self.assertEqual(0, done.returncode,
                                     f'{line}\n{done.stderr}')

    def test_the_page_has_a_line_for_every_rpc(self):
        offered = set()
        for service in SERVICES:
            done = self.shell('grpcurl -plaintext -unix '
                              f'"$SOCK" list {service}')
            self.assertEqual(0, done.returncode, done.stderr)
            offered.update(name.rsplit('.', 1)[1]
                           for name in done.stdout.split())
        self.assertEqual(offered, {rpc for rpc, _ in readme_lines()
                                   if rpc is not None})

    def test_the_server_describes_itself(self):
        done = self.shell('grpcurl -plaintext -unix "$SOCK" list')
        self.assertEqual(sorted(SERVICES + STANDARD_SERVICES),
                         sorted(done.stdout.split()), done.stderr)
        done = self.shell('grpcurl -plaintext -unix "$SOCK" describe '
                          'understudy.v1.AgentControl.SwitchModel')
        self.assertIn('rpc SwitchModel ( .understudy.v1.SwitchModelRequest ) '
                      'returns ( .understudy.v1.TransitionResponse );',
                      done.stdout)
        done = self.shell('grpcurl -plaintext -unix "$SOCK" describe '
                          'understudy.v1.Event')
        self.assertIn('model_changed', done.stdout)
        done = self.shell('grpcurl -plaintext -unix "$SOCK" '
                          'grpc.health.v1.Health/Check')
        self.assertIn('SERVING', done.stdout)

    def test_an_error_is_readable_with_standard_tools(self):
        session = self.environment['SESSION']
        done = self.shell(
            f'grpcurl -plaintext -unix -d \'{{"session_id":"{session}"}}\' '
            '"$SOCK" understudy.v1.AgentControl/GetSession')
        self.assertIn('Code: NotFound', done.stderr)
        self.assertIn('"reason": "SESSION_NOT_FOUND"', done.stderr)
        self.assertIn('"domain": "understudy.dev"', done.stderr)


def _too_late(*_):
    raise TimeoutError(f'nothing after {TIMEOUT_SECONDS} s')


if __name__ == '__main__':
    unittest.main(verbosity=2)
