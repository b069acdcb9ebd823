"""Takes programs out of pinned npm packages.

Where the packages come from is npm's own configuration; that they are the
pinned archives is checked here, or by npm from a lock file. No install script
runs.
"""

import base64
import hashlib
import json
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


def install_locked(lock_folder, work, folder):
    """Installs what a lock file names, and nothing else, into `folder`.

    `lock_folder` has a package.json and the package-lock.json that belongs to
    it; `work` is an empty folder.
    """
    for name in ('package.json', 'package-lock.json'):
        shutil.copy(os.path.join(lock_folder, name), folder)
    _npm(['ci', '--omit=dev', '--no-audit', '--no-fund'], folder, work,
         os.path.basename(lock_folder))


def lock_digest(lock_folder):
    """Tells one lock file from another."""
    with open(os.path.join(lock_folder, 'package-lock.json'), 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]


def locked_version(lock_folder, package):
    """The version of a package that the lock file names."""
    with open(os.path.join(lock_folder, 'package-lock.json'),
              encoding='utf-8') as file:
        return json.load(file)['packages'][f'node_modules/{package}'][
            'version']


def _pack(package, version, folder):
    """Downloads a package's archive into `folder`; returns its path."""
    what = f'{package}@{version}'
    said = _npm(['pack', what], folder, folder, what)
    archives = [name for name in os.listdir(folder) if name.endswith('.tgz')]
    if len(archives) != 1:
        raise InstallError(f'npm pack {what} made no archive\n' +
                           program_cache.some_lines(said))
    return os.path.join(folder, archives[0])


def _npm(arguments, folder, work, what):
    """Runs npm in `folder`; returns what it said."""
    npm = shutil.which('npm')
    if npm is None:
        raise InstallError(f'cannot download {what}: npm is not installed '
                           '(Debian: apt-get install nodejs npm)')
    # A cache of its own: the archives are needed once, and npm would keep
    # them.
    command = [npm, *arguments, '--ignore-scripts', '--loglevel=error',
               '--no-update-notifier',
               '--cache', os.path.join(work, 'npm-cache')]
    named = f'npm {arguments[0]} of {what}'
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors='replace', check=False,
                              timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f'{named}: not done after {_TIMEOUT_SECONDS} s'
                           ) from error
    said = done.stderr or done.stdout
    if done.returncode != 0:
        raise InstallError(
            f'{named} failed; is the package registry reachable?\n' +
            program_cache.some_lines(said))
    return said


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
