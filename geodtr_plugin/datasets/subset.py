"""A part of a test split that gets a number of its own beside the standard one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..evaluation.truth import Truth
from ..utils.ragged import as_int64


@dataclass(frozen=True, eq=False)
class Subset:
    """Some queries of an Split, asked against its whole gallery or a part of it.

    Args:
        name: how results call it, such as "not_in_training".
        what: a sentence that says what a number on it means.
        queries: rows of the queries, int64, rising.
        references: rows of the references, int64, rising; None for the whole gallery.
    """

    name: str
    what: str
    queries: np.ndarray
    references: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", as_int64(self.queries))
        if self.references is not None:
            object.__setattr__(self, "references", as_int64(self.references))

    def check(self, num_queries: int, num_references: int) -> None:
        """Raises ValueError unless its rows rise and are rows of a test split of that size."""
        for rows, count in ((self.queries, num_queries), (self.references, num_references)):
            if rows is not None and len(rows) and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) < 1).any()):
                raise ValueError(f"the subset {self.name!r} does not name rising rows below {count}")

    def truth(self, truth: Truth, num_references: int) -> Truth:
        """What of the whole split's truth holds for its queries against its references."""
        taken = truth.take(self.queries)
        return taken if self.references is None else taken.keep_references(self.references, num_references)

    def limited(self, queries: np.ndarray, references: np.ndarray) -> Subset:
        """The same part of a split that keeps these rows (rising) alone."""
        references = None if self.references is None else _renumbered(self.references, references)
        return replace(self, queries=_renumbered(self.queries, queries), references=references)


def _renumbered(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(kept, rows))
