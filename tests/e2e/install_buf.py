#!/usr/bin/python3
"""Installs buf, a pinned version, which checks the .proto files.

    install_buf.py                      prints the path of the program

program_cache.py says where it is.
"""

import sys

import npm_package
import program_cache
from program_cache import InstallError

BUF_VERSION = '1.75.0'

# architecture -> (its name in the package's, sha512 of the package's archive,
# as npm writes it).
_ARCHIVES = {
    'x64': (
        'x64',
        'YGGJAx0lpMCE7aMWjNOJcfoEaG/e+iYHnTC4SZ0P5eS4IffMryA9Z4/bb1m1wNXA'
        'EJ8ATFMEZOAk/5x9VE47ig=='),
    'arm64': (
        'aarch64',
        'eX+XyokzJDqsNIFo8b1O3DBvbnksOozPJX4QVsNn61JqSUtWspyTNeYqwg8lRDan'
        'cML+bDqZEDFPABjAsVCQGQ=='),
}


def install_buf():
    """Returns the path of buf, installed if it is not."""
    architecture = npm_package.architecture()
    if architecture not in _ARCHIVES:
        raise InstallError(f'buf is not pinned for {architecture}')
    name, sha512 = _ARCHIVES[architecture]

    def make(work, target):
        npm_package.fetch_program(f'@bufbuild/buf-linux-{name}', BUF_VERSION,
                                  sha512, 'package/bin/buf', work, target)

    return program_cache.install(f'buf-{BUF_VERSION}-linux-{architecture}',
                                 'buf', make)


def main():
    try:
        print(install_buf())
    except InstallError as error:
        print(f'install_buf: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
