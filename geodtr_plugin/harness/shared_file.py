"""A file that every process of a run writes its part of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..utils.distributed import is_main_process, wait_for_all
from ..utils.errors import UserError
from ..utils.npy_rows import new_rows


@contextmanager
def shared_file(path: Path, shape: tuple[int, int]) -> Iterator[Path]:
    """Give the name of a new `.npy` file [N, D] into which every process is to write its rows.

    It becomes `path` when all have done so; whatever happens before, `path` stays as it was.

    Raises:
        UserError: the processes do not write to one file system, or the disk has no room.
    """
    partial = path.with_name(f"{path.stem}.partial.npy")  # always this one: no heap of them after runs that were killed
    try:
        if is_main_process():
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                new_rows(file, shape)
        wait_for_all()
        if not partial.is_file():
            raise UserError(
                f"{partial} was made by the first process and is not there for another one.",
                "Let all processes write to one file system, or keep embeddings in memory: "
                "--evaluation.embeddings memory.",
            )
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        wait_for_all()
        if is_main_process():
            os.replace(partial, path)
    finally:
        if is_main_process():
            partial.unlink(missing_ok=True)
    wait_for_all()
