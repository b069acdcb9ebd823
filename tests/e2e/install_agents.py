#!/usr/bin/python3
"""Installs the real agents that the end-to-end tests drive.

    install_agents.py [AGENT...]

An agent is a version of Claude Code, `claude` (every pinned version of it),
`opencode`, `codex`, `gemini`, `claude-acp`, `kimi`, or `all`. Default: those
that tests/run.sh drives, which are `claude`, `opencode` and `codex`.

Prints the path of one program a line, with the script that it is to run where
the program is Node; program_cache.py says where they are.

Claude Code and OpenCode are native programs, each in an npm package of one
platform, so no Node version matters to them. The others are scripts: they run
on a Node of their own, because Debian's is too old for them.
"""

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import sys
import time

import npm_package
import program_cache
from program_cache import InstallError

CLAUDE_VERSIONS = ('2.1.329', '2.1.197')
NODE_VERSION = '22.23.3'
OPENCODE_VERSION = '1.18.33'

# (version, architecture) -> sha512 of the package's archive, as npm writes it.
_CLAUDE_ARCHIVES = {
    ('2.1.329', 'x64'):
        '+n4lu1ubYAp02Y0X/MAUnxw9yY6SHHZ77F+IoW+V0wVoFuiI9opdH6gofjf14gXJ'
        'CEYMTNpks7Gn1i8XZTKAWA==',
    ('2.1.197', 'x64'):
        'rIlKmrY0QMyHgPRX/MYWNj039vbypICvI9jVe3rs9Xy2RnNklySjyPxqh62Qadzn'
        'zoftEO23uYQ1tFePcQ//bg==',
    ('2.1.329', 'arm64'):
        'IiG5umFToSCVWqB1lEsxxwIxKgxPXyZ3DRU915v8J4Bz5Q3JpslM0ew1m5yaT+lF'
        'XBPvYxmsEgi0XI68XHND0A==',
    ('2.1.197', 'arm64'):
        'sx6SoGj3MNR5CV+YDkNtbLHXa1tn3G8qcYFgm1gnvOi9ODQUKbhiPfankJfkTMDV'
        'ekOvnKJhm6i9hGFIPzp7cQ==',
}
_NODE_ARCHIVES = {
    'x64':
        'qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9Bt'
        'HNg/AKR2583eYorLF/c7ng==',
    'arm64':
        'l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJ'
        'nSE+dzpMNtgW+c3oiDvXtA==',
}
# There is none of this version for arm64.
_OPENCODE_ARCHIVES = {
    'x64':
        'q/t/3p2CTxOT9y2kvjesb/LZab2+1eqlhhWA02Be6mjTtmYtNBcBsrI5yDo4Fw7Z'
        'SPBW2oyMIGMNRqiKQjiAWw==',
}

# Agents that are scripts: what is run of which package, with which arguments.
# Their versions, and those of all that they depend on, are in
# npm/AGENT/package-lock.json.
_SCRIPTS = {
    'codex': ('@agentclientprotocol/codex-acp', 'dist/index.js'),
    'gemini': ('@google/gemini-cli', 'bundle/gemini.js', '--acp'),
    'claude-acp': ('@agentclientprotocol/claude-agent-acp', 'dist/index.js'),
    'kimi': ('@moonshot-ai/kimi-code', 'dist/main.mjs', 'acp'),
}

ACP_AGENTS = ('opencode', *_SCRIPTS)

_HERE = os.path.dirname(os.path.abspath(__file__))
_HANDSHAKE_TIMEOUT_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Agent:
    """How an agent is run, and what it says of itself."""
    command: str
    arguments: tuple  # of which the last may make it speak ACP
    version: str

    def __str__(self):
        return ' '.join([self.command, *(
            argument for argument in self.arguments if '/' in argument)])


def install_claude(version):
    """Returns the path of Claude Code `version`, installed if it is not."""
    architecture = npm_package.architecture()
    sha512 = _CLAUDE_ARCHIVES.get((version, architecture))
    if sha512 is None:
        raise InstallError(f'Claude Code {version} is not pinned for '
                           f'{architecture}')

    def make(work, target):
        npm_package.fetch_program(
            f'@anthropic-ai/claude-code-linux-{architecture}', version, sha512,
            'package/claude', work, target)
        _check_version(target, version, work)

    return program_cache.install(
        f'claude-code-{version}-linux-{architecture}', 'claude', make)


def install_node():
    """Returns the path of the Node that agents in JavaScript run on."""
    architecture = npm_package.architecture()
    sha512 = _NODE_ARCHIVES.get(architecture)
    if sha512 is None:
        raise InstallError(f'Node is not pinned for {architecture}')

    def make(work, target):
        # What the package `node` would fetch in its install script.
        npm_package.fetch_program(
            f'node-linux-{architecture}', NODE_VERSION, sha512,
            'package/bin/node', work, target)
        _check_version(target, NODE_VERSION, work)

    return program_cache.install(
        f'node-{NODE_VERSION}-linux-{architecture}', 'node', make)


def install_acp(name):
    """Returns an agent that speaks ACP, installed if it is not."""
    if name == 'opencode':
        return _install_opencode()
    return _install_script(name)


def _install_opencode():
    architecture = npm_package.architecture()
    sha512 = _OPENCODE_ARCHIVES.get(architecture)
    if sha512 is None:
        raise InstallError(f'OpenCode is not pinned for {architecture}')

    def make(work, target):
        npm_package.fetch_program(
            f'opencode-linux-{architecture}', OPENCODE_VERSION, sha512,
            'package/bin/opencode', work, target)
        _check_handshake(Agent(target, ('acp',), OPENCODE_VERSION), work)

    return Agent(program_cache.install(
        f'opencode-{OPENCODE_VERSION}-linux-{architecture}', 'opencode', make),
                 ('acp',), OPENCODE_VERSION)


def _install_script(name):
    package, script, *more = _SCRIPTS[name]
    lock = os.path.join(_HERE, 'npm', name)
    version = npm_package.locked_version(lock, package)
    node = install_node()
    member = os.path.join('node_modules', package, script)

    def make(work, target):
        npm_package.install_locked(lock, work, target[:-len(member)])
        if not os.path.exists(target):
            raise InstallError(f'{package} {version} has no {script}')
        _check_handshake(Agent(node, (target, *more), version), work)

    # Another lock file is another agent, even of the same version.
    path = program_cache.install(
        f'{name}-{version}-{npm_package.lock_digest(lock)}', member, make)
    return Agent(node, (path, *more), version)


def _check_version(program, version, folder):
    done = subprocess.run(
        [program, '--version'], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={'PATH': os.environ.get('PATH', ''), 'HOME': folder,
             'DISABLE_AUTOUPDATER': '1'}, timeout=120, check=False)
    if done.returncode != 0 or version not in done.stdout:
        raise InstallError(f'{os.path.basename(program)} {version} does not '
                           f'run here: exited {done.returncode}: '
                           f'{done.stdout.strip()}')


def _check_handshake(agent, folder):
    """The agent answers ACP's first request, with its version."""
    log = os.path.join(folder, 'handshake.log')
    with open(log, 'wb') as errors, subprocess.Popen(
            [agent.command, *agent.arguments], cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True,
            env={'PATH': os.environ.get('PATH', ''), 'HOME': folder,
                 'GEMINI_CLI_NO_RELAUNCH': '1', 'NO_COLOR': '1',
                 'OPENCODE_DISABLE_AUTOUPDATE': '1',
                 'OPENCODE_DISABLE_MODELS_FETCH': '1',
                 'npm_config_offline': 'true'}) as process:
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps({
                    'jsonrpc': '2.0', 'id': 1, 'method': 'initialize',
                    'params': {'protocolVersion': 1,
                               'clientCapabilities': {}}}).encode() + b'\n')
                process.stdin.flush()
            answer = _read_line(process.stdout)
        finally:
            process.kill()
    if f'"version":"{agent.version}"'.encode() not in answer:
        with open(log, encoding='utf-8', errors='replace') as file:
            said = program_cache.some_lines(file.read())
        raise InstallError(f'{agent} {agent.version} does not answer here: '
                           f'{answer[:400]!r}\n{said}')


def _read_line(pipe):
    """The first line of a pipe, or what came of it in time."""
    deadline = time.monotonic() + _HANDSHAKE_TIMEOUT_SECONDS
    line = b''
    while not line.endswith(b'\n'):
        ready, _, _ = select.select([pipe], [], [],
                                    max(0, deadline - time.monotonic()))
        piece = os.read(pipe.fileno(), 65536) if ready else b''
        if not piece:
            break
        line += piece
    return line


def _install(name):
    if name == 'all':
        return [*_install('claude'), *map(install_acp, ACP_AGENTS)]
    if name == 'claude':
        return [install_claude(version) for version in CLAUDE_VERSIONS]
    if name in ACP_AGENTS:
        return [install_acp(name)]
    return [install_claude(name)]


def main(names):
    try:
        for name in names or ('claude', 'opencode', 'codex'):
            for program in _install(name):
                print(program, flush=True)
    except InstallError as error:
        print(f'install_agents: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
