#!/usr/bin/python3
"""Installs the real grpcurl, a pinned version, from its Go module.

    install_grpcurl.py                  prints the path of the program

program_cache.py says where it is. Where modules come from, and that they are
what they were, is Go's own configuration and checksum database.
"""

import os
import shutil
import subprocess
import sys

import program_cache
from program_cache import InstallError

# The newest that Go 1.19 builds, which is what Debian 12 has.
GRPCURL_VERSION = 'v1.9.1'

_MODULE = 'github.com/fullstorydev/grpcurl/cmd/grpcurl'
_TIMEOUT_SECONDS = 20 * 60


def install_grpcurl():
    """Returns the path of grpcurl, installed if it is not."""
    return program_cache.install(f'grpcurl-{GRPCURL_VERSION}', 'grpcurl',
                                 _make)


def _make(work, target):
    go = shutil.which('go')
    if go is None:
        raise InstallError('cannot build grpcurl: Go is not installed '
                           '(Debian: apt-get install golang-go)')
    environment = {
        **os.environ,
        'CGO_ENABLED': '0',
        'GOBIN': os.path.join(work, 'bin'),
        'GOCACHE': os.path.join(work, 'build'),
        # Modules must be removable with the work folder.
        'GOFLAGS': '-modcacherw',
        'GOPATH': os.path.join(work, 'path'),
        # Never another toolchain than the one installed.
        'GOTOOLCHAIN': 'local',
        'HOME': os.environ.get('HOME') or work,
    }
    environment.pop('GOMODCACHE', None)
    what = f'{_MODULE}@{GRPCURL_VERSION}'
    try:
        done = subprocess.run(
            [go, 'install', '-trimpath', '-ldflags',
             f'-s -w -X main.version={GRPCURL_VERSION}', what],
            cwd=work, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors='replace', timeout=_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f'go install {what}: not done after '
                           f'{_TIMEOUT_SECONDS} s') from error
    if done.returncode != 0:
        raise InstallError(
            f'go install {what} failed; is the module proxy reachable?\n' +
            program_cache.some_lines(done.stdout))
    os.rename(os.path.join(work, 'bin', 'grpcurl'), target)


def main():
    try:
        print(install_grpcurl())
    except InstallError as error:
        print(f'install_grpcurl: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
