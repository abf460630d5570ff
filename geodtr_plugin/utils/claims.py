"""A folder that one process writes in: a lock that is taken at once, and that a process which dies does not keep."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import UserError

log = logging.getLogger("geodtr_plugin")

_held: set[str] = set()  # by this process, whose own second attempt the system would let pass


class InUseError(UserError):
    """A folder that another process writes in at this moment."""


@contextlib.contextmanager
def claimed(lock: Path, what: str) -> Iterator[None]:
    """Keep other processes from what a lock file stands for while the block runs.

    The file is gone afterwards, and so are folders that were made for it and stayed empty.

    The lock is the operating system's record lock (`fcntl.lockf`): it ends with the process, however that ends, and it
    holds between machines over NFS wherever the server locks files (version 4, or 3 with lockd). Where a file system
    knows no locks, or on a system without them, a warning says that two processes would not be noticed.

    Args:
        lock: the lock file; its folder is made.
        what: what it stands for, in messages.

    Raises:
        InUseError: another process, or another place of this one, holds the lock.
        UserError: the folder cannot be made or written to.
    """
    made = [folder for folder in lock.parents if not folder.exists()]
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{lock.parent} cannot be made ({error.strerror}).", "Choose another folder.") from error
    name = str(lock.resolve())
    if name in _held:
        raise _in_use(what, "this process")
    file = _locked(lock, what)
    _held.add(name)
    try:
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        _held.discard(name)
        with contextlib.suppress(OSError):
            lock.unlink()  # before the lock ends: whoever waits sees that its file is no longer there
        file.close()
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def _locked(lock: Path, what: str) -> IO[str]:
    """Open and lock the file; once more if its last holder has just removed it."""
    while True:
        try:
            file = lock.open("a+", encoding="utf-8")
        except OSError as error:
            message = f"{lock.parent} cannot be written to ({error.strerror})."
            raise UserError(message, "Choose another folder.") from error
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read().strip()[:200]
            file.close()
            raise _in_use(what, holder or "another process") from error
        except (OSError, ImportError) as error:
            log.warning(f"{lock.parent} cannot be locked ({error}): a second process in it would not be noticed.")
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                file.truncate(0)
                return file
        file.close()


def _lock(file: IO[str]) -> None:
    """Take the lock or raise BlockingIOError; not `flock`, which a loader's worker would inherit and keep."""
    import fcntl

    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_use(what: str, holder: str) -> InUseError:
    return InUseError(f"{what} is in use by {holder}.", "Wait until it has ended, or choose another folder.")
