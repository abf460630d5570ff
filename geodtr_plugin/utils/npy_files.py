"""New `.npy` files, whose room on the disk is taken at once."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import UserError, no_room


def new_array(path: Path, shape: tuple[int, ...], dtype: Any, what: str, remedy: str) -> np.memmap:
    """Return zeros over a new `.npy` file, memory-mapped for writing.

    Args:
        path: the file.
        shape: of the array.
        dtype: of its numbers.
        what: they are, for a message.
        remedy: what to do where there is no room, a sentence.

    Raises:
        UserError: the disk has no room.
    """
    with path.open("w+b") as file:
        try:
            start = take_room(file, shape, np.dtype(dtype), what, remedy)
        except UserError:
            path.unlink()  # with the room that it has got
            raise
        return np.memmap(file, dtype, mode="r+", offset=start, shape=shape)


def take_room(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype, what: str, remedy: str) -> int:
    """Make an empty file a `.npy` file of zeros, take its room on the disk, and return where its numbers begin.

    Without that, a disk that becomes full would end the process, without a word, when a number is written.

    Raises:
        UserError: the disk has no room.
    """
    size = math.prod(shape) * dtype.itemsize
    try:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start = file.tell()
        file.truncate(start + size)
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(file.fileno(), start, size)
    except OSError as error:
        words = no_room(error)
        if words:  # else it is a file system that cannot take room before it is used
            raise UserError(f"There is no room for {size / 1e9:.2g} GB of {what} ({words}).", remedy) from error
    return start
