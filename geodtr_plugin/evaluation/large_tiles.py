"""How many references reach a query's threshold, on a GPU: large tiles of float32 products, and what these leave open.

A GPU idles while its host asks what is in doubt in a tile. So tiles are large, few kernels work on each, and the host
asks one thing of it. Everything is looked at once, and little a second time:

* Once, every similarity in float32, from the embeddings as they lie in memory: they are multiplied, scaled by the
  references' norms and compared with two bounds, an `error_bound` below and above the query's threshold. At least the
  upper one: it surely reaches the threshold. That moves 33 bytes a similarity, beside 2 D operations for it.
* A second time, in float64, the pairs between both bounds, since rounding may have put them on the wrong side. Of 8,884
  x 8,884 embeddings half of which are found these are one in 5,000.
* A second time, too, all of a tile with more pairs in doubt than MANY of it (embeddings that collapsed or were never
  trained): in small tiles, as on a CPU; and then every later tile at once.

Memory is that of one tile: 4 bytes a similarity and 5 for the comparisons. Embeddings that are float32 on the GPU are
not copied; others are, for each tile, which is then smaller.
"""

from __future__ import annotations

from math import ceil, isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .similarity import Vectors, error_bound, pair_similarities
from .tiles import MANY, OUT_OF_REACH, QueryBlock

Pairs = tuple[Tensor, Tensor]  # query and reference of each, int64 [T] both
CELLS = 5 * 2**20  # similarities of a tile
CELL_BYTES = 9  # of each, with what compares it
COPIED_BYTES = 2**23  # of the queries, and of the references, of a tile that have to be converted or sent
LONG, SHORT = 2.0**40, 2.0**-40  # norms beyond which products of vectors that are not normalised leave float32
# queries and references of a tile that is looked at again as a whole: 12 MiB each in float64, of 3,072 numbers
SMALL = (512, 512)


class Tiling(NamedTuple):
    """Blocks of queries and strips of references."""

    queries: int
    references: int
    height: int  # queries of a block
    width: int  # references of a strip

    @property
    def blocks(self) -> list[slice]:
        """The blocks, from the first query to the last."""
        return _parts(0, self.queries, self.height)

    @property
    def strips(self) -> list[slice]:
        """The strips, from the first reference to the last."""
        return _parts(0, self.references, self.width)


class LeftOutByTile:
    """The pairs that do not compete, tile by tile; sorted on the CPU, so that no tile has to wait for its own.

    Args:
        queries, references: of every pair, int64 `[T]`.
        tiling: of which tiles.
        device: where they are wanted.
    """

    def __init__(self, queries: np.ndarray, references: np.ndarray, tiling: Tiling, device: torch.device):
        self.blocks = len(tiling.blocks)
        tiles = references // tiling.width * self.blocks + queries // tiling.height
        order = np.argsort(tiles, kind="stable")
        self.ends = np.searchsorted(tiles[order], np.arange(len(tiling.strips) * self.blocks + 1))
        self.queries, self.references = (
            torch.from_numpy(numbers[order]).to(device, non_blocking=True)
            for numbers in (queries % tiling.height, references % tiling.width)
        )

    def within(self, strip: int, block: int) -> Pairs:
        """Return the pairs in a tile, counted from its first query and reference."""
        tile = strip * self.blocks + block
        here = slice(self.ends[tile], self.ends[tile + 1])
        return self.queries[here], self.references[here]


class LargeTiles:
    """All queries and references, tile by tile.

    Args:
        query, reference: all vectors; none is longer than LONG.
        threshold: of every query, float64 `[N]`.
        left_out: pairs that do not compete: query and reference of each, int64 `[T]`.
        buffer_bytes: of a tile; None: what CELLS take.
    """

    def __init__(
        self, query: Vectors, reference: Vectors, threshold: Tensor, left_out: tuple[np.ndarray, np.ndarray],
        buffer_bytes: int | None = None,
    ):  # fmt: skip
        self.query, self.reference, self.threshold = query, reference, threshold.clamp(max=OUT_OF_REACH)
        self.tiling = tiling(query, reference, CELLS if buffer_bytes is None else max(1, buffer_bytes // CELL_BYTES))
        self.left_out = LeftOutByTile(*left_out, self.tiling, query.device)
        norms = query.inverse_norms.reciprocal()
        error = error_bound(torch.float32, query.size, self.threshold)
        usual = norms.clamp(SHORT, LONG) == norms  # others are in doubt whatever comes out
        self.low = ((self.threshold - error) * norms).where(usual, -torch.inf).float()[:, None]
        self.high = ((self.threshold + error) * norms).where(usual, torch.inf).float()[:, None]

    def counts(self) -> Tensor:
        """Return how many competing references reach each query's threshold, int64 `[N]`."""
        counts = torch.zeros(len(self.query), dtype=torch.int64, device=self.query.device)
        crowded = False
        for strip, columns in enumerate(self.tiling.strips):
            references = self.reference.rows(columns, torch.float32)
            scale = self.reference.inverse_norms[columns].float()
            for block, rows in enumerate(self.tiling.blocks):
                left_out = self.left_out.within(strip, block)
                if not crowded:
                    sure, rest = self.compared(rows, references, scale, left_out)
                    crowded = len(rest) > MANY * (rows.stop - rows.start) * (columns.stop - columns.start)
                if crowded:
                    counts[rows].add_(self.again(rows, columns, left_out))
                    continue
                counts[rows].add_(sure)
                if len(rest):
                    self.decide(rows.start + rest[:, 0], columns.start + rest[:, 1], counts)
        return counts

    def compared(self, rows: slice, references: Tensor, scale: Tensor, left_out: Pairs) -> tuple[Tensor, Tensor]:
        """Return how many references of a tile surely reach the thresholds, and which pairs may or may not.

        Args:
            rows: the n queries.
            references: as they are, float32 `[w, D]`.
            scale: their inverse norms, float32 `[w]`.
            left_out: pairs that do not compete.

        Returns:
            int64 `[n]`; int64 `[T, 2]`, counted from the tile's first query and reference.
        """
        similarities = (self.query.rows(rows, torch.float32) @ references.T).mul_(scale)  # times the query's norm
        similarities[left_out] = torch.nan  # which reaches nothing
        # in float32: the sum of a mask of bools begins with a copy in int64
        sure = torch.ge(similarities, self.high[rows], out=torch.empty_like(similarities))
        return sure.sum(dim=1).long(), (similarities >= self.low[rows]).ne_(sure).nonzero()

    def decide(self, rows: Tensor, columns: Tensor, counts: Tensor) -> None:
        """Add to `counts` the pairs `[T]` that reach the threshold in float64."""
        reached = pair_similarities(self.query, rows, self.reference, columns) >= self.threshold[rows]
        counts.index_add_(0, rows, reached.long())

    def again(self, rows: slice, columns: slice, left_out: Pairs) -> Tensor:
        """Return how many references of a tile reach the thresholds, int64 `[n]`, in small tiles."""
        counts = torch.zeros(rows.stop - rows.start, dtype=torch.int64, device=self.query.device)
        pairs = rows.start + left_out[0], columns.start + left_out[1]
        for some in _parts(rows.start, rows.stop, SMALL[0]):
            here = (pairs[0] >= some.start) & (pairs[0] < some.stop)
            own = pairs[0][here] - some.start, pairs[1][here]
            block = QueryBlock(self.query, some, self.reference, self.threshold, own)
            for part in _parts(columns.start, columns.stop, SMALL[1]):
                counts[some.start - rows.start : some.stop - rows.start] += block.reached(part).sum(dim=1).long()
        return counts


def large_tiles_pay(query: Vectors, reference: Vectors) -> bool:
    """Tell whether large tiles are possible, and faster than such as fit a CPU's cache."""
    return query.device.type != "cpu" and max(query.longest, reference.longest) < LONG


def tiling(query: Vectors, reference: Vectors, cells: int) -> Tiling:
    """Return even tiles, about square, of at most so many similarities."""
    most = [max(1, COPIED_BYTES // (4 * x.size)) if x.copied else len(x) for x in (query, reference)]
    width = _even(len(reference), max(1, min(most[1], 2 * isqrt(cells))))
    height = _even(len(query), max(1, min(most[0], cells // width)))
    return Tiling(len(query), len(reference), height, width)


def _even(total: int, most: int) -> int:
    """Return the size of the fewest equal parts of at most so many."""
    return ceil(total / ceil(total / most))


def _parts(start: int, stop: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]
