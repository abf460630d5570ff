"""How many references reach a query's threshold, on a GPU, in two looks: many numbers, few kernels, hardly a wait.

A GPU is through with a tile before its host has asked what was in doubt in it. So nothing is asked at first:

1. The first look multiplies all queries with all references in float32, as they lie in memory, and counts for every
   query and strip of references how many similarities are surely at least the threshold, and how many possibly are;
   the two bounds lie an `error_bound` below and above it. Where both numbers agree, the count is final. Of the
   similarities a product writes 4 bytes, scaling reads and writes them again, and each comparison reads them once: that
   is 20 bytes for 2 D operations, a few percent of the product's time.
2. The second look is at what float32 left open. A query and strip whose numbers differ, of trained embeddings about
   one of a hundred, is multiplied again for the places of its doubtful similarities, which pairs in float64 decide: the
   first look did not keep them, since that would have made the host wait for every tile. Queries with many of them
   (collapsed embeddings) are counted as on a CPU, whole rows in the next precision.

The host waits three times for the first look and three times a strip for the second, however many queries there are.
Memory is that of one tile, its similarities and a mask: `LOOK_CELLS` of 5 bytes. Embeddings that are float32 on the GPU
are not copied; others are, tile by tile, which are then smaller.
"""

from __future__ import annotations

from math import ceil, isqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .similarity import Vectors, error_bound, pair_similarities
from .tiles import MANY, OUT_OF_REACH, QueryBlock

Pairs = tuple[Tensor, Tensor]  # query and reference of each, int64 [T] both, sorted by query
LOOK_CELLS = 9 * 2**20  # similarities of a tile: 45 MiB with the mask
COPIED_BYTES = 2**23  # of float32 rows, where they are picked out, converted or sent
LONG, SHORT = 2.0**40, 2.0**-40  # norms beyond which products of vectors that are not normalised leave float32
WHOLE = (1024, 512)  # queries and references of a tile, where whole rows are compared again


class Tiling(NamedTuple):
    """Blocks of queries and strips of references."""

    height: int  # queries of a block
    width: int  # references of a strip
    queries: int
    references: int

    @property
    def blocks(self) -> list[slice]:
        """The blocks, from the first query to the last."""
        return [slice(top, min(top + self.height, self.queries)) for top in range(0, self.queries, self.height)]

    @property
    def strips(self) -> list[slice]:
        """The strips, from the first reference to the last."""
        return [slice(left, min(left + self.width, self.references)) for left in range(0, self.references, self.width)]


class LeftOutByTile:
    """The pairs that do not compete, tile by tile, sorted on the CPU so that no tile has to wait for its own.

    Args:
        queries, references: of every pair, int64 `[T]`.
        tiling: of which tiles.
        device: where they are wanted.
    """

    def __init__(self, queries: np.ndarray, references: np.ndarray, tiling: Tiling, device: torch.device):
        self.tiling = tiling
        tiles = references // tiling.width * len(tiling.blocks) + queries // tiling.height
        order = np.lexsort((queries, tiles))
        self.ends = np.searchsorted(tiles[order], np.arange(len(tiling.strips) * len(tiling.blocks) + 1))
        self.queries, self.references = (
            torch.from_numpy(part[order]).to(device, non_blocking=True) for part in (queries, references)
        )

    def within(self, strip: int, block: int | None = None) -> Pairs:
        """Return the pairs in a strip, or in one tile of it, counted from its first reference and the tile's query."""
        blocks = self.tiling.blocks
        first, last = (0, len(blocks)) if block is None else (block, block + 1)
        here = slice(*(self.ends[strip * len(blocks) + tile] for tile in (first, last)))
        return self.queries[here] - blocks[first].start, self.references[here] - self.tiling.strips[strip].start


class TwoLooks:
    """The two looks.

    Args:
        query, reference: all vectors; none is longer than LONG.
        threshold: of every query, float64 `[N]`.
        left_out: pairs that do not compete.
        buffer_bytes: of a tile; None: what LOOK_CELLS take.
    """

    def __init__(
        self, query: Vectors, reference: Vectors, threshold: Tensor, left_out: tuple[np.ndarray, np.ndarray],
        buffer_bytes: int | None = None,
    ):  # fmt: skip
        self.query, self.reference, self.threshold = query, reference, threshold.clamp(max=OUT_OF_REACH)
        self.tiling = tiling(query, reference, LOOK_CELLS if buffer_bytes is None else max(1, buffer_bytes // 5))
        self.left_out = LeftOutByTile(*left_out, self.tiling, query.device)
        norms = query.inverse_norms.reciprocal()
        error = error_bound(torch.float32, query.size, self.threshold)
        plain = norms.clamp(SHORT, LONG) == norms  # others are in doubt whatever comes out
        self.low = ((self.threshold - error) * norms).where(plain, -torch.inf).float()[:, None]
        self.high = ((self.threshold + error) * norms).where(plain, torch.inf).float()[:, None]

    def counts(self) -> Tensor:
        """Return how many competing references reach each query's threshold, int64 `[N]`."""
        counts, doubts, undecided = self.first()
        many = doubts > MANY * len(self.reference)
        strips, rows = undecided.logical_and_(~many).nonzero(as_tuple=True)
        sizes = strips.bincount(minlength=len(self.tiling.strips)).tolist()
        height = max(1, min(self.tiling.height // 2, COPIED_BYTES // (4 * self.query.size)))
        for strip, some in enumerate(rows.split(sizes)):
            for part in filter(len, some.split(height)):
                self.second(strip, part, counts)
        for part in filter(len, many.nonzero()[:, 0].split(WHOLE[0])):
            counts[part] = self.whole(part)
        return counts

    def first(self) -> tuple[Tensor, Tensor, Tensor]:
        """Look at everything in float32, without waiting.

        Returns:
            The counts int64 `[N]` of the strips in which all is sure, how many references are in doubt, int64 `[N]`,
            and in which strips, bool `[strips, N]`.
        """
        device, n = self.query.device, len(self.query)
        counts, doubts = torch.zeros(2, n, dtype=torch.int64, device=device)
        undecided = torch.empty(len(self.tiling.strips), n, dtype=torch.bool, device=device)
        for strip, columns in enumerate(self.tiling.strips):
            references = self._references(columns)
            for block, rows in enumerate(self.tiling.blocks):
                similarities = self._product(rows, *references)
                similarities[self.left_out.within(strip, block)] = torch.nan  # which reaches nothing
                sure, possible = ((similarities >= bound[rows]).sum(dim=1) for bound in (self.high, self.low))
                doubtful = possible.sub_(sure)
                undecided[strip, rows] = doubtful
                doubts[rows] += doubtful
                counts[rows] += sure.mul_(doubtful == 0)
        return counts, doubts, undecided

    def second(self, strip: int, rows: Tensor, counts: Tensor) -> None:
        """Add to `counts` what some queries, rising rows `[n]`, reach in a strip; what is in doubt in float64."""
        columns = self.tiling.strips[strip]
        similarities = self._product(rows, *self._references(columns))
        similarities[among(rows, self.left_out.within(strip))] = torch.nan
        sure = similarities >= self.high[rows]
        places = (similarities >= self.low[rows]).logical_xor_(sure).nonzero()
        counts.index_add_(0, rows, sure.sum(dim=1))
        asked, others = rows[places[:, 0]], columns.start + places[:, 1]
        reached = pair_similarities(self.query, asked, self.reference, others) >= self.threshold[asked]
        counts.index_add_(0, asked, reached.long())

    def whole(self, rows: Tensor) -> Tensor:
        """Return the counts of some queries, rising rows `[n]`, as on a CPU."""
        left_out = among(rows, (self.left_out.queries, self.left_out.references))
        block = QueryBlock(self.query.take(rows), slice(0, len(rows)), self.reference, self.threshold[rows], left_out)
        strips = Tiling(WHOLE[0], WHOLE[1], len(rows), len(self.reference)).strips
        return sum(block.reached(columns).sum(dim=1).long() for columns in strips)

    def _references(self, columns: slice) -> tuple[Tensor, Tensor]:
        """Return the references `[w, D]` of a strip as they are, and their inverse norms `[w]`, in float32."""
        return self.reference.rows(columns, torch.float32), self.reference.inverse_norms[columns].float()

    def _product(self, rows: slice | Tensor, references: Tensor, scale: Tensor) -> Tensor:
        """Return the cosines `[n, w]`, times the norms of the queries."""
        return (self.query.rows(rows, torch.float32) @ references.T).mul_(scale)


def tiling(query: Vectors, reference: Vectors, cells: int) -> Tiling:
    """Return even tiles of at most so many similarities, wide ones, since the second look is strip by strip."""
    copies = [max(1, COPIED_BYTES // (4 * x.size)) if x.copied else len(x) for x in (query, reference)]
    width = _even(len(reference), min(copies[1], max(1, isqrt(4 * cells))))
    height = _even(len(query), min(copies[0], max(1, cells // width)))
    return Tiling(height, width, len(query), len(reference))


def among(rows: Tensor, pairs: Pairs) -> Pairs:
    """Return those of the pairs whose query is one of some rising rows `[n]`, counted by their places there."""
    places = torch.searchsorted(rows, pairs[0]).clamp_(max=len(rows) - 1)
    here = (rows[places] == pairs[0]).nonzero()[:, 0]
    return places[here], pairs[1][here]


def looks_pay(query: Vectors, reference: Vectors) -> bool:
    """Tell whether two looks are possible, and faster than asking what is in doubt in every tile."""
    return query.device.type != "cpu" and max(query.longest, reference.longest) < LONG


def _even(total: int, most: int) -> int:
    """Return the size of the fewest equal parts of at most so many."""
    return ceil(total / ceil(total / most))
