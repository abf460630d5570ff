"""Exact similarities of many images at the best of several headings, in bounded memory, for ranking."""

from __future__ import annotations

import torch
from torch import Tensor

from ..evaluation.scores import BoundedScores
from ..evaluation.similarity import Vectors, error_bound, pair_similarities


class HeadingScores(BoundedScores):
    """The cosines of `MaxOverHeadings`, which are those of float64, heading by heading.

    Args:
        count: the number H of headings.
        query, reference: all of them, `[N, Dq]` and `[M, Dr]`; one role's rows hold H copies side by side.

    Raises:
        ValueError: neither role's rows are H times as long as the other's.
    """

    def __init__(self, count: int, query: Vectors, reference: Vectors):
        size = min(query.size, reference.size)
        if max(query.size, reference.size) != count * size:
            raise ValueError(f"of rows of {query.size} and {reference.size} numbers, none is {count} of the other")
        self.count = count
        self.query, self.reference = (
            vectors if vectors.size == size else Vectors(vectors.data.reshape(-1, size), name, vectors.device)
            for vectors, name in ((query, "query"), (reference, "reference"))
        )
        self.copies = query.size // size, reference.size // size

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the float64 similarities `[T]` of query `rows[t]` and reference `columns[t]`, int64 `[T]` each."""
        best = torch.full((len(rows),), -torch.inf, dtype=torch.float64, device=self.query.device)
        for k in range(self.count):
            some, others = (each * copies + k % copies for each, copies in zip((rows, columns), self.copies))
            best = torch.maximum(best, pair_similarities(self.query, some, self.reference, others))
        return best

    def bounds(self, rows: slice, columns: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest that the similarities of a tile can be, see `BoundedScores`."""
        best: Tensor | None = None
        for k in range(self.count):
            query, reference = (
                vectors.unit_rows(slice(part.start * copies + k % copies, part.stop * copies, copies), dtype)
                for vectors, part, copies in zip((self.query, self.reference), (rows, columns), self.copies)
            )
            cosines = query @ reference.T
            best = cosines if best is None else torch.maximum(best, cosines, out=best)
        assert best is not None
        error = error_bound(dtype, self.query.size, best)
        return best - error, best + error
