"""Rows of float32 numbers in `.npy` files, of which memory holds no more than is being used."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .npy_files import take_room

BLOCK_BYTES = 64 * 2**20  # rows that are copied at once


def open_rows(path: str | os.PathLike[str]) -> Tensor:
    """Return a `.npy` file as a CPU tensor `[N, D]` over it: rows are read when used, and written when changed."""
    # not mode "c", for whose changes the system wants as much free memory as the file is long
    return torch.from_numpy(np.load(path, mmap_mode="r+"))


def new_rows(file: BinaryIO, shape: tuple[int, int]) -> Tensor:
    """Return float32 zeros `[N, D]` over a new file, which becomes a `.npy` file.

    Args:
        file: empty, open for reading and writing; may be closed afterwards.
        shape: rows and columns.

    Raises:
        UserError: the disk has no room.
    """
    remedy = "Free some space, choose a folder on another disk, or keep embeddings in memory."
    start = take_room(file, shape, np.dtype(np.float32), "embeddings", remedy)
    return torch.from_numpy(np.memmap(file, np.float32, mode="r+", offset=start, shape=shape))


def take_rows(embeddings: Tensor, rows: np.ndarray, folder: Path | None = None) -> Tensor:
    """Return rows `[n, D]` of embeddings `[N, D]`: consecutive ones without a copy, others as one of n * D * 4 bytes.

    Args:
        embeddings: all.
        rows: which, int64.
        folder: where the copy goes, as a file without a name that ends with the result; None: where `embeddings` are.
    """
    if len(rows) and (np.diff(rows) == 1).all():
        return embeddings[rows[0] : rows[-1] + 1]
    if folder is None:
        return embeddings[torch.from_numpy(rows)]
    with tempfile.TemporaryFile(dir=folder) as file:
        taken, height = new_rows(file, (len(rows), embeddings.shape[1])), block_height(embeddings)
    for start in range(0, len(rows), height):
        taken[start : start + height] = embeddings[torch.from_numpy(rows[start : start + height])]
    return taken


def block_height(embeddings: Tensor) -> int:
    """Return how many rows of embeddings `[N, D]` BLOCK_BYTES hold."""
    return max(1, BLOCK_BYTES // (4 * embeddings.shape[1]))
