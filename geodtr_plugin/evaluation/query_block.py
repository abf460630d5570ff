"""Some queries compared with tile after tile of references: quickly where that decides, exactly where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .similarity import (
    BFLOAT16_UNIT,
    Vectors,
    bfloat16_error,
    bfloat16_pays,
    coarse_similarities,
    exact_similarities,
    float32_error,
    pair_similarities,
    tile_similarities,
)

OUT_OF_REACH = 4.0  # a threshold above every cosine
CROWDED = 1 / 128  # share of a query's references to be looked at again from which all of them are, in one product


class Precision(NamedTuple):
    """One way to compute a tile of similarities.

    Args:
        dtype: of the queries and of the tile.
        similarities: (unit queries, references, columns) -> tile.
        error: bound on the error of a similarity of vectors of so many entries.
        rounding: relative error that the tile's own dtype adds.
    """

    dtype: torch.dtype
    similarities: Callable[[Tensor, Vectors, slice], Tensor]
    error: Callable[[int], float]
    rounding: float


PRECISIONS = (
    Precision(torch.bfloat16, coarse_similarities, bfloat16_error, 2 * BFLOAT16_UNIT),
    Precision(torch.float32, tile_similarities, float32_error, 0.0),
)


class QueryBlock:
    """Some queries, ready to be compared with tile after tile of the references.

    A tile is computed in a low precision first, where that is fast. What lies within its error of a query's threshold
    is computed again: pair by pair in float64, or, for queries with many such references, in the next precision.

    Args:
        query, reference: all of them.
        rows: which queries.
        threshold: of every query, float64 `[N]`: similarities that are at least this count.
        left_out: (query, reference) pairs that do not count, sorted by query, two int64 `[T]`.
        groups: number of each reference's group, int64 `[M]`; then groups are counted instead of references.
        num_groups: how many there are.
    """

    def __init__(
        self, query: Vectors, rows: slice, reference: Vectors, threshold: Tensor, left_out: tuple[Tensor, Tensor],
        groups: Tensor | None = None, num_groups: int = 0,
    ):  # fmt: skip
        self.query, self.reference = query, reference
        self.threshold = threshold[rows].clamp(max=OUT_OF_REACH)
        self.precisions = PRECISIONS if bfloat16_pays(query.device) else PRECISIONS[1:]
        unit = query.unit32(rows)
        self.units = {precision.dtype: unit.to(precision.dtype) for precision in self.precisions}
        self.rows = torch.arange(len(unit), device=query.device)
        self.first = rows.start
        left_rows, left_columns = left_out
        ends = torch.searchsorted(left_rows, torch.tensor([rows.start, rows.stop]))
        self.left_rows = (left_rows[ends[0] : ends[1]] - rows.start).to(query.device)
        self.left_columns = left_columns[ends[0] : ends[1]].to(query.device)
        self.groups = None if groups is None else groups.to(query.device)
        self.num_groups = num_groups

    def count(self, tiles: list[slice]) -> Tensor:
        """Number of competing references in all tiles, or of their groups, that reach the thresholds, int64 `[n]`."""
        if self.groups is None:
            return sum(self.reached(columns).sum(dim=1) for columns in tiles)
        hits = torch.zeros(len(self.rows), self.num_groups, dtype=torch.int32, device=self.query.device)
        for columns in tiles:
            hits.index_add_(1, self.groups[columns], self.reached(columns).int())
        return (hits > 0).sum(dim=1)

    def reached(self, columns: slice) -> Tensor:
        """Which competing references in `columns` reach the thresholds, bool `[n, columns]`."""
        here = (self.left_columns >= columns.start) & (self.left_columns < columns.stop)
        left_out = self.left_rows[here], self.left_columns[here] - columns.start
        reached = self._all(columns, left_out) if self.precisions else self._exactly(self.rows, columns)
        reached[left_out] = False
        return reached

    def _all(self, columns: slice, left_out: tuple[Tensor, Tensor]) -> Tensor:
        """`reached`, whatever is left out; what most queries are in doubt about, later tiles do not try again."""
        precision, *better = self.precisions
        reached, doubtful = self._compare(self.rows, columns, precision)
        doubtful[left_out] = False
        crowded = self._resolve(reached, doubtful, self.rows, columns, better)
        if 2 * crowded > len(self.rows):
            self.precisions = better
        return reached

    def _compare(self, rows: Tensor, columns: slice, precision: Precision) -> tuple[Tensor, Tensor]:
        """What surely reaches the thresholds of some rows, and what may or may not, two bool `[rows, columns]`."""
        unit, threshold = self.units[precision.dtype], self.threshold[rows, None]
        tile = precision.similarities(unit if rows is self.rows else unit[rows], self.reference, columns)
        error = precision.error(self.query.size) + precision.rounding * threshold.abs()
        reached = tile > (threshold + error).to(tile.dtype)
        return reached, (tile >= (threshold - error).to(tile.dtype)) ^ reached

    def _resolve(self, reached: Tensor, doubtful: Tensor, rows: Tensor, columns: slice, better: list) -> int:
        """Write into `reached` what is doubtful; returns the number of rows that needed a better precision for it."""
        counts, width = doubtful.sum(dim=1), doubtful.shape[1]
        crowded = (counts > CROWDED * width).nonzero()[:, 0]
        if counts[crowded].sum() <= width:  # a product reads, and may convert, all columns: not for a few pairs
            crowded = crowded[:0]
        if len(crowded):
            reached[crowded] = self._again(rows[crowded], columns, better)
            doubtful[crowded] = False
        at, places = doubtful.nonzero(as_tuple=True)
        exact = pair_similarities(self.query, self.first + rows[at], self.reference, columns.start + places)
        reached[at, places] = exact >= self.threshold[rows[at]]
        return len(crowded)

    def _again(self, rows: Tensor, columns: slice, better: list) -> Tensor:
        """`reached` for some rows, with the next precision or in float64."""
        if not better:
            return self._exactly(rows, columns)
        reached, doubtful = self._compare(rows, columns, better[0])
        self._resolve(reached, doubtful, rows, columns, better[1:])
        return reached

    def _exactly(self, rows: Tensor, columns: slice) -> Tensor:
        """`reached` for some rows in float64; in parts, because that takes twice the memory."""
        parts = rows.split(max(1, len(self.rows) // 4))
        return torch.cat([self._exact_part(part, columns) for part in parts])

    def _exact_part(self, rows: Tensor, columns: slice) -> Tensor:
        exact = exact_similarities(self.query, self.first + rows, self.reference, columns)
        return exact >= self.threshold[rows, None]
