"""Nearest neighbours by inner product, exact or approximate; it knows vectors only, wherever they come from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..evaluation import most_similar
from ..utils.errors import UserError
from ..utils.files import atomic_path

if TYPE_CHECKING:
    from ..distances import HeadingDistance

Kind = Literal["auto", "flat", "ivf", "ivfpq"]
EXACT_UP_TO = 50_000  # vectors; scanning so few takes less time than embedding the query
MOST_COPIED = 4 * 2**30  # bytes of vectors that "auto" still copies into an inverted file; beyond it, it compresses
_BLOCK_BYTES = 256 * 2**20  # of vectors that are float32 in memory at once
_REFINED = 20  # compressed candidates for each answer, re-ranked by their true vectors
_POINTS_A_CENTRE = 64  # training vectors for each cell; faiss asks for 39 at least
_CODE_BYTES = 64  # of a compressed vector, at most
_PRODUCTS_FROM = 2500  # numbers a thread: from there on, a matrix product is faster than vector by vector


class VectorIndex:
    """Vectors, and an approximate index of them where there is one.

    "flat" compares a query with every vector. "ivf" sorts the vectors into cells and compares with those of the
    `nprobe` nearest cells. "ivfpq" keeps compressed vectors in the cells, and re-ranks the best by their true vectors.
    Vectors of unit length make inner products cosine similarities.

    Args:
        vectors: `[N, D]`, float32 or float16; may be a memory map, which is then read as it is needed.
        approximate: a faiss inverted file over them; None compares with all.
        nprobe: cells that a search looks at.

    Raises:
        ValueError: the vectors are of another shape or type.
    """

    FILE = "cells.faiss"  # that `save` writes

    def __init__(self, vectors: np.ndarray, approximate=None, nprobe: int = 1):
        if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype not in (np.float32, np.float16):
            raise ValueError(f"vectors must be float32 or float16 [N, D], not {vectors.dtype} {list(vectors.shape)}")
        self.vectors, self.approximate, self.nprobe = vectors, approximate, nprobe

    @classmethod
    def build(
        cls, vectors: np.ndarray, kind: Kind = "auto", *, nlist: int | None = None, nprobe: int | None = None,
        seed: int = 0,
    ) -> VectorIndex:  # fmt: skip
        """Index vectors; equal vectors, seed and number of threads give equal bytes.

        Args:
            vectors: `[N, D]`, float32 or float16.
            kind: "flat", "ivf" or "ivfpq"; "auto" is exact below EXACT_UP_TO vectors, and compresses above 4 GiB.
            nlist: number of cells; 4 sqrt(N) by default.
            nprobe: cells that a search looks at; a sixteenth of them by default.
            seed: of the sample that cells are learned from, and of their first centres.

        Raises:
            UserError: there are too few vectors for that kind, or no such kind.
        """
        if kind not in get_args(Kind):
            raise UserError(f"There is no kind of index {kind!r}: {', '.join(get_args(Kind))}.")
        index = cls(vectors)
        kind = choose_kind(vectors) if kind == "auto" else kind
        if kind != "flat":
            cells = index.approximate = _learned_cells(vectors, kind, nlist, seed)
            index.nprobe = min(cells.nlist, max(1, cells.nlist // 16) if nprobe is None else nprobe)
            for block in index._blocks():
                cells.add(block)
        return index

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kind(self) -> str:
        """One of flat, ivf and ivfpq."""
        if self.approximate is None:
            return "flat"
        return "ivfpq" if _is_compressed(self.approximate) else "ivf"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows, int64 `[n]`: float32 `[n, D]`."""
        return self.vectors[rows].astype(np.float32)

    def search(
        self, queries: np.ndarray, k: int = 5, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None, candidates: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Find the most similar vectors, best first; of equal ones, the one of the lower row comes first.

        Args:
            queries: float32 `[Q, D]`.
            k: vectors to find for each; never more than there are.
            exact: compare with every vector.
            nprobe: cells to look at; by default as built.
            distance: of the model, where it has one of its own, by whose similarity every vector is compared; queries
                are then `[Q, Dq]`.
            candidates: rows int64 `[C]` to choose from, each of which is compared; None: all.

        Returns:
            Similarities float32 `[Q, k]` and rows int64 `[Q, k]`.

        Raises:
            ValueError: the queries have another shape.
            UserError: k or nprobe is below 1, or a query is not finite.
        """
        queries = check_queries(queries, k, nprobe)
        if distance is None and queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(f"queries must be [Q, {self.vectors.shape[1]}], not {list(queries.shape)}")
        k = min(k, len(self) if candidates is None else len(candidates))
        if self.approximate is None or exact or distance is not None or candidates is not None:
            return most_similar(queries, self.vectors, k, candidates=candidates, normalised=True, distance=distance)
        return self._search_cells(queries, k, self.nprobe if nprobe is None else nprobe)

    def save(self, folder: str | os.PathLike) -> None:
        """Write what a search needs besides the vectors, which their owner keeps."""
        if self.approximate is not None:
            import faiss

            self.approximate.nprobe = self.nprobe  # it is written too, and must not be that of the last search
            with atomic_path(Path(folder) / self.FILE) as file:
                faiss.write_index(self.approximate, str(file))

    @classmethod
    def load(cls, vectors: np.ndarray, folder: str | os.PathLike, nprobe: int = 1) -> VectorIndex:
        """Return the index that `save` wrote into a folder, over its vectors `[N, D]`.

        Raises:
            UserError: the file is damaged, or belongs to other vectors.
        """
        file = Path(folder) / cls.FILE
        if not file.is_file():
            return cls(vectors)
        import faiss

        try:
            approximate = faiss.read_index(str(file))
        except RuntimeError as error:
            raise UserError(f"{file} cannot be read: it is damaged.", "Build the index again.") from error
        if (approximate.ntotal, approximate.d) != vectors.shape:
            raise UserError(f"{file} belongs to other vectors.", "Build the index again.")
        return cls(vectors, approximate, nprobe)

    def _blocks(self) -> Iterator[np.ndarray]:
        """Return all vectors as float32 `[n, D]`, as many at a time as memory allows."""
        step = max(1, _BLOCK_BYTES // (4 * self.vectors.shape[1]))
        for start in range(0, len(self), step):
            yield np.ascontiguousarray(self.vectors[start : start + step], np.float32)

    def _search_cells(self, queries: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        compressed = _is_compressed(self.approximate)
        # set, not passed as search parameters: pytorch-metric-learning imports faiss's replacements, which take none
        self.approximate.nprobe = min(nprobe, self.approximate.nlist)
        similarities, rows = self.approximate.search(queries, min(len(self), k * _REFINED if compressed else k))
        if compressed:
            similarities = self._true_similarities(queries, rows)
        similarities[rows < 0] = -np.inf
        similarities, rows = sorted_best(similarities, rows, k)
        too_few = (rows < 0).any(axis=1)  # the cells held fewer than k
        if too_few.any():
            similarities[too_few], rows[too_few] = self.search(queries[too_few], k, exact=True)
        return similarities, rows

    def _true_similarities(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return inner products float32 `[Q, R]` with the vectors in rows `[Q, R]`; a row of -1 gives any number."""
        return np.stack([self.vectors[near].astype(np.float32) @ query for query, near in zip(queries, rows)])


def choose_kind(vectors: np.ndarray) -> Kind:
    """Return the kind that "auto" stands for with vectors `[N, D]`."""
    if len(vectors) < EXACT_UP_TO:
        return "flat"
    return "ivf" if 4 * vectors.size <= MOST_COPIED else "ivfpq"


def cells_for(count: int) -> int:
    """Return the number of cells for `count` vectors: 4 sqrt(N), but few enough to be learned from these vectors."""
    return max(1, min(round(4 * math.sqrt(count)), count // 39))


def check_queries(queries: np.ndarray, k: int, nprobe: int | None) -> np.ndarray:
    """Return queries `[Q, D]` as a search wants them, float32.

    Raises:
        ValueError: they have another shape.
        UserError: k or nprobe is below 1, or a query is not finite.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    if queries.ndim != 2:
        raise ValueError(f"queries must be [Q, D], not {list(queries.shape)}")
    if k < 1 or (nprobe is not None and nprobe < 1):
        raise UserError("k and nprobe must be 1 at least.")
    if not np.isfinite(queries).all():
        raise UserError("The queries' embeddings are not finite: the model diverged.", "Use earlier weights.")
    return queries


def sorted_best(similarities: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of each line of similarities and rows `[Q, R]`, sorted by similarity and then by row."""
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _learned_cells(vectors: np.ndarray, kind: str, nlist: int | None, seed: int):
    """Return an inverted file of faiss that is learned from a sample of the vectors `[N, D]`, and holds none of them.

    Raises:
        UserError: there are too few vectors.
    """
    import faiss

    count, size = vectors.shape
    nlist = cells_for(count) if nlist is None else nlist
    if not 1 <= nlist <= count:
        raise UserError(f"{count:,} vectors cannot fill {nlist:,} cells.", "Lower --nlist.")
    code = _code(count, size) if kind == "ivfpq" else "SQfp16" if vectors.dtype == np.float16 else "Flat"
    sample = np.ascontiguousarray(vectors[_sampled_rows(count, kind, nlist, seed)], np.float32)
    cells = faiss.index_factory(size, f"IVF{nlist},{code}", faiss.METRIC_INNER_PRODUCT)
    cells.cp.seed = seed + 1
    if kind == "ivfpq":
        cells.pq.cp.seed = seed + 1
    with _matrix_products():
        cells.train(sample)
    return cells


def _is_compressed(cells) -> bool:
    """Tell whether cells are of kind ivfpq."""
    return hasattr(cells, "pq")


def _sampled_rows(count: int, kind: str, nlist: int, seed: int) -> np.ndarray:
    """Return the rows of the vectors that cells are learned from, int64 `[n]`, rising."""
    wanted = max(_POINTS_A_CENTRE * nlist, 256 * _POINTS_A_CENTRE if kind == "ivfpq" else 0)
    return np.sort(np.random.default_rng(seed).choice(count, min(count, wanted), replace=False))


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
