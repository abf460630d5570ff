"""Names of files and folders that are being written, by which those that a killed process left are known and removed.

A name holds the machine and the process that writes, `.name.1b2c3d4e-4711-9f0a1b2c.suffix`. One of this machine whose
process is gone has been left; one of another machine, over a network, is taken for left after a day.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

STALE = 24 * 3600  # seconds
_TOKEN = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(?=\.|$)")


def temporary_name(path: Path) -> Path:
    """Return a new hidden name beside `path`, with its suffix."""
    token = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}.{token}{path.suffix}")


def sweep(folder: Path, path: Path | None = None) -> None:
    """Remove what killed processes left in a folder: all of it, or what was to become `path`."""
    for left in _temporary(folder, path):
        if _is_left(left):
            remove(left)


def sweep_own(folder: Path) -> None:
    """Remove everything unfinished in a folder where nobody else writes, as its caller knows."""
    for left in _temporary(folder, None):
        remove(left)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is still there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _temporary(folder: Path, path: Path | None) -> Iterator[Path]:
    try:
        names = os.listdir(folder)
    except OSError:  # no such folder, or one that cannot be listed
        return
    for name in names:
        token = _TOKEN.search(name)
        if token and name.startswith("."):
            final = name[1 : token.start()] + name[token.end() :]
            if path is None or final == path.name:
                yield folder / name


def _is_left(path: Path) -> bool:
    token = _TOKEN.search(path.name)
    if token and token[1] == _machine() and os.name == "posix":
        try:
            os.kill(int(token[2]), 0)
        except ProcessLookupError:
            return True
        except OSError:  # of another user
            return False
        return False
    try:
        return time.time() - path.stat().st_mtime > STALE
    except OSError:  # its owner has just finished
        return False


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
