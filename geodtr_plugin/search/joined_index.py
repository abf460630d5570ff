"""Several indexes searched as one: the regions of a country, or the parts of a gallery that many hosts have built."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .vector_index import VectorIndex, sorted_best


class JoinedIndex:
    """Indexes of any kinds and sizes over vectors of one model; their rows are counted through, part after part.

    Every part is asked for its k best, so that the answer is what one index of them all would give if none is
    approximate, or if they share their cells (kind ivf).

    Args:
        parts: in the order in which rows are counted.
    """

    def __init__(self, parts: Sequence[VectorIndex]):
        self.parts = tuple(parts)
        sizes = {part.vectors.shape[1] for part in self.parts}
        if len(sizes) != 1:
            raise ValueError(f"parts must have vectors of one size, not of {sorted(sizes)}")

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def search(
        self, queries: np.ndarray, k: int = 5, *, exact: bool = False, nprobe: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`; `nprobe` counts the cells that are looked at in every part."""
        found, rows, first = [], [], 0
        for part in self.parts:
            similarities, own = part.search(queries, k, exact=exact, nprobe=nprobe)
            found.append(similarities)
            rows.append(own + first)
            first += len(part)
        return sorted_best(np.concatenate(found, axis=1), np.concatenate(rows, axis=1), k)
