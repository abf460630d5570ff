"""Paths that stand in files which anybody may have written: they stay below a folder, in any form of Unicode."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import DatasetCorruptError

_DRIVE = re.compile("[A-Za-z]:(/|$)" if os.name != "nt" else "[A-Za-z]:")


def escapes(path: str) -> str:
    """Return how a path leaves the folder that it starts from, as a part of a sentence after it; empty: it does not.

    Links are left alone: who can make one could also copy the file. A `..` is refused wherever it stands, since behind
    a link it leads elsewhere than it looks.
    """
    text = path.replace("\\", "/")
    if "\0" in text:
        return "has a zero byte in it"
    if text.startswith("/") or _DRIVE.match(text):
        return "is absolute"
    return "leads upward" if ".." in text.split("/") else ""


def below(path: str, where: str) -> str:
    """Return a path as it lies below a folder: with forward slashes, without "." and doubled slashes.

    Args:
        path: as a file has it.
        where: who names it, the beginning of a sentence such as "Line 3 of places.csv".

    Raises:
        DatasetCorruptError: it leaves the folder.
    """
    if reason := escapes(path):
        raise DatasetCorruptError(
            f"{where} names {path!r}, which {reason}.",
            "Paths start from the folder of the data and stay below it: none is absolute or has '..' in it.",
        )
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def one_form(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS decomposes accents on disk, and tables rarely do."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def is_hidden(path: str) -> bool:
    """Tell whether the last part of a path is hidden: `.DS_Store`, or the `._places.csv` that macOS adds to copies."""
    return os.path.basename(path).startswith(".")


def walk_files(root: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Return the paths of all files below a folder, with forward slashes.

    Links are followed, and each folder is entered once, however many lead there; hidden folders are not entered.

    Args:
        root: the folder.
        on_error: called with the error of a folder that cannot be listed.
    """
    entered = set()
    for folder, folders, files in os.walk(root, onerror=on_error, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted((name for name in folders if not is_hidden(name)), key=os.fsencode)
        start = Path(folder).relative_to(root)
        yield from ((start / name).as_posix() for name in files)
