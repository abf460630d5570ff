"""Errors that are meant for the person at the keyboard: what is wrong, and what to do."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)  # open files, memory or processes have run out
LOST_WORKER = re.compile(r"DataLoader worker \(pid.*?\) (is killed by signal: [\w ]+|exited unexpectedly)")
FULL_SHARED_MEMORY = ("shared memory", "</torch_", "ancdata", "Communication with the workers")  # the last: open files
FEWER_PROCESSES = (
    "Memory, shared memory (/dev/shm) or the number of open files (ulimit -n) may be at its limit: load with fewer "
    "processes, --workers 0 for none. A run goes on with --resume."
)
MOST_NAMES = 32  # a longer list of known names is cut to those like the one asked for


class UserError(Exception):
    """A mistake in what was asked or in the data. Commands print its text without a traceback, and exit with 1.

    Args:
        message: what is wrong, a sentence.
        remedy: what to do, a sentence or several; empty where the message says it.
    """

    def __init__(self, message: str, remedy: str = ""):
        self.message, self.remedy = message, remedy
        super().__init__(f"{message} {remedy}".strip())

    def __reduce__(self):  # loader workers send errors to the main process
        return _restored, (type(self), self.args, self.__dict__)


class Terminated(KeyboardInterrupt):
    """The process was asked to end, by SIGTERM; as Ctrl-C, it is no error, and what is open gets closed."""


class UnknownNameError(UserError, KeyError):
    """A name that is not among the known ones.

    Args:
        kind: what the name stands for, such as "method".
        name: what was asked for.
        known: the names that there are.
        remedy: what else may help than a look at the known names, a sentence.
    """

    __str__ = Exception.__str__  # KeyError would print the message in quotes

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = ""):
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        if len(known) > MOST_NAMES:
            known = [*difflib.get_close_matches(name, known, n=MOST_NAMES // 2, cutoff=0.4), "..."]
        super().__init__(f"There is no {kind} {name!r}.", f"{hint}Known: {', '.join(known)}. {remedy}".strip())


class DatasetNotFoundError(UserError, FileNotFoundError):
    """A data set, or one of its index files, is not where it was looked for."""

    __str__ = Exception.__str__  # OSError formats (errno, text) pairs; the message is a plain sentence


class NotSquareError(UserError, ValueError):
    """A tile for the polar transform is not square."""

    def __init__(self, height: int, width: int):
        message = f"The polar transform needs a square tile, not {height}x{width} pixels."
        super().__init__(message, "Crop it to a square, or use a model without the polar transform: --no-polar.")


class NoCoordinatesError(UserError):
    """A data set does not say where its images are, which was asked for."""


class DamagedFileError(UserError):
    """A file is there but cannot be used: it is damaged, cut short, or something else than its name says."""


class DatasetCorruptError(DamagedFileError):
    """An image or a list of a data set is there but cannot be used."""


def no_room(error: BaseException | None) -> str:
    """Return the system's words for a full disk (or quota, or limit of a file's size) behind an error, else nothing.

    Libraries that write through C++ raise errors of their own, after that of the system or with its words in them.
    """
    words = [os.strerror(number) for number in NO_ROOM]
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return os.strerror(error.errno)
        for known in words:
            if isinstance(error, (OSError, RuntimeError)) and known in str(error):
                return known
        error = error.__cause__ or error.__context__
    return ""


def lost_worker(error: BaseException) -> UserError | None:
    """Return the sentence for the end of a process that loads images, or for one that got no memory, if it is that.

    torch raises it wherever the main process happens to be.
    """
    if isinstance(error, OSError) and error.errno in NO_PROCESS and not isinstance(error, UserError):
        return UserError(f"The system gives no more: {os.strerror(error.errno)}.", FEWER_PROCESSES)
    if not isinstance(error, RuntimeError):
        return None
    found = LOST_WORKER.search(str(error))
    if not found and not any(words in str(error) for words in FULL_SHARED_MEMORY):
        return None
    what = found[1].replace("is killed", "was killed") if found else "got no shared memory"
    return UserError(f"A process that loads images {what.strip()}.", FEWER_PROCESSES)


def from_system(error: BaseException) -> UserError | None:
    """Return the sentence for an error that comes from the disk or the system and not from this program, if it does."""
    if lost := lost_worker(error):
        return lost
    words = no_room(error)
    if words:
        file = getattr(error, "filename", None)
        where = f"{file} cannot be written" if file else "Something cannot be written"
        return UserError(f"{where}: {words}.", "Free some space; what was there before is as it was.")
    if isinstance(error, OSError) and error.filename and error.strerror:
        return UserError(f"{error.filename}: {error.strerror}.", "--debug shows where that came up.")
    return None


def _restored(kind: type[UserError], args: tuple, state: dict) -> UserError:
    error = kind.__new__(kind, *args)
    error.args, error.__dict__ = args, state
    return error
