#!/usr/bin/python3
"""Installs the real agents that the end-to-end tests drive.

    install_agents.py [VERSION...]      (default: every pinned version)

prints the path of one program a line; program_cache.py says where they are.

What is downloaded is the npm package of one platform, which holds nothing but
the native program, so no Node version matters.
"""

import os
import subprocess
import sys

import npm_package
import program_cache
from program_cache import InstallError

CLAUDE_VERSIONS = ('2.1.329', '2.1.197')

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


def _check_version(program, version, folder):
    done = subprocess.run(
        [program, '--version'], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={'PATH': os.environ.get('PATH', ''), 'HOME': folder,
             'DISABLE_AUTOUPDATER': '1'}, timeout=120, check=False)
    if done.returncode != 0 or version not in done.stdout:
        raise InstallError(f'claude {version} does not run here: exited '
                           f'{done.returncode}: {done.stdout.strip()}')


def main(versions):
    try:
        for version in versions or CLAUDE_VERSIONS:
            print(install_claude(version), flush=True)
    except InstallError as error:
        print(f'install_agents: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
