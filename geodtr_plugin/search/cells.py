"""The cells of an inverted file: learned from a sample of the vectors, then filled; on GPUs where faiss sees any.

Cells that were learned once can be filled with other vectors: so every host of a gallery that is too large for one
builds its own part.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..utils.errors import UserError

FILE = "cells.faiss"  # of an index on disk
log = logging.getLogger("geodtr_plugin")
_POINTS_A_CENTRE = 64  # training vectors for each cell; faiss asks for 39 at least
_CODE_BYTES = 64  # of a compressed vector, at most
_PRODUCTS_FROM = 2500  # numbers a thread: from there on, a matrix product is faster than vector by vector


def learn_cells(vectors: np.ndarray, kind: str, *, nlist: int | None = None, seed: int = 0, gpu: bool = True):
    """An inverted file that is learned from a sample of the vectors, and holds none of them.

    Args:
        vectors: `[N, D]`, float32 or float16; may be a memory map.
        kind: "ivf" is for vectors as they are, "ivfpq" for compressed ones.
        nlist: cells; 4 sqrt(N) by default.
        seed: of the sample, and of the first centres.
        gpu: learn on the GPUs that faiss sees.

    Returns:
        a faiss index in the memory of the host.

    Raises:
        UserError: there are too few vectors.
    """
    import faiss

    count, size = vectors.shape
    nlist = cells_for(count) if nlist is None else nlist
    if not 1 <= nlist <= count:
        raise UserError(f"{count:,} vectors cannot fill {nlist:,} cells. Lower --nlist.")
    code = _code(count, size) if kind == "ivfpq" else "SQfp16" if vectors.dtype == np.float16 else "Flat"
    sample = np.ascontiguousarray(vectors[sampled_rows(count, kind, nlist, seed)], np.float32)

    def learn(to_gpus: Callable | None):
        cells = faiss.index_factory(size, f"IVF{nlist},{code}", faiss.METRIC_INNER_PRODUCT)
        cells.cp.seed = seed + 1
        if kind == "ivfpq":
            cells.pq.cp.seed = seed + 1
        centres = None if to_gpus is None else to_gpus(faiss.IndexFlatIP(size))  # where k-means compares
        cells.clustering_index = centres  # faiss does not keep it alive: the name does
        with _matrix_products():
            cells.train(sample)
        cells.clustering_index = None
        return cells

    return _on_gpus_or_cpu(learn, "learned", gpu)


def fill_cells(cells, blocks: Callable[[], Iterable[tuple[int, np.ndarray]]], gpu: bool = True):
    """A copy of the cells that holds vectors, and no others.

    Args:
        cells: of `learn_cells`, `read_cells` or another index.
        blocks: gives (first row, float32 `[n, D]`) of all vectors, anew whenever it is called.
        gpu: find the nearest cells on the GPUs that faiss sees; vectors stay in the memory of the host.
    """
    import faiss
    from faiss.contrib.ivf_tools import add_preassigned

    def fill(to_gpus: Callable | None):
        filled = faiss.clone_index(cells)
        filled.reset()
        centres = filled.quantizer if to_gpus is None else to_gpus(filled.quantizer)
        for _, block in blocks():
            add_preassigned(filled, block, centres.search(block, 1)[1].ravel())
        return filled

    return _on_gpus_or_cpu(fill, "filled", gpu)


def read_cells(folder: str | os.PathLike):
    """The cells of an index on disk, without the vectors in them, which are not read.

    Raises:
        UserError: there are none, or they are damaged.
    """
    import faiss

    file = Path(folder) / FILE
    if not file.is_file():
        raise UserError(f"{folder} has no cells: it is no index, or a flat one. Name an index of kind ivf or ivfpq.")
    try:
        cells = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        raise UserError(f"{file} cannot be read: it is damaged. Build the index again.") from error
    empty = faiss.ArrayInvertedLists(cells.nlist, cells.code_size)
    cells.replace_invlists(empty, True)
    empty.this.disown()  # the cells own it now
    cells.ntotal = 0
    return cells


def is_compressed(cells) -> bool:
    """Whether they are of kind ivfpq."""
    return hasattr(cells, "pq")


def cells_for(count: int) -> int:
    """Cells for so many vectors: 4 sqrt(N), and few enough to be learned."""
    return max(1, min(round(4 * math.sqrt(count)), count // 39))


def sample_size(count: int, kind: str, nlist: int) -> int:
    """How many of so many vectors the cells are learned from."""
    return min(count, max(_POINTS_A_CENTRE * nlist, 256 * _POINTS_A_CENTRE if kind == "ivfpq" else 0))


def sampled_rows(count: int, kind: str, nlist: int, seed: int = 0) -> np.ndarray:
    """Which ones these are: rising rows."""
    return np.sort(np.random.default_rng(seed).choice(count, sample_size(count, kind, nlist), replace=False))


def _on_gpus_or_cpu(work: Callable, done: str, gpu: bool):
    """The result of `work`, which is given faiss's way of copying an index to all GPUs, or None for the CPU.

    What fails on the GPUs (their memory is full, a driver does not fit) is told and begun anew on the CPU.
    """
    import faiss

    if gpu and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        try:
            return work(faiss.index_cpu_to_all_gpus)
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            log.warning(f"The cells cannot be {done} on the GPU ({reason}). It is done on the CPU.")
    return work(None)


@contextmanager
def _matrix_products():
    """Makes faiss learn by matrix products.

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
    """Product quantizer for vectors of that size: as many bytes as divide it, at most _CODE_BYTES."""
    bits = 8 if count >= 39 * 256 else 4
    if count < 39 * 16:
        raise UserError(f"{count:,} vectors are too few for ivfpq, which needs {39 * 16}. Use --kind flat.")
    parts = max(part for part in range(1, _CODE_BYTES + 1) if size % part == 0)
    return f"PQ{parts}x{bits}np"  # np: without the polysemous training, which takes minutes and is of no use here
