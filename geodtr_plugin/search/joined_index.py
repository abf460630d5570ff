"""Several indexes searched as one: the regions of a country, or parts that many machines have built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .vector_index import VectorIndex, sorted_best

if TYPE_CHECKING:
    from ..distances import HeadingDistance


class JoinedIndex:
    """Search indexes of any kinds and sizes over vectors of one model; rows are counted through, part after part.

    Every part gives its k best, so that the answer is what one index of all vectors would give if none is approximate,
    or if they share their cells (kind ivf).

    Args:
        parts: in the order in which rows are counted.

    Raises:
        ValueError: the parts' vectors differ in size.
    """

    def __init__(self, parts: Sequence[VectorIndex]):
        self.parts = tuple(parts)
        sizes = {part.vectors.shape[1] for part in self.parts}
        if len(sizes) != 1:
            raise ValueError(f"parts must have vectors of one size, not of {sorted(sizes)}")

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows, int64 `[n]`: float32 `[n, D]`."""
        starts = np.cumsum([0, *map(len, self.parts)])
        of = np.searchsorted(starts, rows, side="right") - 1
        return np.stack([self.parts[part].take(row[None])[0] for part, row in zip(of, rows - starts[of])])

    def search(
        self, queries: np.ndarray, k: int = 5, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Find the most similar vectors of all parts: as `VectorIndex.search`, `[Q, D]` -> `[Q, k]` and `[Q, k]`.

        `nprobe` counts the cells that are looked at in every part.
        """
        similarities, rows, first = [], [], 0
        for part in self.parts:
            part_similarities, part_rows = part.search(queries, k, exact=exact, nprobe=nprobe, distance=distance)
            similarities.append(part_similarities)
            rows.append(part_rows + first)
            first += len(part)
        return sorted_best(np.concatenate(similarities, axis=1), np.concatenate(rows, axis=1), k)
