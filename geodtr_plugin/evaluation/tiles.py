"""Which references reach a query's threshold, tile by tile: fast where that decides, in float64 where it does not."""

from __future__ import annotations

import torch
from torch import Tensor

from .similarity import Vectors, bfloat16_pays, error_bound, pair_similarities

OUT_OF_REACH = 4.0  # a threshold above every cosine
MANY = 1 / 256  # share of a query's references in a tile to be looked at again, from which the whole row is


class QueryBlock:
    """Some queries, compared with tile after tile of the references.

    A tile is computed in the fastest precision first. What lies within its error of the threshold is compared again:
    pair by pair in float64, or, for queries with many such references, the whole row in the next precision.

    Args:
        query, reference: all of them.
        rows: the queries of the block, n of them.
        threshold: of every query, float64 `[N]`: what is at least as similar reaches it.
        left_out: pairs that do not compete: query (counted from the block's first) and reference, int64 `[T]`.
    """

    def __init__(
        self, query: Vectors, rows: slice, reference: Vectors, threshold: Tensor, left_out: tuple[Tensor, Tensor]
    ):
        self.query, self.reference, self.rows, self.left_out = query, reference, rows, left_out
        self.threshold = threshold[rows].clamp(max=OUT_OF_REACH)
        fast = [torch.bfloat16] if bfloat16_pays(query.device) else []
        self.precisions = [*fast, torch.float32, torch.float64]
        self.units: dict[torch.dtype, Tensor] = {}

    def reached(self, columns: slice) -> Tensor:
        """Tell which competing references of a tile reach the thresholds, float32 `[n, columns]` of 0 and 1."""
        left_out = self._left_out(columns)
        first, *better = self.precisions
        reached, doubtful = self._compare(slice(None), columns, first)
        doubtful[left_out] = 0
        rows = self._with_many(doubtful)
        if 2 * len(rows) > len(doubtful):
            self.precisions = better  # later tiles will be alike
        for dtype in better:
            if not len(rows):
                break
            reached[rows], doubtful[rows] = self._compare(rows, columns, dtype)
            doubtful[left_out] = 0
            rows = self._with_many(doubtful)
        self._compare_pairs(reached, doubtful, columns)
        reached[left_out] = 0
        return reached

    def _left_out(self, columns: slice) -> tuple[Tensor, Tensor]:
        rows, references = self.left_out
        here = (references >= columns.start) & (references < columns.stop)
        return rows[here], references[here] - columns.start

    def _compare(self, rows: slice | Tensor, columns: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Tell what surely reaches the thresholds of some rows, and what may or may not, as floats of 0 and 1."""
        if dtype not in self.units:
            self.units[dtype] = self.query.unit_rows(self.rows, dtype)
        similarities = self.units[dtype][rows] @ self.reference.unit_rows(columns, dtype).T
        similarities = similarities.to(torch.promote_types(dtype, torch.float32))
        threshold = self.threshold[rows, None]
        error = error_bound(dtype, self.query.size, threshold)
        low, high = (bound.to(similarities.dtype) for bound in (threshold - error, threshold + error))
        reached = (similarities - high).ge_(0).float()  # faster than masks of bools
        return reached, similarities.sub_(low).ge_(0).float().sub_(reached)

    def _with_many(self, doubtful: Tensor) -> Tensor:
        """Return the rows with so many doubtful references that a product is faster than looking at each."""
        counts = doubtful.sum(dim=1)
        width = doubtful.shape[1]
        rows = (counts > MANY * width).nonzero()[:, 0]
        return rows if counts[rows].sum() > width else rows[:0]  # a product converts all references of the tile

    def _compare_pairs(self, reached: Tensor, doubtful: Tensor, columns: slice) -> None:
        """Write into `reached` what is doubtful, pair by pair."""
        rows, places = doubtful.nonzero(as_tuple=True)
        if len(rows):
            exact = pair_similarities(self.query, self.rows.start + rows, self.reference, columns.start + places)
            reached[rows, places] = (exact >= self.threshold[rows]).float()
