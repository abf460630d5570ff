"""Nearest neighbours by inner product, exact or approximate; it knows vectors only, wherever they come from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..evaluation import most_similar
from ..utils.errors import UserError
from ..utils.files import atomic_path
from .cells import CELLS_FILE, fill_cells, is_compressed, learn_cells

if TYPE_CHECKING:
    from ..distances import HeadingDistance

Kind = Literal["auto", "flat", "ivf", "ivfpq"]
EXACT_UP_TO = 50_000  # vectors; scanning so few takes less time than embedding the query
MOST_COPIED = 4 * 2**30  # bytes of vectors that "auto" still copies into an inverted file; beyond it, it compresses
_BLOCK_BYTES = 256 * 2**20  # of vectors that are float32 in memory at once
_REFINED = 20  # compressed candidates for each answer, re-ranked by their true vectors


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

    FILE = CELLS_FILE  # that `save` writes

    def __init__(self, vectors: np.ndarray, approximate=None, nprobe: int = 1):
        if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype not in (np.float32, np.float16):
            raise ValueError(f"vectors must be float32 or float16 [N, D], not {vectors.dtype} {list(vectors.shape)}")
        self.vectors, self.approximate, self.nprobe = vectors, approximate, nprobe

    @classmethod
    def build(
        cls, vectors: np.ndarray, kind: Kind = "auto", *, nlist: int | None = None, nprobe: int | None = None,
        seed: int = 0, cells=None,
    ) -> VectorIndex:  # fmt: skip
        """Index vectors; equal vectors, seed and number of threads give equal bytes.

        Args:
            vectors: `[N, D]`, float32 or float16.
            kind: "flat", "ivf" or "ivfpq"; "auto" is exact below EXACT_UP_TO vectors, and compresses above 4 GiB.
            nlist: number of cells; 4 sqrt(N) by default.
            nprobe: cells that a search looks at; a sixteenth of them by default.
            seed: of the sample that cells are learned from, and of their first centres.
            cells: from `learn_cells` or `read_cells`, or the `approximate` of another index, instead of learning them
                here; they bring kind and nlist.

        Raises:
            UserError: there are too few vectors for that kind, or no such kind, or the cells do not fit.
        """
        if kind not in get_args(Kind):
            raise UserError(f"There is no kind of index {kind!r}: {', '.join(get_args(Kind))}.")
        refuse_two_sources(cells, kind, nlist)
        index = cls(vectors)
        kind = choose_kind(vectors) if kind == "auto" else kind
        if cells is None and kind != "flat":
            cells = learn_cells(vectors, kind, nlist=nlist, seed=seed)
        if cells is not None:
            if cells.d != vectors.shape[1]:
                raise UserError(f"The cells are for vectors of {cells.d} numbers, not of {vectors.shape[1]}.")
            index.nprobe = min(cells.nlist, max(1, cells.nlist // 16) if nprobe is None else nprobe)
            index.approximate = fill_cells(cells, index._blocks())
        return index

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kind(self) -> str:
        """One of flat, ivf and ivfpq."""
        if self.approximate is None:
            return "flat"
        return "ivfpq" if is_compressed(self.approximate) else "ivf"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows, int64 `[n]`: float32 `[n, D]`."""
        return self.vectors[rows].astype(np.float32)

    def search(
        self, queries: np.ndarray, k: int = 5, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Find the most similar vectors, best first; of equal ones, the one of the lower row comes first.

        Args:
            queries: float32 `[Q, D]`.
            k: vectors to find for each; never more than there are.
            exact: compare with every vector.
            nprobe: cells to look at; by default as built.
            distance: of the model, where it has one of its own, by whose similarity every vector is compared; queries
                are then `[Q, Dq]`.

        Returns:
            Similarities float32 `[Q, k]` and rows int64 `[Q, k]`.

        Raises:
            ValueError: the queries have another shape.
            UserError: k or nprobe is below 1, or a query is not finite.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or (distance is None and queries.shape[1] != self.vectors.shape[1]):
            raise ValueError(f"queries must be [Q, {self.vectors.shape[1]}], not {list(queries.shape)}")
        if k < 1 or (nprobe is not None and nprobe < 1):
            raise UserError("k and nprobe must be 1 at least.")
        if not np.isfinite(queries).all():
            raise UserError("The queries' embeddings are not finite: the model diverged.", "Use earlier weights.")
        k = min(k, len(self))
        if self.approximate is None or exact or distance is not None:
            return most_similar(queries, self.vectors, k, normalised=True, distance=distance)
        return self._search_cells(queries, k, self.nprobe if nprobe is None else nprobe)

    def save(self, folder: str | os.PathLike) -> None:
        """Write what a search needs besides the vectors, which their owner keeps."""
        if self.approximate is not None:
            import faiss

            self.approximate.nprobe = self.nprobe  # it is written too, and must not be that of the last search
            with atomic_path(Path(folder) / CELLS_FILE) as file:
                faiss.write_index(self.approximate, str(file))

    @classmethod
    def load(cls, vectors: np.ndarray, folder: str | os.PathLike, nprobe: int = 1) -> VectorIndex:
        """Return the index that `save` wrote into a folder, over its vectors `[N, D]`.

        Raises:
            UserError: the file is damaged, or belongs to other vectors.
        """
        file = Path(folder) / CELLS_FILE
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
        compressed = is_compressed(self.approximate)
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


def refuse_two_sources(cells, kind: Kind, nlist: int | None) -> None:
    """Refuse a kind or a number of cells beside cells that were learned before, which bring both.

    Raises:
        UserError: there are cells, and a kind or a number too.
    """
    if cells is not None and (kind != "auto" or nlist is not None):
        raise UserError("Cells of another index bring their kind and number: leave out --kind and --nlist.")


def sorted_best(similarities: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of each line of similarities and rows `[Q, R]`, sorted by similarity and then by row."""
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)
