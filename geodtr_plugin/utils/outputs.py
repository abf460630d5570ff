"""Names that results are written to: what cannot be written is said before the work, and no device is replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from . import leftovers
from .errors import UserError

STREAMS = ("/dev/std", "/dev/fd/", "/proc/")  # open files of processes: to replace what they lead to would lose them
ELSEWHERE = "Choose another name."


def output_path(path: str | os.PathLike[str]) -> Path:
    """Return what is to be made or replaced for a name: the name itself, or what a link of that name leads to.

    Raises:
        UserError: the name is that of a device, a pipe, a socket or an open file of a process.
    """
    if os.path.abspath(path).startswith(STREAMS):
        raise UserError(f"{path} is a stream, no file.", ELSEWHERE)
    real = Path(os.path.realpath(path))
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        return real
    except OSError as error:  # a file in place of a folder, links in a circle
        raise cannot_write(path, error) from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path} is a device, a pipe or a socket, no file.", ELSEWHERE)
    return real


def check_output_file(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a file that could not be written.

    Raises:
        UserError: it is a folder or something else that is no file, or its folder may not be written to.
    """
    real = output_path(path)
    if real.is_dir():
        raise UserError(f"{path} is a folder.", "Name a file.")
    _check_folder_of(path, real)


def check_output_folder(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a folder that could not be made; one that is there may be empty.

    Raises:
        UserError: something is there, or the folder around it may not be written to.
    """
    real = output_path(path)
    if real.is_file():
        raise UserError(f"{path} is a file.", "Remove it, or name another folder.")
    leftovers.sweep(real)
    try:
        holds_something = real.is_dir() and any(real.iterdir())
    except OSError as error:
        raise cannot_write(path, error) from error
    if holds_something:
        raise UserError(f"{path} holds something already.", "Empty it, or name another folder.")
    _check_folder_of(path, real / "any")


def cannot_write(path: str | os.PathLike[str], error: OSError) -> UserError:
    """Return the sentence for a name that the system refuses to write to."""
    return UserError(f"{path} cannot be written ({error.strerror}).", ELSEWHERE)


def _check_folder_of(path: str | os.PathLike[str], real: Path) -> None:
    there = next(folder for folder in real.parents if folder.exists())
    if not there.is_dir():
        raise UserError(f"{path} cannot be written: {there} is no folder.", ELSEWHERE)
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written: {there} may not be written to.", ELSEWHERE)
