"""Where the programs are kept that tests need and nobody ships with a system.

They are outside the repository, in ${UNDERSTUDY_AGENT_CACHE}, else
${XDG_CACHE_HOME:-$HOME/.cache}/understudy/agents, else (no home)
/tmp/understudy-UID/agents.
"""

import contextlib
import fcntl
import os
import shutil


class InstallError(Exception):
    """A program cannot be had; the text says why."""


def folder():
    """The cache; made if missing, never another user's."""
    path = os.environ.get('UNDERSTUDY_AGENT_CACHE')
    if not path:
        base = os.environ.get('XDG_CACHE_HOME')
        home = os.environ.get('HOME')
        if not base and home:
            base = os.path.join(home, '.cache')
        if base:
            path = os.path.join(base, 'understudy', 'agents')
        else:
            path = os.path.join(_private_folder(), 'agents')
    path = os.path.abspath(path)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise InstallError(f'cannot make the cache folder: {error}') from error
    return path


def _private_folder():
    path = f'/tmp/understudy-{os.getuid()}'
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if (status.st_uid != os.getuid() or status.st_mode & 0o022 or
            not os.path.isdir(path)):
        raise InstallError(
            f'{path} is not a folder of this user alone; set '
            'UNDERSTUDY_AGENT_CACHE')
    return path


def install(entry, name, make):
    """Returns the path of program `name` of the cache's `entry`.

    If it is missing, `make(work, target)` has to produce it: `work` is an
    empty folder that is removed afterwards, `target` the file to write. The
    entry appears in one step when that is done, and only then, so a failure
    halfway leaves nothing that could be taken for a program. Runs at the same
    time wait for each other.
    """
    cache = folder()
    program = os.path.join(cache, entry, name)
    if os.path.exists(program):
        return program
    with open(os.path.join(cache, f'{entry}.lock'), 'w',
              encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(program):
            return program
        # Only the holder of the lock makes this: what is here was left.
        partial = os.path.join(cache, f'{entry}.partial')
        shutil.rmtree(partial, ignore_errors=True)
        fresh = os.path.join(partial, 'entry')
        work = os.path.join(partial, 'work')
        try:
            os.makedirs(fresh)
            os.mkdir(work)
            make(work, os.path.join(fresh, name))
            os.rename(fresh, os.path.join(cache, entry))
        except OSError as error:
            raise InstallError(f'cannot install {entry}: {error}') from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return program


def some_lines(text):
    """The beginning and the end of what a program had to say."""
    lines = text.strip().splitlines() or ['no output']
    if len(lines) > 12:
        lines[6:-6] = ['...']
    return '\n'.join(lines)
