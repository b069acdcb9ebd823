"""Takes a program out of a pinned npm package.

Where the package comes from is npm's own configuration; that it is the pinned
archive is checked here. No install script runs.
"""

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile

import program_cache
from program_cache import InstallError

# A download that has not ended by then never will.
_TIMEOUT_SECONDS = 30 * 60


def architecture():
    """This machine, in npm's words."""
    machine = platform.machine()
    return {'x86_64': 'x64', 'aarch64': 'arm64'}.get(machine, machine)


def fetch_program(package, version, sha512, member, work, target):
    """Writes the file `member` of the package to `target`, executable.

    `sha512` is the archive's, as npm writes it; `work` an empty folder.
    """
    archive = _pack(package, version, work)
    _check_archive(archive, sha512)
    _extract(archive, member, target)


def _pack(package, version, folder):
    """Downloads a package's archive into `folder`; returns its path."""
    what = f'{package}@{version}'
    npm = shutil.which('npm')
    if npm is None:
        raise InstallError(f'cannot download {what}: npm is not installed '
                           '(Debian: apt-get install nodejs npm)')
    # A cache of its own: the archive is needed once, and npm would keep it.
    command = [npm, 'pack', what, '--ignore-scripts', '--loglevel=error',
               '--no-update-notifier',
               '--cache', os.path.join(folder, 'npm-cache')]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors='replace', check=False,
                              timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f'npm pack {what}: not done after '
                           f'{_TIMEOUT_SECONDS} s') from error
    archives = [name for name in os.listdir(folder) if name.endswith('.tgz')]
    if done.returncode != 0 or len(archives) != 1:
        raise InstallError(
            f'npm pack {what} failed; is the package registry reachable?\n' +
            program_cache.some_lines(done.stderr or done.stdout))
    return os.path.join(folder, archives[0])


def _check_archive(path, expected):
    digest = hashlib.sha512()
    with open(path, 'rb') as archive:
        for chunk in iter(lambda: archive.read(1 << 20), b''):
            digest.update(chunk)
    found = base64.b64encode(digest.digest()).decode()
    if found != expected:
        raise InstallError(f'{os.path.basename(path)} is not the pinned '
                           f'archive: sha512 {found}, expected {expected}')


def _extract(archive, member, target):
    with tarfile.open(archive) as package:
        try:
            source = package.extractfile(member)
        except KeyError:
            source = None
        if source is None:
            raise InstallError(f'{os.path.basename(archive)} has no {member}')
        with open(target, 'wb') as program:
            shutil.copyfileobj(source, program, 1 << 20)
            os.fchmod(program.fileno(), 0o755)
