"""The cells of an inverted file: learned from a sample of the vectors, then filled.

Cells that were learned once can be filled with other vectors, so that many machines can each build a part of a gallery.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..utils.errors import UserError

CELLS_FILE = "cells.faiss"  # of an index on disk
_POINTS_A_CENTRE = 64  # training vectors for each cell; faiss asks for 39 at least
_CODE_BYTES = 64  # of a compressed vector, at most
_PRODUCTS_FROM = 2500  # numbers a thread: from there on, a matrix product is faster than vector by vector


def learn_cells(vectors: np.ndarray, kind: str, *, nlist: int | None = None, seed: int = 0):
    """Return an inverted file that is learned from a sample of the vectors, and holds none of them.

    Args:
        vectors: `[N, D]`, float32 or float16; may be a memory map.
        kind: "ivf" keeps vectors as they are, "ivfpq" compresses them.
        nlist: number of cells; 4 sqrt(N) by default.
        seed: of the sample, and of the first centres.

    Returns:
        A faiss index.

    Raises:
        UserError: there are too few vectors.
    """
    import faiss

    count, size = vectors.shape
    nlist = cells_for(count) if nlist is None else nlist
    if not 1 <= nlist <= count:
        raise UserError(f"{count:,} vectors cannot fill {nlist:,} cells.", "Lower --nlist.")
    code = _code(count, size) if kind == "ivfpq" else "SQfp16" if vectors.dtype == np.float16 else "Flat"
    sample = np.ascontiguousarray(vectors[sampled_rows(count, kind, nlist, seed)], np.float32)
    cells = faiss.index_factory(size, f"IVF{nlist},{code}", faiss.METRIC_INNER_PRODUCT)
    cells.cp.seed = seed + 1
    if kind == "ivfpq":
        cells.pq.cp.seed = seed + 1
    with _matrix_products():
        cells.train(sample)
    return cells


def fill_cells(cells, blocks: Iterable[np.ndarray]):
    """Return a copy of the cells that holds the vectors of `blocks`, each float32 `[n, D]`, and no others.

    Args:
        cells: from `learn_cells` or `read_cells`, or the `approximate` of another index.
        blocks: all vectors, in the order of their rows.
    """
    import faiss

    filled = faiss.clone_index(cells)
    filled.reset()
    for block in blocks:
        filled.add(block)
    return filled


def read_cells(folder: str | os.PathLike):
    """Return the cells of an index on disk without the vectors in them, which are not read.

    Raises:
        UserError: the folder has no cells, or they are damaged.
    """
    import faiss

    file = Path(folder) / CELLS_FILE
    if not file.is_file():
        raise UserError(f"{folder} has no cells: it is no index, or a flat one.", "Name an index of kind ivf or ivfpq.")
    try:
        cells = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read: it is damaged.", "Build the index again.") from error
    empty = faiss.ArrayInvertedLists(cells.nlist, cells.code_size)
    cells.replace_invlists(empty, True)
    empty.this.disown()  # the cells own it now
    cells.ntotal = 0
    return cells


def is_compressed(cells) -> bool:
    """Tell whether cells are of kind ivfpq."""
    return hasattr(cells, "pq")


def cells_for(count: int) -> int:
    """Return the number of cells for `count` vectors: 4 sqrt(N), but few enough to be learned from these vectors."""
    return max(1, min(round(4 * math.sqrt(count)), count // 39))


def sample_size(count: int, kind: str, nlist: int) -> int:
    """Return how many of `count` vectors the cells are learned from."""
    return min(count, max(_POINTS_A_CENTRE * nlist, 256 * _POINTS_A_CENTRE if kind == "ivfpq" else 0))


def sampled_rows(count: int, kind: str, nlist: int, seed: int = 0) -> np.ndarray:
    """Return the rows of the vectors that cells are learned from, int64 `[sample_size]`, rising."""
    return np.sort(np.random.default_rng(seed).choice(count, sample_size(count, kind, nlist), replace=False))


@contextmanager
def _matrix_products() -> Iterator[None]:
    """Make faiss learn by matrix products.

    From 1.15 on it compares vectors one by one where there are fewer than 128,000 numbers, which suits many threads.
    With few threads it makes the codebook of small samples or small vectors ten times as slow to learn.
    """
    import faiss

    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = min(before, _PRODUCTS_FROM * faiss.omp_get_max_threads())
    try:
        yield
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def _code(count: int, size: int) -> str:
    """Return faiss's name of the compression for `count` vectors `[size]`: as many bytes as divide the size."""
    bits = 8 if count >= 39 * 256 else 4
    if count < 39 * 16:
        raise UserError(f"{count:,} vectors are too few for ivfpq, which needs {39 * 16}.", "Use --kind flat.")
    parts = max(part for part in range(1, _CODE_BYTES + 1) if size % part == 0)
    return f"PQ{parts}x{bits}np"  # np: without the polysemous training, which takes minutes and is of no use here
