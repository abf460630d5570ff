"""Folders of a cache: complete or not there at all, whoever writes, reads or dies at the same time."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path

_PARTIAL = ".partial-"  # folders that begin with it are being written, or were left by a process that died
_STALE = 24 * 3600  # seconds after which such a folder has surely been left


def cache_root(folder: str | os.PathLike | None = None) -> Path:
    """Where worlds and resized images are kept: `folder`,
    else $GEODTR_CACHE, $XDG_CACHE_HOME/geodtr or ~/.cache/geodtr."""
    if folder is not None:
        return Path(folder).expanduser()
    if os.environ.get("GEODTR_CACHE"):
        return Path(os.environ["GEODTR_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "geodtr"


def new_folder(parent: Path) -> Path:
    """A folder to write in, under a name that no reader takes for a complete one."""
    folder = parent / f"{_PARTIAL}{uuid.uuid4().hex}"  # not by tempfile, whose folders other users cannot read
    folder.mkdir()
    return folder


def sweep(parent: Path) -> None:
    """Removes what killed processes left."""
    for folder in parent.glob(f"{_PARTIAL}*"):
        try:
            if time.time() - folder.stat().st_mtime > _STALE:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            pass  # its owner has just finished


def publish(partial: Path, target: Path) -> None:
    """Gives a complete folder its name, unless another process was quicker."""
    for path in partial.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    try:
        partial.rename(target)
    except OSError:
        if not target.exists():
            raise


def discard(target: Path) -> None:
    """Removes a broken folder, if there is one; it gets another name first, so that nobody sees it half removed."""
    if not target.exists():
        return
    grave = new_folder(target.parent)
    try:
        target.rename(grave / target.name)
    except FileNotFoundError:
        pass  # another process was quicker
    shutil.rmtree(grave, ignore_errors=True)
