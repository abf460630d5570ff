"""Folders of a cache: complete or not there at all, whoever writes, reads or dies at the same time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .errors import UserError
from .leftovers import sweep, temporary_name

Content = TypeVar("Content")

_ATTEMPTS = 3  # a folder may be damaged or removed by others just after it was made
_TABLES = 1.02  # what a folder takes of the disk, with the file system's own tables, for each byte of its files


def cache_root(folder: str | os.PathLike | None = None) -> Path:
    """Return the folder of worlds and resized images.

    Args:
        folder: the folder itself; None takes $GEODTR_CACHE, $XDG_CACHE_HOME/geodtr or ~/.cache/geodtr.
    """
    if folder is not None:
        return Path(folder).expanduser()
    if os.environ.get("GEODTR_CACHE"):
        return Path(os.environ["GEODTR_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "geodtr"


def complete_folder(
    target: Path, read: Callable[[Path], Content | None], write: Callable[[Path], None], size: int, remedy: str
) -> Content | None:
    """Return the content of a folder of the cache; write the folder first if it is missing or broken.

    It is written under another name and renamed when it is complete. Of two processes that write the same folder at
    once, the second to finish uses what the first one left.

    Args:
        target: the complete folder.
        read: returns the content of a folder, None where the folder is not complete.
        write: fills an empty folder.
        size: bytes that the folder will take.
        remedy: what a user can do where there is no room, a sentence.

    Returns:
        What `read` returns: None only if other processes damage the folder again and again.

    Raises:
        UserError: the disk has no room for the folder, or the cache cannot be written to.
    """
    for _ in range(_ATTEMPTS):
        content = read(target)
        if content is not None:
            return content
        discard(target)
        partial = _begin(target, size, remedy)
        try:
            write(partial)
            publish(partial, target)
        except OSError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"The cache {target} cannot be written ({error.strerror or error}).", remedy) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return read(target)


def _begin(target: Path, size: int, remedy: str) -> Path:
    """Make the folder to write in, beside the target, if the disk has room for it."""
    parent = target.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        partial = new_folder(parent)
    except OSError as error:
        raise UserError(f"Cannot write to the cache folder {parent} ({error.strerror}).", remedy) from error
    sweep(parent)  # of what killed processes left
    if shutil.disk_usage(partial).free < size * _TABLES:
        partial.rmdir()
        raise UserError(f"{target.name} needs {size / 1e6:.0f} MB, more than is free in {parent}.", remedy)
    return partial


def new_folder(parent: Path) -> Path:
    """Make a folder to write in, under a name that no reader takes for a complete one."""
    folder = temporary_name(parent / "partial")  # not by tempfile, whose folders other users cannot read
    folder.mkdir()
    return folder


def publish(partial: Path, target: Path) -> None:
    """Give a complete folder its name, unless another process was quicker.

    Raises:
        OSError: the folder cannot be renamed.
    """
    for path in partial.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():
            raise


def discard(target: Path) -> None:
    """Remove a broken folder, if there is one; it gets another name first, so that nobody sees it half removed."""
    if not target.exists():
        return
    grave = new_folder(target.parent)
    try:
        target.rename(grave / target.name)
    except FileNotFoundError:
        pass  # another process was quicker
    shutil.rmtree(grave, ignore_errors=True)
